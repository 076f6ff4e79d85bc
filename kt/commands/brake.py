"""`kt stop`, `kt resume`, `kt guard explain`: hold everything, let go, and see why a plan may or may not act."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path

import click

from kt.commands.shadow import shadow
from kt.settings import load
from remediate.brakes import Brakes, Stop

COLOURS = {"ALLOW": "green", "ASK": "yellow", "LATER": "yellow", "PROPOSE": "yellow", "REFUSE": "red"}


@click.command()
@click.option("--why", default="", help="Shown wherever KT says that it is stopped.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who stops it.")
@click.pass_obj
def stop(config: Path | None, why: str, by: str) -> None:
    """Hold everything: no worker touches the cluster from now on. Alerts are still taken in, plans still made."""
    brakes = _brakes(config)
    before = brakes.stopped()
    brakes.stop(Stop(at=datetime.now(UTC), by=by, why=why))
    click.echo("KT is stopped; `kt resume` lets go." if before is None else f"It was stopped already: {said(before)}")


@click.command()
@click.option("--token-file", type=click.Path(path_type=Path), help="Holds your token; else KT_OPERATOR_TOKEN.")
@click.option("--breaker", is_flag=True, help="Close the circuit breaker instead: KT acts again, not only proposes.")
@click.pass_obj
def resume(config: Path | None, token_file: Path | None, breaker: bool) -> None:
    """Let go of a stop: what was held goes on, if it still fits. Everybody may stop KT; this takes an operator."""
    from kt.commands.approve import decider

    by = decider(load(config, os.environ), "", token_file, "operator")
    brakes = _brakes(config)
    if breaker:
        _close(brakes, by)
        return
    before = brakes.resume()
    click.echo("It was not stopped." if before is None else f"KT goes on. It was {said(before)}.")


def _close(brakes: Brakes, by: str) -> None:
    import msgspec

    trip, now = brakes.tripped(), datetime.now(UTC)
    if trip is None or trip.until <= now:
        click.echo("The circuit breaker is closed.")
        return
    brakes.trip(msgspec.structs.replace(trip, until=now, closed_by=by))
    click.echo(f"The circuit breaker is closed; the next action that fails opens it again. It was open: {trip.why}")


@click.group()
def guard() -> None:
    """Why a plan may or may not act."""


@guard.command()
@click.argument("incident")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def explain(config: Path | None, incident: str, as_json: bool) -> None:
    """Every rule of the guard on the plan of INCIDENT as things are now: value, limit, verdict."""
    import msgspec

    from kt.commands.incidents import whole_id
    from kt.pipeline.journey import Journey
    from kt.runtime import Runtime
    from remediate.cluster import ClusterError
    from remediate.rules import verdict_of

    runtime = Runtime(load(config, os.environ))
    state = Journey(runtime.log, whole_id(runtime.log, incident)).state
    plan = state.plan or (state.actions[-1].plan if state.actions else None)
    if plan is None:
        raise click.ClickException(f"incident {state.id} is {state.phase} and has no plan")
    try:
        changed, findings = runtime.remediator.explain(plan)
    except ClusterError as error:
        raise click.ClickException(f"the cluster does not answer: {error}") from error
    verdict = verdict_of(findings).name
    if as_json:
        rules = [{**msgspec.to_builtins(each), "verdict": each.verdict.name.lower()} for each in findings]
        answer = {
            "incident": state.id, "verdict": verdict.lower(), "changed": changed, "rules": rules,
            "policy": runtime.policy().version, "plan_policy": plan.policy,
        }  # fmt: skip
        click.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())
        return
    click.secho(f"{plan.playbook} for {plan.hypothesis.entity}: {verdict.lower()}", bold=True, fg=COLOURS[verdict])
    _policies(runtime.policy().version, plan.policy)
    for each in findings:
        word = click.style(f"{each.verdict.name.lower():<8}", fg=COLOURS[each.verdict.name])
        click.echo(f"  {word} {each.rule:<17} {each.value}  (limit: {each.limit})")
        if each.why:
            click.echo(f"           {each.why}")
    if changed:
        click.echo(f"  The plan does not fit any more: {changed}.")


guard.add_command(shadow)


def _policies(now: str, made_under: str) -> None:
    differs = f"; the plan was made under {made_under}" if made_under and made_under != now else ""
    click.echo(f"  policy {now}{differs}")


def said(stop: Stop) -> str:
    """A stop in a few words."""
    return f"stopped by {stop.by} at {stop.at:%Y-%m-%d %H:%M:%S} UTC" + (f": {stop.why}" if stop.why else "")


def _brakes(config: Path | None) -> Brakes:
    from kt.stores.places import open_brakes

    return open_brakes(load(config, os.environ))
