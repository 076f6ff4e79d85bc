"""What was expected of a plan beside what happened, out of an incident's log. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kt.incident.events import VerificationStarted
from kt.incident.log import Record
from kt.incident.state import State
from remediate.plan import Plan


def effect_s(records: Iterable[Record], state: State) -> float | None:
    """From the last action to the symptoms being gone, as the first verification of it found; None before that."""
    acted = state.acted_at
    if acted is None:
        return None
    begun = (
        record.event.at
        for record in records
        if isinstance(record.event, VerificationStarted) and record.event.at >= acted
    )
    first = next(begun, None)
    return (first - acted).total_seconds() if first else None


def compared(plan: Plan, took_s: float | None) -> str:
    """In words; empty where nothing was expected, or nothing is known yet."""
    if plan.effect_s is None or plan.chance is None or took_s is None:
        return ""
    return f"expected to help with {plan.chance:.0%}, in about {plan.effect_s:.0f} s; it took {took_s:.0f} s"
