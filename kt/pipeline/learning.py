"""What an incident teaches: its remedy helped or did not, and how soon."""

from __future__ import annotations

from datetime import datetime

import structlog

from kt.incident.log import LogUnavailable
from kt.incident.outcome import effect_s
from kt.pipeline.journey import Journey
from kt.runtime import Runtime
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
        effect_s=effect_s(journey.records, journey.state) if helped else None,
    )
