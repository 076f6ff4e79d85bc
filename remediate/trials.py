"""What became of remedies before: one trial for each plan that was carried out, and what is learned from them.

Trials are a grow-only set, told apart by the incident and action that they are of: noting one again changes nothing,
and two installations' records are merged by putting them together (a G-Set, Shapiro et al. 2011: conflict-free
replicated data types). Counts are taken from them, so nothing is ever counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

Z95 = 1.96
"""Two-sided 95 % of the normal distribution."""
PSEUDO = 2.0
"""How many trials the more general record weighs beside the more special one (empirical Bayes, beta-binomial)."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was carried out to fix a fault, and whether the fix held when it was attacked."""

    id: str
    at: datetime
    playbook: str
    fault: str
    target: str
    """The entity that was held to be at fault."""
    helped: bool
    effect_s: float | None = None
    """From the last action to the symptoms being gone; None when they did not go."""


class Trials(Protocol):
    """All methods may be called from several processes at once. They raise the store's own error."""

    def note(self, trials: Iterable[Trial]) -> None:
        """Add these; those that are known already stay as they are."""
        ...

    def of(self, *, playbook: str | None = None, fault: str | None = None) -> list[Trial]:
        """All of a playbook, of a fault, of both or of everything; the oldest first."""
        ...

    def close(self) -> None: ...


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How often something helped. `low` and `high`: Wilson's 95 % interval (Wilson 1927)."""

    helped: int
    tried: int
    low: float
    high: float
    median_s: float | None = None
    """Median time to effect of those that helped, in seconds."""

    @property
    def share(self) -> float | None:
        return self.helped / self.tried if self.tried else None


def rate(trials: Sequence[Trial]) -> Rate:
    helped, tried = sum(1 for each in trials if each.helped), len(trials)
    low, high = wilson(helped, tried)
    times = sorted(each.effect_s for each in trials if each.helped and each.effect_s is not None)
    return Rate(helped=helped, tried=tried, low=low, high=high, median_s=times[len(times) // 2] if times else None)


def wilson(helped: int, tried: int) -> tuple[float, float]:
    """Wilson's score interval of a share; everything is possible where nothing was tried."""
    if not tried:
        return 0.0, 1.0
    share, spread = helped / tried, Z95**2 / tried
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / tried + spread / (4 * tried))
    return max(0.0, middle - half), min(1.0, middle + half)


def chance(trials: Sequence[Trial], target: str, before: float) -> float:
    """How likely a remedy helps this target against this fault, where `before` is the belief without any trial.

    The record of the target itself counts in full; that of all targets stands in for what it lacks."""
    mine = [each for each in trials if each.target == target]
    general = _shrunk(trials, before)
    return _shrunk(mine, general)


def _shrunk(trials: Sequence[Trial], towards: float) -> float:
    helped = sum(1 for each in trials if each.helped)
    return (helped + PSEUDO * towards) / (len(trials) + PSEUDO)


def by_fault(trials: Iterable[Trial]) -> dict[str, Rate]:
    """Fault → how often it helped, by name."""
    found: dict[str, list[Trial]] = {}
    for each in trials:
        found.setdefault(each.fault, []).append(each)
    return {fault: rate(found[fault]) for fault in sorted(found)}
