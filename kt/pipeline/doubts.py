"""Second thoughts while a fix does not help: what came in after the cause was named may speak for another one.

Without them a wrong first guess costs the whole of `pipeline.recovery_s` before the next one is tried.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from graph_schema.model import Hypothesis
from kt.incident.events import Diagnosed
from kt.pipeline.crashes import Crashes
from kt.pipeline.journey import Journey
from kt.pipeline.stages.diagnose import look_again, named
from kt.runtime import Runtime

SURE = 0.8
"""How probable the other cause must be."""
DROPPED = 0.1
"""How probable the one that was acted upon may still be."""
MOST_KEPT = 64
"""Incidents; the oldest is forgotten, and then looked at sooner than need be."""


class Doubts:
    """When each incident was thought over last, in this process, and what has ended under its fix."""

    def __init__(self) -> None:
        self._thought: dict[str, datetime] = {}
        self.crashes = Crashes()

    def about(self, runtime: Runtime, journey: Journey) -> Hypothesis | None:
        """The cause that the evidence of now speaks for instead; None while there is no reason to doubt.

        Thought over every `pipeline.doubt_s` after the action, where something fires that began after the diagnosis.
        """
        state, now = journey.state, runtime.clock()
        if state.plan is None or state.acted_at is None or not _news(journey):
            return None
        pause = timedelta(seconds=runtime.settings.pipeline.doubt_s)
        if now < max(state.acted_at, self._thought.get(state.id, state.acted_at)) + pause:
            return None
        self._thought.pop(state.id, None)
        self._thought[state.id] = now
        if len(self._thought) > MOST_KEPT:
            del self._thought[next(iter(self._thought))]
        found = look_again(runtime, journey, SURE)
        if found is None:
            return None
        acted_for = state.plan.hypothesis.entity
        left = max((each.probability for each in found.diagnosis.hypotheses if each.entity == acted_for), default=0.0)
        return next(iter(named(runtime, found.diagnosis, SURE)), None) if left <= DROPPED else None


def _news(journey: Journey) -> bool:
    said = [record.event.at for record in journey.records if isinstance(record.event, Diagnosed)]
    return bool(said) and any(signal.starts_at > said[-1] for signal in journey.state.firing)
