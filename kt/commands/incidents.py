"""`kt incidents`: what there is and what became of it, from the log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import msgspec

from kt.incident.log import Entry, IncidentLog
from kt.incident.state import State, fold

COLOURS = {"healed": "green", "escalated": "red", "awaiting approval": "yellow"}


@click.group()
def incidents() -> None:
    """List incidents, show one."""


@incidents.command("list")
@click.option("--open", "open_only", is_flag=True, help="Only those that have not ended.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def list_(config: Path | None, open_only: bool, limit: int, as_json: bool) -> None:
    """One line for each incident, the latest first."""
    entries = open_log(config).entries(open_only=open_only, limit=limit)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(entries)).decode())
        return
    _say_stopped(config)
    if not entries:
        click.echo("No incident." if not open_only else "No open incident.")
    for entry in entries:
        click.echo(_line(entry))


@incidents.command()
@click.argument("incident")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer: the log, oldest first.")
@click.pass_obj
def show(config: Path | None, incident: str, as_json: bool) -> None:
    """The timeline of INCIDENT (its id or the beginning of it), cause, plan and verdict."""
    log = open_log(config)
    records = log.load(whole_id(log, incident))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(records)).decode())
        return
    click.echo("Timeline")
    for record in records:
        fields: dict[str, Any] = json.loads(msgspec.json.encode(record.event))
        click.echo(f"  {record.event.at:%H:%M:%S.%f}"[:-3] + f"  {fields['type']:<20} {event_words(fields)}")
    click.echo()
    show_state(fold(records[0].incident, (record.event for record in records)))


def open_log(config: Path | None) -> IncidentLog:
    """The log that the settings name."""
    from kt.settings import load
    from kt.stores import places

    return places.open_log(load(config, os.environ))


def _say_stopped(config: Path | None) -> None:
    from kt.commands.brake import said
    from kt.settings import load
    from kt.stores import places

    stop = places.open_brakes(load(config, os.environ)).stopped()
    if stop:
        click.secho(f"KT is {said(stop)}. Nothing acts until `kt resume`.", fg="red", bold=True)


def whole_id(log: IncidentLog, beginning: str) -> str:
    """The one incident whose id begins so. Raises `UsageError`."""
    found = [entry.incident for entry in log.entries(limit=10_000) if entry.incident.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    what = "no incident has" if not found else f"{len(found)} incidents have"
    raise click.UsageError(f"{what} an id that begins with “{beginning}”; `kt incidents list` shows them")


def _line(entry: Entry) -> str:
    phase = click.style(f"{entry.phase:<17}", fg=COLOURS.get(entry.phase))
    return f"{entry.incident[:20]}  {entry.opened_at:%Y-%m-%d %H:%M:%S}  {phase}  {entry.summary}"


def show_state(state: State) -> None:
    """Cause, plan with its diff, and verdict, for a person."""
    click.secho(f"{state.id}  {state.phase}", bold=True, fg=COLOURS.get(state.phase))
    if state.ended_why:
        click.echo(f"  {state.ended_why}")
    for each in state.diagnosis.selected() if state.diagnosis else ():
        click.echo(f"\nCause  {each.fault} of {each.entity} ({each.probability:.0%})")
        for path in dict.fromkeys(each.paths):
            click.echo(f"  {' → '.join(path)}")
        for evidence in each.evidence_for:
            click.echo(f"  + {evidence.text}")
        for evidence in each.evidence_against:
            click.echo(f"  - {evidence.text}")
    plan = state.plan or (state.actions[-1].plan if state.actions else None)
    if plan:
        click.echo(f"\nPlan  {plan.playbook}, risk {plan.risk}. Undo: {plan.undo}")
        for step in plan.steps:
            click.echo(f"  {step.summary}")
            for line in step.diff.splitlines()[2:]:
                click.secho(f"    {line}", fg={"+": "green", "-": "red"}.get(line[:1]))
    if state.verdict:
        click.echo(f"\nVerdict  {state.verdict.outcome}: {state.verdict.why}")


def event_words(fields: dict[str, Any]) -> str:
    """What an event says, in one line."""
    match fields["type"]:
        case "AlertsReceived":
            return ", ".join(f"{each['name']} on {each['entity']}" for each in fields["signals"])
        case "PlanProposed":
            return "; ".join(str(step.get("summary", step["action"])) for step in fields["plan"]["steps"])
        case "Approved" | "Rejected" | "Revoked":
            return f"by {fields['by']}{': ' + fields['why'] if fields.get('why') else ''}"
        case "Verified":
            return f"{fields['verdict']['outcome']}: {fields['verdict']['why']}"
        case "Diagnosed":
            ranked = fields["diagnosis"]["hypotheses"]
            return f"{ranked[0]['fault']} of {ranked[0]['entity']}" if ranked else "nothing likely"
    return str(fields.get("why") or fields.get("detail") or "")
