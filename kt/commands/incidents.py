"""`kt incidents`: what there is and what became of it, from the log."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from kt.commands import incident_files
from kt.incident.log import Entry, IncidentLog
from kt.incident.state import fold

WIDTH = 100
"""Columns when the output is no terminal."""
MOST_KNOWN = 10_000


@click.group()
def incidents() -> None:
    """List incidents, show one, watch them, export one, say what its cause was."""


for _command in incident_files.COMMANDS:
    incidents.add_command(_command)


@incidents.command("list")
@click.option("--open", "open_only", is_flag=True, help="Only those that have not ended.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, MOST_KNOWN))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def list_(config: Path | None, open_only: bool, limit: int, as_json: bool) -> None:
    """Age, phase, cause, and what each one waits for; the latest first."""
    from kt.views.table import listing, look_up, plain

    log = open_log(config)
    known = log.entries(limit=MOST_KNOWN)
    entries = [entry for entry in known if entry.due_at or not open_only][:limit]
    listed, now = look_up(log, entries), datetime.now(UTC)
    if not as_json:
        _say_stopped(config)
    if as_json:
        echo_json([plain(each, now) for each in listed])
    elif not listed:
        click.echo("No open incident." if open_only else "No incident.")
    else:
        show_on_terminal(listing(listed, now, [entry.incident for entry in known]))


@click.command()
@click.argument("incident")
@click.option("--full", is_flag=True, help="Leave nothing out: all alerts, paths, the whole diff and timeline.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer: the log, oldest first.")
@click.pass_obj
def show(config: Path | None, incident: str, full: bool, as_json: bool) -> None:
    """All there is to decide on for INCIDENT (its id or the beginning of it)."""
    log = open_log(config)
    known = log.entries(limit=MOST_KNOWN)
    whole = whole_id(log, incident, known)
    records = log.load(whole)
    if as_json:
        echo_json(records)
        return
    from kt.views.screen import screen
    from kt.views.words import short_ids

    state = fold(whole, (record.event for record in records))
    short = short_ids([entry.incident for entry in known])[whole]
    show_on_terminal(screen(records, state, short=short, now=datetime.now(UTC), about=fault_words(), full=full))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def approvals(config: Path | None, as_json: bool) -> None:
    """What waits for somebody to agree, and how to say yes or no; the latest first."""
    from kt.views.table import deciding, look_up, plain

    log, now = open_log(config), datetime.now(UTC)
    known = log.entries(limit=MOST_KNOWN)
    waiting = look_up(log, [entry for entry in known if entry.phase == "awaiting approval"])
    undecided = [each for each in waiting if not each.state.approved]
    if as_json:
        echo_json([plain(each, now) for each in undecided])
    elif not undecided:
        click.echo("Nothing waits for a decision.")
    else:
        _say_stopped(config)
        show_on_terminal(deciding(undecided, now, [entry.incident for entry in known]))


@incidents.command()
@click.argument("incident", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event as it comes.")
@click.pass_obj
def watch(config: Path | None, incident: str | None, as_json: bool) -> None:
    """Follow the open incidents, or the timeline of one INCIDENT until it has ended.

    Exit code for one incident: 0 healed, 1 escalated or undone. Ctrl-C ends with 130.
    """
    from kt.views.live import follow_all, follow_one

    log = open_log(config)
    if incident is None:
        follow_all(log, as_json=as_json)
    elif follow_one(log, whole_id(log, incident), as_json=as_json) != "healed":
        raise click.exceptions.Exit(1)


incidents.add_command(show)


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


def whole_id(log: IncidentLog, beginning: str, known: list[Entry] | None = None) -> str:
    """The one incident whose id begins so. Raises `UsageError`."""
    entries = log.entries(limit=MOST_KNOWN) if known is None else known
    found = [entry.incident for entry in entries if entry.incident.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    if beginning in found:
        return beginning
    what = "no incident has" if not found else f"{len(found)} incidents have"
    raise click.UsageError(f"{what} an id that begins with “{beginning}”; `kt incidents list` shows them")


def fault_words() -> dict[str, str]:
    """What each fault mode of the catalogue means."""
    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology

    return {name: mode.about for name, mode in load_catalogue(ontology=load_ontology()).faults.items()}


def echo_json(what: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(what)).decode())


def show_on_terminal(what: object) -> None:
    """Print for eyes, as wide as the terminal is."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(what)
