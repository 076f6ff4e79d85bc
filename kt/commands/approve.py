"""`kt approve` and `kt reject`: a person decides on a plan. The answer is bound to the exact plan that was shown.

Saying the same again changes nothing and is no mistake: a reply that was lost on the way can be repeated.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from kt.commands.incidents import echo_json, open_log, whole_id
from kt.incident.events import Approved, PlanDropped, PlanProposed, Rejected
from kt.incident.log import VersionConflict
from kt.pipeline.journey import Journey
from remediate.plan import Plan

_plan = click.option("--plan", "seal", default="", help="The beginning of the digest of the plan that was shown.")
_by = click.option("--by", default="", show_default="you", help="Who decides.")
_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")


@click.command()
@click.argument("incident")
@click.option("--why", default="", help="Kept in the log.")
@_plan
@_by
@_json
@click.pass_obj
def approve(config: Path | None, incident: str, why: str, seal: str, by: str, as_json: bool) -> None:
    """Agree to the plan of INCIDENT. It acts as soon as enough people agreed and it still fits.

    With --plan only to exactly the plan that `kt incidents show` showed; without it, to the one that waits now.
    """
    by = by or _me()
    journey = _journey(config, incident)
    agreed = {
        record.event.plan_digest
        for record in journey.records
        if isinstance(record.event, Approved) and record.event.by == by
    }
    already = _last_digest(journey) in agreed
    if already:
        _same(_last_digest(journey), seal, journey)
    else:
        plan = _decidable(journey, seal, "agree to")
        _append(journey, Approved(at=datetime.now(UTC), plan_digest=plan.digest, by=by, why=why))
    _answer(journey, "agreed", already, _agreed_words(journey, by, already), as_json)


@click.command()
@click.argument("incident")
@click.option("--why", required=True, help="Kept in the log; the plan is not proposed again.")
@_plan
@_by
@_json
@click.pass_obj
def reject(config: Path | None, incident: str, why: str, seal: str, by: str, as_json: bool) -> None:
    """Turn the plan of INCIDENT down. KT looks for another one."""
    by = by or _me()
    journey = _journey(config, incident)
    turned_down = {
        record.event.plan_digest
        for record in journey.records
        if isinstance(record.event, Rejected) and record.event.by == by
    }
    already = _waiting(journey) is None and _last_digest(journey) in turned_down
    if already:
        _same(_last_digest(journey), seal, journey)
    else:
        plan = _decidable(journey, seal, "turn down")
        _append(journey, Rejected(at=datetime.now(UTC), plan_digest=plan.digest, by=by, why=why))
    words = "You had turned it down already." if already else "Turned down; KT looks for another plan."
    _answer(journey, "rejected", already, words, as_json)


def _journey(config: Path | None, incident: str) -> Journey:
    log = open_log(config)
    return Journey(log, whole_id(log, incident))


def _waiting(journey: Journey) -> Plan | None:
    return journey.state.plan if journey.state.phase == "awaiting approval" else None


def _last_digest(journey: Journey) -> str:
    """Of the plan that was proposed last, whatever became of it."""
    proposed = [record.event.plan.digest for record in journey.records if isinstance(record.event, PlanProposed)]
    return proposed[-1] if proposed else ""


def _decidable(journey: Journey, seal: str, verb: str) -> Plan:
    """The plan that waits for a decision. Raises `ClickException` with what to do when none does, or another one."""
    plan, state = _waiting(journey), journey.state
    if plan is None:
        dropped = [record.event.why for record in journey.records if isinstance(record.event, PlanDropped)]
        why = f" (its plan was dropped: {dropped[-1]})" if dropped and not state.actions else ""
        raise click.ClickException(
            f"incident {journey.incident[:12]} is {state.phase}{why}; there is nothing to {verb}. "
            f"See `kt incidents show {journey.incident[:12]}`."
        )
    if state.expires_at and datetime.now(UTC) >= state.expires_at:
        raise click.ClickException(
            f"the time to decide on this plan ended at {state.expires_at:%H:%M} UTC; the incident is a person's now. "
            "`approval.expires_s` says how long plans wait."
        )
    _same(plan.digest, seal, journey)
    return plan


def _same(digest: str, seal: str, journey: Journey) -> None:
    if not digest.startswith(seal):
        raise click.ClickException(
            f"the plan of incident {journey.incident[:12]} is {digest[:8]} now, not {seal}; nothing was decided. "
            f"Look at it again: `kt incidents show {journey.incident[:12]}`."
        )


def _append(journey: Journey, event: Approved | Rejected) -> None:
    try:
        journey.append(event)
    except VersionConflict as error:
        raise click.ClickException("the incident moved on meanwhile; look at it again: kt incidents show") from error


def _agreed_words(journey: Journey, by: str, already: bool) -> str:
    state = journey.state
    said = f"{by} had agreed already" if already else "Agreed"
    if _waiting(journey) is None:
        return f"{said}; the incident is {state.phase}."
    missing = state.approvals_needed - len({given.by for given in state.approvals})
    if missing > 0:
        return f"{said}; {missing} more {'person' if missing == 1 else 'people'} must agree."
    steps = "; ".join(step.summary or step.action for step in state.plan.steps) if state.plan else ""
    return f"{said}. KT will: {steps}. Follow it: kt incidents watch {journey.incident[:12]}"


def _answer(journey: Journey, decision: str, already: bool, words: str, as_json: bool) -> None:
    if not as_json:
        click.echo(words)
        return
    state = journey.state
    answer: dict[str, Any] = {
        "incident": journey.incident,
        "decision": decision,
        "already": already,
        "phase": state.phase,
        "plan": _last_digest(journey),
        "approvals": {"needed": state.approvals_needed, "given": sorted({given.by for given in state.approvals})},
    }
    echo_json(answer)


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise click.UsageError("this process runs under no user name; say who decides: --by NAME") from error
