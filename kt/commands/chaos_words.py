"""Schedules, runs and journals of chaos in words and colours for a person, and as plain data for a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
import msgspec

from kt.chaos.model import Run, Schedule, What
from kt.chaos.report import stood
from kt.chaos.resilience import Score, Standing
from verify.progress import Step

COLOURS = {
    "held": "green",
    "regressed": "red",
    "inconclusive": "yellow",
    "aborted": "yellow",
    "refused": "yellow",
    "skipped": "bright_black",
    "running": "cyan",
    "undoing": "magenta",
    "claimed": "cyan",
}
"""Green: it held. Red: a weakness was found. Yellow: nothing was shown. Cyan: it is on. Magenta: it is being undone."""
MARKS = {"succeeded": ("✓", "green"), "failed": ("✗", "red")}
TRENDS = {"better": "green", "steady": None, "worse": "red"}
BARS = "▁▂▃▄▅▆▇█"
COURSE = 30
"""Attacks whose scores are drawn."""
LONGEST = 160


def print_json(answer: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())


def plain_schedule(one: Schedule) -> dict[str, Any]:
    """Without the text of its experiment, which `show` gives."""
    return {
        "id": one.id,
        "name": one.what.name,
        "cron": one.cron,
        "zone": one.zone,
        "missed": one.missed,
        "paused": one.paused,
        "due_at": one.due_at,
        **_plain_what(one.what),
    }


def plain_run(one: Run) -> dict[str, Any]:
    return {
        "id": one.id,
        "schedule": one.schedule,
        "asked_by": one.asked_by,
        "name": one.what.name,
        "phase": one.phase,
        "outcome": one.outcome,
        "why": one.why,
        "due_at": one.due_at,
        "covers": one.covers,
        "covers_until": one.covers_until,
        "claimed_at": one.claimed_at,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "host": one.host,
        "targets": one.targets,
        "breach": one.breach,
        "agreed": [each.by for each in one.agreed],
        **_plain_what(one.what),
    }


def _plain_what(what: What) -> dict[str, Any]:
    return {
        "source": what.plain.source,
        "digest": what.plain.digest,
        "dry": what.dry,
        "variables": what.variables,
        "game_day": what.game_day,
    }


def tick() -> str:
    return click.style("✓", fg="green")


def name(what: What) -> str:
    marks = [each for each in (f"dry: {what.dry}" if what.dry else "", "game day" if what.game_day else "") if each]
    return click.style(what.name, bold=True) + (f" ({', '.join(marks)})" if marks else "")


def when(at: datetime | None, zone: str = "UTC") -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M %Z}" if at else "never"


def schedule_line(one: Schedule, latest: Run | None) -> str:
    after = click.style("paused", fg="yellow") if one.paused else when(one.due_at, one.zone)
    state = f"  latest {_state(latest)}" if latest else ""
    return f"{one.id}  {name(one.what)}  {one.cron} ({one.zone})  {after}{state}"


def show_schedule(one: Schedule, runs: Iterable[Run]) -> None:
    click.echo(f"{one.id}  {name(one.what)}")
    click.echo(f"  when     {one.cron} ({one.zone}); missed runs: {one.missed}")
    click.echo(f"  next     {click.style('paused', fg='yellow') if one.paused else when(one.due_at, one.zone)}")
    click.echo(f"  from     {one.what.plain.source}, SHA-256 {one.what.plain.digest[:16]}…")
    if one.what.variables:
        click.echo(f"  with     {' '.join(one.what.variables)}")
    for each in runs:
        click.echo(f"  {run_line(each)}")


def run_line(one: Run, left: Iterable[Standing] = ()) -> str:
    """`left`: where it left the services that it attacked."""
    many = f" ×{one.covers}" if one.covers > 1 else ""
    after = stood(left)
    name_ = f"{one.what.name}  {after}" if after else one.what.name
    line = f"{one.id}  {one.due_at:%Y-%m-%d %H:%M}  {_state(one)}{many}  {name_}"
    return f"{line}: {_short(one.why)}" if one.why else line


def resilience(scores: Iterable[Score]) -> None:
    """One line for each service: its score, where it is going, how it got there."""
    shown = list(scores)
    if not shown:
        return
    click.secho("\nResilience, 0 to 100", bold=True)
    width = max(len(each.service) for each in shown)
    for each in shown:
        course = "".join(BARS[min(int(score / 100 * len(BARS)), len(BARS) - 1)] for _, score in each.history[-COURSE:])
        trend = click.style(f"{each.trend:<6}", fg=TRENDS[each.trend])
        click.echo(
            f"{each.service:<{width}}  {each.score:3.0f}  {trend} {each.score - each.before:+4.0f} in 30 days  "
            f"held {each.held} of {each.attacks}  {course}"
        )


def verdict(one: Run) -> None:
    click.echo(f"{_state(one)}  {one.why}")


def show_run(one: Run, journals: Mapping[str, Mapping[str, Any]]) -> None:
    click.echo(f"{one.id}  {name(one.what)}  {_state(one)}")
    if one.why:
        click.echo(f"  {one.why}")
    for label, at in (("due", one.due_at), ("begun", one.started_at), ("ended", one.ended_at)):
        if at:
            click.echo(f"  {label:<6} {at:%Y-%m-%d %H:%M:%S} UTC")
    if one.host:
        click.echo(f"  on     {one.host}")
    journal = journals.get("run", {})
    states = journal.get("steady_states") or {}
    _state_of("Steady state before", states.get("before"))
    _activities("Method", journal.get("run"))
    _state_of("Steady state after", states.get("after"))
    _activities("Rollbacks", journal.get("rollbacks"))
    _activities("Rollbacks, by another process", journals.get("undo", {}).get("rollbacks"))


def step(one: Step) -> None:
    """One step of a run that is on, as it happens."""
    if one.what in ("method", "rollbacks"):
        click.echo(f"  {one.what.capitalize()}")
    elif one.what == "done":
        mark, colour = MARKS.get(one.status, ("·", "yellow"))
        click.echo(f"    {click.style(mark, fg=colour)} {one.kind} {one.name}")


def _state(one: Run) -> str:
    state = one.outcome or one.phase
    return click.style(f"{state:<12}", fg=COLOURS.get(state), bold=state == "regressed")


def _state_of(title: str, state: Any) -> None:
    if not isinstance(state, Mapping):
        return
    met = state.get("steady_state_met")
    click.echo(f"\n{title}: " + click.style("met" if met else "not met", fg="green" if met else "red"))
    for probe in state.get("probes") or ():
        outside = probe.get("status") == "succeeded" and not probe.get("tolerance_met")
        _activity(probe, "✗" if outside else "", "red")


def _activities(title: str, runs: Any) -> None:
    if not runs:
        return
    click.echo(f"\n{title}")
    for each in runs:
        _activity(each)


def _activity(entry: Mapping[str, Any], mark: str = "", colour: str = "") -> None:
    activity = entry.get("activity") or {}
    if not mark:
        mark, colour = MARKS.get(str(entry.get("status")), ("·", "yellow"))
    lasted = entry.get("duration")
    took = f"  {lasted:.1f} s" if isinstance(lasted, int | float) else ""
    click.echo(f"  {click.style(mark, fg=colour)} {activity.get('type', '')} {activity.get('name', 'unnamed')}{took}")
    failure = entry.get("exception")
    said = str(failure[-1]).strip() if isinstance(failure, list) and failure else _output(entry.get("output"))
    if said:
        click.echo(f"      {_short(said)}")


def _output(output: Any) -> str:
    """What an activity gave; of a process, what it wrote, and its exit code when it is not 0."""
    if isinstance(output, Mapping) and {"status", "stdout", "stderr"} <= output.keys():
        wrote = str(output["stdout"] or output["stderr"]).strip()
        return f"exit code {output['status']}: {wrote}".rstrip(": ") if output["status"] else wrote
    return "" if output in (None, "", True) else str(output)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
