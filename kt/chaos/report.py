"""The report of a run, and of all of them: facts first, then as Markdown. HTML: `kt.chaos.report_html`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from kt.chaos.findings import Finding, findings
from kt.chaos.model import Run
from kt.chaos.resilience import Score, Standing, standings
from verify import plain
from verify.stop_when import EXTENSION

LONGEST = 200


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One activity that was carried out."""

    part: str
    kind: str
    name: str
    status: str
    seconds: float
    said: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    samples: tuple[tuple[float, float], ...]
    """(seconds since 1970, value)."""
    marked: tuple[float, float] | None
    """When the run was on."""


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    outcome: str
    why: str
    description: str
    about: tuple[tuple[str, str], ...]
    """(what, value) lines."""
    steady_before: str
    steady_after: str
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    charts: tuple[Chart, ...]


def report_of(run: Run, journals: Mapping[str, Mapping[str, Any]]) -> RunReport:
    experiment, journal = plain.parse(run.what.plain), journals.get("run", {})
    states, undo = journal.get("steady_states") or {}, journals.get("undo", {})
    parts = (
        ("steady state before", (states.get("before") or {}).get("probes")),
        ("method", journal.get("run")),
        ("steady state after", (states.get("after") or {}).get("probes")),
        ("rollbacks", journal.get("rollbacks")),
        ("rollbacks, by another process", undo.get("rollbacks")),
    )
    series = journals.get("series", {})
    on = (float(series["from"]), float(series["to"])) if "from" in series else None
    return RunReport(
        id=run.id,
        name=run.what.name,
        outcome=run.outcome or run.phase,
        why=run.why,
        description=str(experiment.get("description", "")),
        about=_about(run, experiment),
        steady_before=_met(states.get("before")),
        steady_after=_met(states.get("after")),
        steps=tuple(_step(part, each) for part, entries in parts for each in entries or () if isinstance(each, dict)),
        findings=findings(run.outcome, run.why, run.breach, journals),
        charts=tuple(
            Chart(
                title=f"{each['service']}: {each['about']}",
                samples=tuple((float(at), float(value)) for at, value in each["samples"]),
                marked=on,
            )
            for each in series.get("charts", ())
        ),
    )


Link = Callable[[Run], str]
"""Where the page of a run is, seen from the page of all runs."""


def markdown(report: RunReport, back: str = "") -> str:
    """For a pull request, a wiki, a mail. Charts are in the HTML only; here are their lowest and highest values.

    `back`: where the page of all runs is.
    """
    lines = [f"# {_text(report.name)}: {report.outcome}", "", _text(report.why) or "No reason was given.", ""]
    lines += [f"- **{_text(what)}**: {_text(value)}" for what, value in report.about]
    lines += ["", "## Findings", ""]
    lines += [f"- **{each.kind}**: {_text(each.text)}" for each in report.findings] or ["None."]
    lines += [
        "",
        "## What was done",
        "",
        f"Steady state before: {report.steady_before}; after: {report.steady_after}.",
        "",
    ]
    lines += ["| part | activity | ended | seconds | said |", "|---|---|---|---|---|"]
    lines += [
        f"| {each.part} | {each.kind} {_cell(each.name)} | {each.status} | {each.seconds:.1f} | {_cell(each.said)} |"
        for each in report.steps
    ]
    if report.charts:
        lines += ["", "## Measured", "", "| series | before | lowest during | highest during |", "|---|---|---|---|"]
        lines += [_extremes(each) for each in report.charts]
    if report.description:
        lines += ["", "## The experiment", "", _text(report.description)]
    if back:
        lines += ["", f"[All runs]({back})"]
    return "\n".join(lines) + "\n"


def overview(runs: Sequence[Run], scored: Sequence[Score], now: datetime, link: Link | None = None) -> str:
    """All runs in one page of Markdown: how well each service stands, what was found; with `link`, each run's page."""
    lines = [f"# Chaos, as of {now:%Y-%m-%d %H:%M} UTC", "", "## Resilience", ""]
    if scored:
        lines += ["| service | score | trend | attacks | held | last |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {_cell(each.service)} | {each.score:.0f} | {each.trend} ({each.score - each.before:+.0f} in 30 days) "
            f"| {each.attacks} | {each.held} | {each.last_at:%Y-%m-%d} |"
            for each in scored
        ]
    else:
        lines.append("No service has been attacked yet.")
    bad = [run for run in runs if run.outcome == "regressed" or run.breach]
    lines += ["", "## Findings", ""]
    lines += [f"- {run.claimed_at:%Y-%m-%d} {_text(run.what.name)} (`{run.id}`): {_text(run.why)}" for run in bad] or [
        "None."
    ]
    if link:
        lines += ["", "## Runs", "", "| due | run | outcome | resilience after it |", "|---|---|---|---|"]
        left = standings(runs)
        lines += [
            f"| {run.due_at:%Y-%m-%d %H:%M} | [{_cell(run.what.name)}]({link(run)}) | {run.outcome or run.phase} "
            f"| {_cell(stood(left.get(run.id, ())))} |"
            for run in runs
        ]
    counts = {outcome: sum(run.outcome == outcome for run in runs) for outcome in sorted({run.outcome for run in runs})}
    told = ", ".join(f"{count} {outcome or 'not ended'}" for outcome, count in counts.items())
    return "\n".join([*lines, "", f"{len(runs)} runs: {told or 'none'}.", ""])


def stood(left: Iterable[Standing]) -> str:
    """Where a run left the services that it attacked, in words."""
    return ", ".join(f"{each.service} {each.score:.0f} ({each.change:+.0f})" for each in left)


def _about(run: Run, experiment: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    extensions = [each for each in experiment.get("extensions") or () if isinstance(each, dict)]
    mine: Mapping[str, Any] = next((each for each in extensions if each.get("name") == EXTENSION), {})
    times = (("due", run.due_at), ("begun", run.started_at), ("ended", run.ended_at))
    lines = [(what, f"{at:%Y-%m-%d %H:%M:%S} UTC") for what, at in times if at]
    more = (
        ("on", run.host), ("about", ", ".join(run.targets)), ("fault", str(mine.get("fault", ""))),
        ("radius", str(mine.get("radius", ""))), ("asked by", run.asked_by),
        ("experiment", f"{run.what.plain.source}, SHA-256 {run.what.plain.digest[:16]}"),
    )  # fmt: skip
    return (*lines, *((what, value) for what, value in more if value))


def _met(state: Any) -> str:
    if not isinstance(state, dict):
        return "not looked at"
    return "met" if state.get("steady_state_met") else "not met"


def _step(part: str, entry: Mapping[str, Any]) -> Step:
    activity, lasted, failure = entry.get("activity") or {}, entry.get("duration"), entry.get("exception")
    output = entry.get("output")
    said = output.get("why", output) if isinstance(output, dict) else output
    if isinstance(failure, list) and failure:
        said = str(failure[-1]).strip()
    status = str(entry.get("status", "not ended"))
    if part.startswith("steady") and status == "succeeded" and not entry.get("tolerance_met"):
        status = "outside its tolerance"
    return Step(
        part=part,
        kind=str(activity.get("type", "")),
        name=str(activity.get("name", "unnamed")),
        status=status,
        seconds=float(lasted) if isinstance(lasted, int | float) else 0.0,
        said="" if said is None else _short(str(said)),
    )


def _extremes(chart: Chart) -> str:
    first, last = chart.marked or (0.0, float("inf"))
    before = [value for at, value in chart.samples if at < first]
    during = [value for at, value in chart.samples if first <= at <= last]
    usual = f"{sum(before) / len(before):.3g}" if before else "–"
    seen = (f"{min(during):.3g}", f"{max(during):.3g}") if during else ("–", "–")
    return f"| {_cell(chart.title)} | {usual} | {seen[0]} | {seen[1]} |"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _text(text: str) -> str:
    """Words of others, so that they stay words in Markdown."""
    return " ".join(text.split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")
