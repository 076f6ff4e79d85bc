"""Incidents that were raised while a run of chaos was on: which of them are left to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from graph_schema.model import Signal
from kt.chaos.model import Run
from kt.incident.events import Escalated, Postponed
from kt.pipeline.journey import Journey
from kt.pipeline.nearness import near
from kt.runtime import Runtime
from verify import plain
from verify.stop_when import extension


def left_to_chaos(runtime: Runtime, journey: Journey) -> bool:
    """Whether no remedy is proposed, since a run that is no game day was on when this was raised near what it disturbs.

    Its disturbance ends with the run. What is still there when the aftermath is over is told to a person.
    """
    now, options = runtime.clock(), runtime.settings
    runs = [run for run in map(runtime.chaos.run, journey.state.chaos_runs) if run and not run.what.game_day]
    found = [run for run in runs if _may_disturb(runtime, run, journey.state.firing)]
    if not found:
        return False
    names = ", ".join(f"{run.id} ({run.what.name})" for run in found)
    aftermath = timedelta(seconds=max(options.chaos.aftermath_s, options.pipeline.retry_s))
    # A run that is still on is looked at again in a while; alerts that end wake the incident at once.
    over = max((run.ended_at or now) + aftermath for run in found)
    if now < over:
        why = f"Raised while chaos run {names} was on; no remedy is proposed for what it disturbs."
        journey.append(Postponed(at=now, until=over, why=why, causes=()))
        return True
    why = f"Raised while chaos run {names} was on, and still there {options.chaos.aftermath_s:.0f} s after it ended"
    journey.append(Escalated(at=now, why=f"{why}: it did not recover by itself, or the run was not the cause."))
    return True


def _may_disturb(runtime: Runtime, run: Run, signals: Iterable[Signal]) -> bool:
    """Whether any of this may come from the run. Only where the experiment itself says what it is about can it be known
    that something does not."""
    targets = frozenset(extension(plain.parse(run.what.plain), "").targets)
    told = frozenset(signal.entity for signal in signals if signal.mapped)
    if not told or not targets or len(runtime.graph.get(targets)) < len(targets):
        return True
    return near(runtime.graph, told, targets)
