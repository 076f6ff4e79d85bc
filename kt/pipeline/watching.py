"""A longer steady state for fixes of faults that must not be repeated: the incident waits, no worker is held.

How long, and how sure that makes, says `verify.passive`; which faults they are, `verify/knowledge/passive.yaml`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from kt.incident.events import Postponed
from kt.pipeline.journey import Journey
from kt.runtime import Runtime
from verify.passive import Watch, watch_for
from verify.templates import Passive, load_templates

LOOKS = 20
"""How often it is looked at on the way, at most."""


def watch_of(runtime: Runtime, journey: Journey) -> Watch | None:
    """How long the fix that was carried out is watched; None when its fault can be repeated."""
    plan, longest_s = journey.state.plan, runtime.settings.pipeline.watch_longest_s
    if plan is None or not longest_s or not isinstance(load_templates().of(plan.hypothesis.fault), Passive):
        return None
    mode = runtime.catalogue.faults.get(plan.hypothesis.fault)
    return watch_for(mode.onset_s, longest_s=longest_s) if mode else None


def begun_at(journey: Journey, watch: Watch) -> datetime | None:
    """When the symptoms were gone and the watch began; None before that."""
    acted = journey.state.acted_at
    return next(
        (
            each.event.at
            for each in journey.records
            if isinstance(each.event, Postponed) and acted and each.event.at >= acted and each.event.why == said(watch)
        ),
        None,
    )


def said(watch: Watch) -> str:
    return (
        f"It must not be repeated, so it is watched for {watch.seconds:.0f} s: had it come back at its usual pace, "
        f"that would be seen with {watch.confidence:.0%}."
    )


def go_on_watching(runtime: Runtime, journey: Journey, watch: Watch) -> bool:
    """Begin or go on; False once it is over. The symptoms are gone at this moment."""
    now = runtime.clock()
    begun = begun_at(journey, watch) or now
    over = begun + timedelta(seconds=watch.seconds)
    if now >= over:
        return False
    pause = max(runtime.settings.pipeline.retry_s, watch.seconds / LOOKS)
    journey.append(Postponed(at=now, until=min(over, now + timedelta(seconds=pause)), why=said(watch)))
    return True
