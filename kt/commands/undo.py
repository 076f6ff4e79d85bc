"""`kt undo`: take back what was done for an incident, as long as nobody changed it since."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from kt.commands.approve import TOKEN, decider, settle
from kt.commands.incidents import echo_json, whole_id
from kt.incident.consent import Answer, Reply
from kt.incident.events import RolledBack, UndoDropped, Undone
from kt.incident.log import IncidentLog
from kt.incident.state import State
from kt.incident.undoing import ask
from kt.pipeline.journey import Journey
from kt.settings import Settings, load
from remediate.plan import Difference

LOOK_EVERY_S = 0.3


@click.command()
@click.argument("incident")
@click.option("--why", default="", help="Kept in the log.")
@click.option("--by", default="", help="Who wants it; else you, or whose token it is.")
@click.option("--token-file", type=click.Path(path_type=Path), help=f"Holds your token; else {TOKEN}.")
@click.option("--wait", "wait_s", default=60.0, show_default=True, help="Seconds to watch what comes of it; 0: none.")
@click.option("--dry-run", is_flag=True, help="Only look: what would be taken back, what differs, what the guard says.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def undo(
    config: Path | None, incident: str, why: str, by: str, token_file: Path | None, wait_s: float, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Bring back the state before the remedy of INCIDENT, also days later.

    A worker does it, through the guard like any action. If anything is not as KT left it, it says field by field what
    differs and touches nothing. Exit code 0: taken back, or asked for; 1: not, and why. Asking again changes nothing.
    """
    from kt.stores import places

    settings = load(config, os.environ)
    log = places.open_log(settings)
    whole = whole_id(log, incident)
    if dry_run:
        _look(settings, log, whole, as_json=as_json)
        return
    name = decider(settings, by, token_file, "approver")
    said, version = _ask(settings, log, whole, name, why)
    state = _followed(log, whole, wait_s)
    if as_json:
        echo_json(_plain(log, state, version, said))
    else:
        _tell(log, state, version, said)
    if _dropped(log, state, version) is not None:
        raise click.exceptions.Exit(1)


def _ask(settings: Settings, log: IncidentLog, incident: str, name: str, why: str) -> tuple[str, int]:
    """What is to be said, and the version of the log from which on its fate is told."""
    approval = settings.approval

    def asked(state: State) -> Reply:
        now = datetime.now(UTC)
        return ask(
            state,
            Answer(by=name, at=now, where=socket.gethostname(), why=why),
            needed=approval.undo,
            others_only=not approval.own_requests,
            expires_at=now + timedelta(seconds=approval.expires_s),
        )

    state, reply = settle(log, incident, asked)
    return reply.said, state.version


def _followed(log: IncidentLog, incident: str, wait_s: float) -> State:
    """The state once nothing is wanted any more, somebody else's consent is, or the time is over."""
    until = time.monotonic() + wait_s
    state = Journey(log, incident).state
    while state.undo is not None and state.approved and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
        state = Journey(log, incident).state
    return state


def _dropped(log: IncidentLog, state: State, version: int) -> UndoDropped | None:
    since = log.load(state.id)[version:]
    return next((each.event for each in reversed(since) if isinstance(each.event, UndoDropped)), None)


def _tell(log: IncidentLog, state: State, version: int, said: str) -> None:
    dropped = _dropped(log, state, version)
    if dropped is not None:
        click.secho(f"Not taken back. {dropped.why}", fg="red", bold=True)
        _differences(dropped.differences)
        return
    click.echo(said)
    for record in log.load(state.id)[version:]:
        if isinstance(record.event, RolledBack):
            click.echo(f"  {record.event.detail}")
        if isinstance(record.event, Undone):
            click.secho("Taken back.", fg="green", bold=True)
    if state.undo is not None and state.approved:
        last = f"kt show {state.id}; `kt doctor` tells whether a worker runs"
        click.secho(f"It is not done yet; look at it again: {last}.", fg="yellow")


def _differences(differences: tuple[Difference, ...]) -> None:
    for target in dict.fromkeys(each.target for each in differences):
        click.echo(f"  {target}")
        for each in (each for each in differences if each.target == target):
            click.echo(f"    {each.field}: KT left {_short(each.left)}, now {_short(each.now)}")


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _plain(log: IncidentLog, state: State, version: int, said: str) -> dict[str, object]:
    dropped = _dropped(log, state, version)
    return {
        "incident": state.id,
        "phase": state.phase,
        "said": dropped.why if dropped else said,
        "done": state.phase == "undone",
        "waits_for_approvals": 0 if state.undo is None else max(0, state.approvals_needed - len(state.agreed)),
        "differences": dropped.differences if dropped else (),
    }


def _look(settings: Settings, log: IncidentLog, incident: str, *, as_json: bool) -> None:
    """What would come of it now; nothing is asked for."""
    from kt.runtime import Runtime
    from remediate.cluster import ClusterError
    from remediate.revert import look_back, review_undo
    from remediate.rules import against, verdict_of

    state = Journey(log, incident).state
    done = {action.id: action.plan.steps[action.step] for action in state.actions if action.undoable}
    if not done:
        raise click.ClickException("nothing was done that could be taken back")
    playbook = next(action.plan.playbook for action in reversed(state.actions) if action.undoable)
    runtime = Runtime(settings)
    try:
        kept = {each.id: each.finished.undo for each in state.actions if each.finished}
        look = look_back(runtime.cluster, done, kept)
        findings = review_undo(runtime.cluster, runtime.remediator.guard, playbook, done)
    except ClusterError as error:
        raise click.ClickException(f"the cluster does not answer: {error}") from error
    verdict = verdict_of(findings).name.lower()
    to_do = [done[action].summary or done[action].action for action in look.to_do]
    if as_json:
        guard = {"verdict": verdict, "why": against(findings)}
        echo_json({"incident": incident, "would_take_back": to_do, "nothing_to_go_back_to": look.nothing,
                   "differences": look.differences, "guard": guard})  # fmt: skip
        return
    for text in to_do:
        click.echo(f"would take back: {text}")
    for text in look.nothing:
        click.echo(f"stays: {text}")
    if look.differences:
        click.secho("Not as KT left it, so nothing would be touched:", fg="red", bold=True)
        _differences(look.differences)
    click.echo(f"guard: {verdict}" + (f", {against(findings)}" if against(findings) else ""))
