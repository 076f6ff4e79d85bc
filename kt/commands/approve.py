"""`kt approve` and `kt reject`: a person decides on a plan. The answer is bound to the exact plan that was shown."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

import click

from kt.commands.incidents import open_log, whole_id
from kt.incident.events import Approved, Rejected
from kt.incident.log import VersionConflict
from kt.pipeline.journey import Journey


@click.command()
@click.argument("incident")
@click.option("--why", default="", help="Kept in the log.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who decides.")
@click.pass_obj
def approve(config: Path | None, incident: str, why: str, by: str) -> None:
    """Agree to the plan of INCIDENT. It acts as soon as enough people agreed and it still fits."""
    journey, digest = _waiting(config, incident)
    state = journey.state
    if any(given.by == by for given in state.approvals):
        click.echo(f"{by} has agreed already; another person is needed.")
        return
    _append(journey, Approved(at=datetime.now(UTC), plan_digest=digest, by=by, why=why))
    missing = state.approvals_needed - len({given.by for given in journey.state.approvals})
    click.echo("Agreed." if missing <= 0 else f"Agreed; {missing} more needed.")


@click.command()
@click.argument("incident")
@click.option("--why", required=True, help="Kept in the log; the plan is not proposed again.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who decides.")
@click.pass_obj
def reject(config: Path | None, incident: str, why: str, by: str) -> None:
    """Turn the plan of INCIDENT down. KT looks for another one."""
    journey, digest = _waiting(config, incident)
    _append(journey, Rejected(at=datetime.now(UTC), plan_digest=digest, by=by, why=why))
    click.echo("Turned down.")


def _waiting(config: Path | None, incident: str) -> tuple[Journey, str]:
    log = open_log(config)
    journey = Journey(log, whole_id(log, incident))
    if journey.state.plan is None or journey.state.phase != "awaiting approval":
        raise click.ClickException(f"incident {journey.incident} is {journey.state.phase}; it waits for nobody")
    return journey, journey.state.plan.digest


def _append(journey: Journey, event: Approved | Rejected) -> None:
    try:
        journey.append(event)
    except VersionConflict as error:
        raise click.ClickException("the incident moved on meanwhile; look at it again: kt incidents show") from error
