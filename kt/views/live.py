"""Live views: open incidents, or the timeline of one. On a terminal they are drawn anew, elsewhere lines are added."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from kt.incident.log import IncidentLog, LogUnavailable, Record
from kt.incident.state import State, fold
from kt.views.screen import timeline
from kt.views.table import listing, look_up
from kt.views.words import COLOURS, colour, event_words, waiting

LOOK_EVERY_S = 0.5
MOST_SHOWN = 50
NEWS = 8
"""Latest events under the list of open incidents."""


def follow_one(log: IncidentLog, incident: str, *, as_json: bool) -> str:
    """Show the timeline of an incident until it has ended; the phase it ended in."""
    told, state = 0, State(id=incident)
    console = Console(highlight=False)
    live = None if as_json or not console.is_terminal else Live(console=console, auto_refresh=False)
    with live or contextlib.nullcontext():
        for records in _states_of(log, incident):
            state = fold(incident, (record.event for record in records))
            for record in records[told:]:
                if as_json:
                    _tell(record)
                elif live:
                    live.console.print(timeline([record]))
                else:
                    click.echo(line(record))
            told = len(records)
            if live:
                live.update(_foot(state, records), refresh=True)
            if state.ended:
                break
    return state.phase


def follow_all(log: IncidentLog, *, as_json: bool) -> None:
    """Show the open incidents and the latest events, for ever. Only what happens from now on is told as events."""
    console = Console(highlight=False)
    live = None if as_json or not console.is_terminal else Live(console=console, screen=True, auto_refresh=False)
    known = {entry.incident: entry.version for entry in log.entries(limit=MOST_SHOWN)}
    news: list[Record] = []
    if not as_json and not live:
        click.echo(f"{len(log.entries(open_only=True))} open incidents; what happens from now on:")
    with live or contextlib.nullcontext():
        while True:
            for record in _news(log, known):
                news = [*news, record][-NEWS:]
                if as_json:
                    _tell(record)
                elif not live:
                    click.echo(f"{record.incident[:12]}  {line(record)}")
            if live:
                live.update(_board(log, news), refresh=True)
            time.sleep(LOOK_EVERY_S)


def line(record: Record) -> str:
    """One event as plain text, coloured where the terminal has colours."""
    name = f"{type(record.event).__name__:<20}"
    style = colour(record.event)
    return f"{record.event.at:%H:%M:%S}  {click.style(name, fg=None if style == 'default' else style)} " + event_words(
        record.event
    )


def _states_of(log: IncidentLog, incident: str) -> Iterator[list[Record]]:
    """The log of an incident, again and again. A store that is away for a moment ends nothing."""
    while True:
        try:
            yield log.load(incident)
        except LogUnavailable as error:
            click.echo(f"The incident log does not answer, still trying: {error}", err=True)
        time.sleep(LOOK_EVERY_S)


def _news(log: IncidentLog, known: dict[str, int]) -> list[Record]:
    """Events of any incident since the versions in `known`, which is brought up to date; oldest first."""
    found: list[Record] = []
    try:
        for entry in log.entries(limit=MOST_SHOWN):
            before = known.get(entry.incident, 0)
            if entry.version > before:
                records = log.load(entry.incident)
                found += records[before:]
                known[entry.incident] = len(records)
    except LogUnavailable as error:
        click.echo(f"The incident log does not answer, still trying: {error}", err=True)
    return sorted(found, key=lambda record: record.event.at)


def _board(log: IncidentLog, news: list[Record]) -> Group:
    now = datetime.now(UTC)
    listed = look_up(log, log.entries(open_only=True, limit=MOST_SHOWN))
    head = Text(f"{len(listed)} open incidents   {now:%H:%M:%S} UTC   Ctrl-C ends", style="dim")
    body = listing(listed, now) if listed else Text("All is well.", style="green")
    return Group(head, body, Rule(style="dim"), timeline(news))


def _foot(state: State, records: list[Record]) -> Text:
    said = waiting(state, records, datetime.now(UTC))
    style = f"bold {COLOURS.get(state.phase, 'cyan')}"
    return Text.assemble((state.phase, style), f"  {said if state.ended else 'waits ' + said}")


def _tell(record: Record) -> None:
    sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
    sys.stdout.flush()
