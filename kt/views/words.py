"""Short words for what happens to incidents: one line for an event, ages, whom an incident waits for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from graph_schema.model import Diagnosis, ProbeAnswer, Signal
from kt.incident import events as e
from kt.incident.log import Record
from kt.incident.state import State

COLOURS = {
    "healed": "green", "escalated": "red", "awaiting approval": "yellow", "undoing": "magenta", "undone": "magenta",
}  # fmt: skip
OVERDUE_S = 30.0
"""A step that is due for longer than this is told as not taken."""
SHORTEST_ID = 8
SEAL = 8
"""Digits of a plan's digest that a person hands back to say which plan was meant."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def span(seconds: float) -> str:
    """`8 s`, `4 min`, `3 h`, `2 d`: as exact as a person needs."""
    for size, unit in _UNITS:
        if seconds >= size * (2 if unit == "d" else 1):
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def short_ids(ids: Collection[str]) -> dict[str, str]:
    """The beginning of each id that no other one of these has."""
    length = SHORTEST_ID
    while len({each[:length] for each in ids}) < len(ids):
        length += 1
    return {each: each[:length] for each in ids}


def colour(event: e.Event) -> str:
    """The colour that a line about the event is shown in."""
    match event:
        case e.Healed():
            return "green"
        case e.Escalated() | e.Rejected():
            return "red"
        case e.ActionStarted() | e.UndoStarted() | e.PlanProposed() | e.UndoAsked():
            return "yellow"
        case e.Verified() | e.Diagnosed() | e.Probed():
            return "cyan"
    return "default"


def _own_doing(event: e.AlertsReceived) -> str:
    if not event.attacked or event.calm_at is None:
        return ""
    until = f"{event.calm_at:%H:%M:%S}"
    return f" (near what KT attacked for incident {event.attacked[:8]}: diagnosed at {until} unless it ends before)"


def event_words(event: e.Event) -> str:
    """What an event says, in one line."""
    match event:
        case e.AlertsReceived():
            left_out = f"; {event.truncated} more were left out by Alertmanager" if event.truncated else ""
            during = f" (raised while chaos run {', '.join(event.chaos_runs)} was on)" if event.chaos_runs else ""
            again = "again: " if event.reopens else ""
            said = ", ".join(_signal_words(each) for each in event.signals)
            return again + said + left_out + during + _own_doing(event)
        case e.Diagnosed():
            return diagnosis_words(event.diagnosis)
        case e.Probed():
            return f"{_spoke(event.answer)} {event.probe.fault} of {event.probe.entity}: {probe_words(event.answer)}"
        case e.Confirmed():
            return f"{event.fault} of {event.entity}, says {event.by}{': ' + event.why if event.why else ''}"
        case e.PlanProposed():
            asks = f" (needs {event.approvals_needed} to agree)" if event.approvals_needed else ""
            return "; ".join(step.summary or step.action for step in event.plan.steps) + asks
        case e.Approved() | e.Revoked() | e.UndoAsked() | e.Undone():
            return f"by {event.by}{': ' + event.why if event.why else ''}"
        case e.Rejected():
            return f"by {event.by}: {event.why}"
        case e.ActionStarted():
            return f"step {event.step + 1} of the plan"
        case e.ActionFinished() | e.RolledBack():
            return event.detail if event.ok else f"failed: {event.detail}"
        case e.VerificationStarted():
            return f"experiment {event.attempt}: {event.experiment.get('title', '')}"
        case e.Verified():
            return f"{event.verdict.outcome}: {event.verdict.why}"
        case _:
            return event.why


def probe_words(answer: ProbeAnswer) -> str:
    """The question, what would speak for the fault, and what was seen."""
    return f"{answer.question} ({answer.confirms}?) → {answer.saw}"


def _spoke(answer: ProbeAnswer) -> str:
    return {True: "speaks for", False: "speaks against", None: "tells nothing of"}[answer.confirmed]


def diagnosis_words(diagnosis: Diagnosis) -> str:
    causes = [f"{each.fault} of {each.entity} ({each.probability:.0%})" for each in diagnosis.selected()]
    return " and ".join(causes) if causes else "no cause is likely enough"


def waiting(state: State, records: Sequence[Record], now: datetime) -> str:
    """What has to happen next, and who has to do it."""
    if state.ended:
        return state.ended_why
    if state.phase == "awaiting approval" and not state.approved:
        given = len(state.agreed)
        lapses = f", lapses in {span((state.expires_at - now).total_seconds())}" if state.expires_at else ""
        return f"for {_people(state.approvals_needed - given)} to agree{lapses}"
    if state.due_at and state.due_at > now:
        why = f": {state.postponed.why}" if state.postponed else ""
        return f"looks again in {span((state.due_at - now).total_seconds())}{why}"
    late = (now - state.due_at).total_seconds() if state.due_at else 0.0
    if late > OVERDUE_S and state.phase != "verifying":
        return f"for a worker to {state.next_step}, for {span(late)} already; see `kt doctor`"
    return {
        "new": "for the rest of the alerts, then for its diagnosis",
        "diagnosed": "for a plan",
        "acting": "for the action to be done",
        "undoing": "for the action to be undone",
        "verifying": "for the fix to arrive" if state.verification is None else "for the experiment to end",
    }.get(state.phase, "for its turn")


def unmapped(state: State) -> list[Signal]:
    """Signals that no known entity was found for: a person has to look at them."""
    return [signal for signal in state.signals.values() if not signal.mapped]


def _signal_words(signal: Signal) -> str:
    ended = "" if signal.firing else " ended"
    return f"{signal.name}{ended} on {signal.entity}"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
