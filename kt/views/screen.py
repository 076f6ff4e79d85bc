"""The screen to decide on: what was seen, why it is so, what KT would do about it, what that touches, how it ends."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from graph_schema.model import Evidence, Hypothesis, Signal
from kt.incident.events import Probed
from kt.incident.log import Record
from kt.incident.outcome import compared, effect_s
from kt.incident.phases import Undoing
from kt.incident.state import State
from kt.views.words import COLOURS, SEAL, colour, event_words, span, unmapped, waiting
from remediate.plan import Plan

LONGEST_NAME = len("VerificationStarted")
NEAR = ("tier", "actions per hour", "workload share", "nodes")
"""Rules whose value a person wants to know also when they allow it."""
WIDTH, MOST_LINES, LEAST_EVENTS = 100, 37, 3
"""Of the screen: with its head, the rule above the timeline and the prompt below it is 40 lines high."""
MOST_EVIDENCE = 5
MOST_SIGNALS, MOST_PATHS, MOST_RUNNERS_UP, MOST_DIFF, MOST_EVENTS, MOST_TOUCHED = 4, 2, 3, 10, 10, 8


def screen(
    records: Sequence[Record], state: State, *, short: str, now: datetime, about: Mapping[str, str], full: bool = False
) -> RenderableType:
    """`about`: fault mode → what it means; `full`: leave nothing out."""
    body = Table.grid(padding=(0, 1))
    body.add_column(style="dim", justify="right", width=9)
    body.add_column(ratio=1)
    for title, part in [
        *_seen(state, full),
        *_asked(records),
        *_causes(state, about, full),
        *_plan(state, short, now, full),
        *_ending(records, state),
    ]:
        body.add_row(title, part)
    room = max(LEAST_EVENTS, min(MOST_EVENTS, MOST_LINES - _height(body)))
    shown = records if full else records[-room:]
    left_out = f"   {len(records) - len(shown)} earlier ones: --full" if len(shown) < len(records) else ""
    return Group(
        _head(state, records, short, now),
        body,
        Rule(Text(f"Timeline{left_out}", style="dim"), style="dim", align="left"),
        timeline(shown),
    )


def _height(body: Table) -> int:
    """In lines, on a screen of the usual width."""
    console = Console(width=WIDTH, file=io.StringIO())
    return len(console.render_lines(body, console.options))


def timeline(records: Iterable[Record]) -> Table:
    """One line for each event."""
    lines = Table.grid(padding=(0, 1), expand=True)
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(no_wrap=True, width=LONGEST_NAME)
    lines.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for record in records:
        name = Text(type(record.event).__name__, style=colour(record.event))
        lines.add_row(f"{record.event.at:%H:%M:%S}", name, Text(event_words(record.event)))
    return lines


def _head(state: State, records: Sequence[Record], short: str, now: datetime) -> Table:
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True, style="dim")
    style = f"bold {COLOURS.get(state.phase, 'cyan')}"
    age = f"began {span((now - state.opened_at).total_seconds())} ago" if state.opened_at else ""
    said = waiting(state, records, now)
    if state.verdict:
        # It stands under “Verdict”; once is enough.
        said = said.replace(f": {state.verdict.why}", "")
    head.add_row(Text(f"{short}  {state.phase}", style=style), Text(said if state.ended else f"waits {said}"), age)
    return head


def _seen(state: State, full: bool) -> Iterable[tuple[str, Text]]:
    mapped = sorted((each for each in state.signals.values() if each.mapped), key=lambda each: not each.firing)
    shown = mapped if full else mapped[:MOST_SIGNALS]
    lines = [_signal(each) for each in shown]
    if len(shown) < len(mapped):
        lines.append(Text(f"and {len(mapped) - len(shown)} more", style="dim"))
    if lines:
        yield "Seen", Text("\n").join(lines)
    for each in unmapped(state):
        labels = ", ".join(f"{key}={value}" for key, value in sorted(each.labels.items()) if key != "alertname")
        text = f"{each.name} ({labels or 'no labels'}): its labels lead to no object that KT knows"
        yield "Unmapped", Text(text, style="yellow")
    if state.truncated:
        yield "", Text(f"Alertmanager left {state.truncated} alerts out of its notification.", style="yellow")


def _signal(signal: Signal) -> Text:
    ended = "" if signal.firing else "  (has ended)"
    summary = signal.annotations.get("summary") or signal.annotations.get("description") or ""
    return Text.assemble(f"{signal.name} on {signal.entity}", (f"{ended}  {summary}", "dim"))


def _asked(records: Sequence[Record]) -> Iterable[tuple[str, Text]]:
    """What was asked since the evidence was not enough, why, and what came of it."""
    for record in records:
        if isinstance(record.event, Probed):
            said = {True: "green", False: "red", None: "dim"}[record.event.answer.confirmed]
            why = f"not enough evidence for {record.event.guess}" if record.event.guess else "not enough evidence"
            yield "Asked", Text.assemble((event_words(record.event), said), (f"  ({why})", "dim"))


def _causes(state: State, about: Mapping[str, str], full: bool) -> Iterable[tuple[str, Text]]:
    if state.diagnosis is None:
        return
    selected = list(state.diagnosis.selected())
    if not selected:
        yield "Cause", Text("none is likely enough to act on", style="yellow")
    for each in selected:
        yield "Cause", _cause(each, about)
        paths = _longest(each.paths)
        for path in paths if full else paths[:MOST_PATHS]:
            yield "path", Text(" → ".join(path))
        yield from _evidence("for", "+ ", each.evidence_for, "green", full)
        yield from _evidence("against", "- ", each.evidence_against, "red", full)
    others = [each for each in state.diagnosis.hypotheses if each not in selected]
    for warning in state.diagnosis.warnings:
        yield "!", Text(warning, style="yellow")
    ranked = [f"{each.probability:.0%} {each.fault} of {each.entity}" for each in others if each.probability >= 0.005]
    if ranked:
        yield "or else", Text("; ".join(ranked if full else ranked[:MOST_RUNNERS_UP]), style="dim")


def _cause(each: Hypothesis, about: Mapping[str, str]) -> Text:
    means = about.get(each.fault, "")
    certain = f"  {each.probability:.0%} "
    return Text.assemble((f"{each.fault} of {each.entity}", "bold"), (certain, "bold cyan"), (means, "dim"))


def _evidence(
    title: str, sign: str, evidence: Sequence[Evidence], style: str, full: bool
) -> Iterable[tuple[str, Text]]:
    shown = evidence if full else evidence[:MOST_EVIDENCE]
    lines = [Text.assemble((sign, style), each.text) for each in shown]
    if len(shown) < len(evidence):
        lines.append(Text(f"and {len(evidence) - len(shown)} more", style="dim"))
    if lines:
        yield title, Text("\n").join(lines)


def _longest(paths: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Each path once, without those that are the beginning of another."""
    once = sorted(dict.fromkeys(paths), key=len, reverse=True)
    return [path for place, path in enumerate(once) if not any(path == other[: len(path)] for other in once[:place])]


def _plan(state: State, short: str, now: datetime, full: bool) -> Iterable[tuple[str, Text]]:
    plan = state.plan or (state.actions[-1].plan if state.actions else None)
    if plan is None:
        return
    steps = Text("\n").join(Text(step.summary or step.action, style="bold") for step in plan.steps)
    yield "Plan", steps
    for step in plan.steps:
        if diff := _diff(step.diff, full):
            yield "diff", diff
    touched = plan.blast_radius if full else plan.blast_radius[:MOST_TOUCHED]
    more = f" and {len(plan.blast_radius) - len(touched)} more" if len(touched) < len(plan.blast_radius) else ""
    if touched:
        yield "touches", Text(", ".join(touched) + more)
    if plan.affects:
        near = plan.affects if full else plan.affects[:MOST_TOUCHED]
        rest = f" and {len(plan.affects) - len(near)} more" if len(near) < len(plan.affects) else ""
        yield "affects", Text(", ".join(near) + rest)
    if plan.forecast:
        yield "forecast", Text("; ".join(plan.forecast))
    yield "undo", Text(plan.undo)
    if plan.guard:
        yield "guard", _guard(plan, full)
    yield "after", Text(f"must hold: {', '.join(plan.steady_state)}; then a Chaos Toolkit experiment attacks it")
    if state.undo is not None:
        yield "Undo", _wish(state.undo)
    if state.plan is plan:
        yield "Consent", _consent(state, plan, short, now)


VERDICTS = {"allow": "green", "ask": "yellow", "later": "yellow", "propose": "yellow", "refuse": "red"}


def _guard(plan: Plan, full: bool) -> Text:
    """What the rules said when the plan was made: those that object, and how near the others were to it."""
    objecting = [each for each in plan.guard if each.verdict != "allow"]
    lines = [
        Text.assemble((each.verdict, VERDICTS[each.verdict]), f" by {each.rule}: {each.why}") for each in objecting
    ]
    near = [
        f"{each.rule}: {each.value}" for each in plan.guard if each.verdict == "allow" and (full or each.rule in NEAR)
    ]
    count = len(plan.guard) - len(objecting)
    lines.append(Text.assemble(("allow", "green"), f" by {count} rules ({'; '.join(near)}) under policy {plan.policy}"))
    return Text("\n").join(lines)


def _diff(diff: str, full: bool) -> Text | None:
    """A unified diff without its two lines of file names; long ones are cut unless `full`."""
    lines = diff.splitlines()[2:]
    shown = lines if full else [line for line in lines if line[:1] in "+-@"][:MOST_DIFF]
    if not shown:
        return None
    styles = {"+": "green", "-": "red", "@": "dim"}
    coloured = [Text(line, style=styles.get(line[:1], "")) for line in shown]
    if not full and len(lines) > len(shown) and len(shown) == MOST_DIFF:
        coloured.append(Text("… --full shows all", style="dim"))
    return Text("\n").join(coloured)


def _consent(state: State, plan: Plan, short: str, now: datetime) -> Text:
    if not state.approvals_needed:
        return Text(f"risk {plan.risk}: automatic")
    given = ", ".join(sorted(state.agreed)) or "nobody yet"
    text = f"risk {plan.risk}: {state.approvals_needed} must agree; agreed: {given}"
    if state.phase != "awaiting approval" or state.approved or state.expires_at is None:
        return Text(text)
    if state.expires_at <= now:
        return Text(f"{text}; the time to decide is over", style="yellow")
    seal = f"--plan {state.digest[:SEAL]}"
    return Text.assemble(
        f"{text}; until {state.expires_at:%H:%M} UTC ({span((state.expires_at - now).total_seconds())} left)\n",
        (f"kt approve {short} {seal}", "bold yellow"),
        "   or   ",
        (f"kt reject {short} --why …", "bold yellow"),
    )


def _wish(undo: Undoing) -> Text:
    asked = undo.asked
    others = "; somebody else has to agree" if asked.others_only and asked.approvals_needed else ""
    return Text(f"{asked.by} wants the state before back{': ' + asked.why if asked.why else ''}{others}", style="bold")


def _ending(records: Sequence[Record], state: State) -> Iterable[tuple[str, Text]]:
    if state.verdict:
        style = {"held": "green", "regressed": "red"}.get(state.verdict.outcome, "yellow")
        yield "Verdict", Text.assemble((state.verdict.outcome, f"bold {style}"), f": {state.verdict.why}")
    if state.actions and (told := compared(state.actions[-1].plan, effect_s(records, state))):
        yield "effect", Text(told)
    for entity, fault, playbook in state.attempts:
        yield "tried", Text(f"{playbook} for {fault} of {entity}: undone or turned down", style="dim")
