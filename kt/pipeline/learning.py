"""What an incident teaches: its remedy helped or did not, how soon, and whether that is what was expected."""

from __future__ import annotations

from datetime import datetime

import structlog

from kt.incident.events import VerificationStarted
from kt.incident.log import LogUnavailable
from kt.pipeline.journey import Journey
from kt.runtime import Runtime
from remediate.plan import Plan
from remediate.trials import Trial

_log = structlog.get_logger(__name__)


def learn(runtime: Runtime, journey: Journey, *, helped: bool) -> None:
    """Note what became of the plan that was carried out last. Noting it again, after a crash, changes nothing.

    A store that is away must not hold an incident up for the sake of statistics: then it is not learned from."""
    trial = trial_of(journey, runtime.clock(), helped=helped)
    if trial is None:
        return
    try:
        runtime.trials.note([trial])
    except LogUnavailable as error:
        _log.warning("not learned from", incident=journey.incident, error=str(error))


def trial_of(journey: Journey, now: datetime, *, helped: bool) -> Trial | None:
    state = journey.state
    if not state.actions:
        return None
    plan = state.actions[-1].plan
    first = next(action for action in state.actions if action.plan == plan)
    return Trial(
        id=f"{journey.incident}/{first.id}",
        at=now,
        playbook=plan.playbook,
        fault=plan.hypothesis.fault,
        target=plan.hypothesis.entity,
        helped=helped,
        effect_s=effect_s(journey) if helped else None,
    )


def effect_s(journey: Journey) -> float | None:
    """From the last action to the symptoms being gone, as the first verification of it found; None before that."""
    acted = journey.state.acted_at
    if acted is None:
        return None
    begun = (
        record.event.at
        for record in journey.records
        if isinstance(record.event, VerificationStarted) and record.event.at >= acted
    )
    first = next(begun, None)
    return (first - acted).total_seconds() if first else None


def compared(plan: Plan, took_s: float | None) -> str:
    """What was expected of a plan beside what happened, for the end of an incident; empty where nothing was."""
    if plan.effect_s is None or plan.chance is None or took_s is None:
        return ""
    return f" Expected: {plan.chance:.0%} to help, in about {plan.effect_s:.0f} s; it took {took_s:.0f} s."
