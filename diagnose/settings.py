"""The numbers that scoring rests on. Chosen by hand on scenarios, not learned."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    hops: int = 7
    leak: float = 0.02
    """Probability that a symptom is seen without any cause considered (noisy-OR with leak: Pearl 1988, 4.3.2)."""
    sure: float = 0.97
    """How surely an own symptom of `FaultMode.sure` comes from the fault."""
    watched: float = 0.25
    """Probability that an expected symptom would have raised an alert: silence weighs only as much as this."""
    watched_self: float = 0.6
    """The same for a cause's own face, when its callers are watched well enough to complain."""
    expected: float = 0.45
    """A symptom is expected where at least this much of the fault arrives."""
    half_life_s: float = 600.0
    """After this long a change raises the odds half as much."""
    remembered_s: float = 7200.0
    """Changes older than this before the onset bring nothing about."""
    skew_s: float = 30.0
    """A change this long after the onset may still be its cause: alerts and changes are stamped by different clocks."""
    without_change: float = 0.3
    """Factor on the odds of a fault that mostly changes bring about, when no such change was seen."""
    mostly: float = 10.0
    """A fault is mostly brought about by changes when one raises its odds this much."""
    state_factor: float = 8.0
    """Factor on the odds when the entity's own state matches (or, inverted, contradicts) the fault."""
    explained: float = 0.15
    """A hypothesis explains a signal from this strength on."""
    news: float = 0.7
    """A further cause must make at least one signal likelier by this much (in log-probability)."""
    next_cause: float = 0.5
    """What is left unexplained makes a further cause when its best hypothesis is at least this probable."""
    most_causes: int = 5
    most_hypotheses: int = 20
    looked_at_closely: int = 40
    """For how many of the best candidates the missing symptoms are counted."""
