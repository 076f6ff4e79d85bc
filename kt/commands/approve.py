"""`kt approve`, `kt reject`, `kt revoke`: a person decides on a plan. The answer is bound to the exact plan.

Saying the same again changes nothing and is no mistake: a reply that was lost on the way can be repeated.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from kt.commands.incidents import whole_id
from kt.incident.consent import Answer, Reply
from kt.incident.consent import approve as approving
from kt.incident.consent import reject as rejecting
from kt.incident.consent import revoke as revoking
from kt.incident.log import IncidentLog, VersionConflict
from kt.incident.state import State
from kt.operators import NoAuthority, Role
from kt.settings import Settings, load

MOST_TRIES = 8
TOKEN = "KT_OPERATOR_TOKEN"  # noqa: S105 - the name of the variable, not a token


def _decides(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every answer has."""
    for option in (
        click.option("--plan", default="", help="The digest that was shown, or its beginning: refuse any other plan."),
        click.option("--token-file", type=click.Path(path_type=Path), help=f"Holds your token; else {TOKEN}."),
        click.option("--by", default="", help="Who decides; else you, or whose token it is."),
        click.option("--json", "as_json", is_flag=True, help="Machine-readable answer."),
        click.argument("incident"),
    ):
        command = option(command)
    return command


@click.command()
@_decides
@click.option("--why", default="", help="Kept in the log.")
@click.pass_obj
def approve(config: Path | None, /, incident: str, why: str, **how: Any) -> None:
    """Agree to the plan of INCIDENT. It acts as soon as enough people agreed and it still fits.

    With --plan only to exactly the plan that `kt show` showed; without it, to the one that waits now.
    """
    _answer(config, incident, approving, why, **how)


@click.command()
@_decides
@click.option("--why", required=True, help="Kept in the log; the plan is not proposed again.")
@click.pass_obj
def reject(config: Path | None, /, incident: str, why: str, **how: Any) -> None:
    """Turn the plan of INCIDENT down. KT looks for another one."""
    _answer(config, incident, rejecting, why, **how)


@click.command()
@_decides
@click.option("--why", default="", help="Kept in the log.")
@click.pass_obj
def revoke(config: Path | None, /, incident: str, why: str, **how: Any) -> None:
    """Take back what was agreed to for INCIDENT, as long as nothing was done. `kt stop` holds what is under way."""
    _answer(config, incident, revoking, why, **how)


def _answer(
    config: Path | None,
    incident: str,
    decide: Callable[[State, Answer], Reply],
    why: str,
    *,
    by: str,
    token_file: Path | None,
    plan: str,
    as_json: bool,
) -> None:
    """Decide on what the log says now; when it moves meanwhile, look and decide again: no answer is lost."""
    from kt.stores import places

    settings = load(config, os.environ)
    name = decider(settings, by, token_file, "approver")
    log = places.open_log(settings)
    whole = whole_id(log, incident)

    def said(state: State) -> Reply:
        return decide(state, Answer(by=name, at=datetime.now(UTC), where=socket.gethostname(), why=why, plan=plan))

    state, reply = settle(log, whole, said)
    click.echo(_machine_readable(state, reply) if as_json else reply.said)


def settle(log: IncidentLog, incident: str, decide: Callable[[State], Reply]) -> tuple[State, Reply]:
    """Decide on what the log says and keep the answer, again when it moved meanwhile. Raises `ClickException` when
    things are not as the person wants them."""
    from kt.pipeline.journey import Journey

    for _ in range(MOST_TRIES):
        journey = Journey(log, incident)
        reply = decide(journey.state)
        try:
            if reply.event is not None:
                journey.append(reply.event)
        except VersionConflict:
            continue
        if not reply.done:
            raise click.ClickException(reply.said)
        return journey.state, reply
    raise click.ClickException(f"incident {incident} keeps moving; look at it again: kt show {incident}")


def _machine_readable(state: State, reply: Reply) -> str:
    import msgspec

    given = sorted({each.by for each in state.approvals})
    answer = {
        "incident": state.id,
        "said": reply.said,
        "already": reply.event is None,
        "phase": state.phase,
        "plan": state.plan.digest if state.plan else "",
        "approvals": {"needed": state.approvals_needed, "given": given},
    }
    return msgspec.json.format(msgspec.json.encode(answer)).decode()


def decider(settings: Settings, by: str, token_file: Path | None, role: Role, *, required: bool | None = None) -> str:
    """The name that counts: whose token it is, or, where none is asked for, the one given. Raises `ClickException`."""
    from kt.operators import allowed, who_is
    from kt.stores.places import open_operators

    token = _token(token_file)
    if not token:
        if settings.approval.require_tokens if required is None else required:
            raise click.UsageError(f"this takes an operator's token: set {TOKEN} or give --token-file")
        return by or _me()
    try:
        operator = who_is(token, open_operators(settings))
        allowed(operator, role)
    except NoAuthority as error:
        raise click.ClickException(str(error)) from error
    if by and by != operator.name:
        raise click.UsageError(f"--by {by}, but the token is that of {operator.name}")
    return operator.name


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get(TOKEN, "").strip()
    try:
        return file.read_text().strip()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror or error}") from error


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise click.UsageError("this process runs under no user name; say who decides: --by NAME") from error
