"""Is it as before the fault, or worse by so much? Answered as early as the noise allows, with stated error rates.

Wald's sequential probability ratio test (“Sequential Tests of Statistical Hypotheses”, Ann. Math. Stat. 16, 1945)
between “as before” and “worse by `delta`”, for a normal mean. What makes it fit for a busy afternoon:

- What is tested is the difference to unaffected peers, so that load which all feel cancels out.
- Mean and variance come from the time before the fault; dependence between samples is taken into account by the
  long-run variance of an AR(1) process, (1 + r) / (1 - r) times that of independent samples.
- A relapse may come late: the test starts again each time it has found “as before” (Page, “Continuous Inspection
  Schemes”, Biometrika 41, 1954), each round at `alpha` divided by the most rounds there can be (Bonferroni).
- No few spoiled samples decide: the weight of one is at most a sixth of what is needed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import msgspec

Kind = Literal["ratio", "seconds", "plain"]
Answer = Literal["as before", "worse", "undecided"]
LEAST_BEFORE = 10.0
"""Independent samples that the time before must be worth."""
LONGEST_MEMORY = 0.95
"""Correlation of neighbours above this is taken for this: a series of hardly any samples of its own."""
_SMALLEST = {"ratio": 0.02, "seconds": 0.03, "plain": 1e-9}
"""Least standard deviation that is believed, on the transformed scale: one that never moved is not without noise."""
MOST_WEIGHT = 1 / 6
"""Share of the evidence needed for “worse” that one sample may bring."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the time before, on the transformed scale."""

    mean: float
    variance: float
    """Long-run variance of one sample."""
    worth: float
    """Independent samples that it is worth."""

    @property
    def enough(self) -> bool:
        return self.worth >= LEAST_BEFORE


def scaled(kind: Kind, value: float) -> float:
    """A value on a scale on which its noise does not depend on its level: arcsine of the root of a ratio (Anscombe,
    Biometrika 35, 1948), logarithm of seconds."""
    if kind == "ratio":
        return math.asin(math.sqrt(min(1.0, max(0.0, value))))
    return math.log(max(value, 1e-6)) if kind == "seconds" else value


def against_peers(kind: Kind, value: float, peers: Sequence[float]) -> float:
    """How far a value is above its peers, on the transformed scale; the value itself when it has none."""
    others = [scaled(kind, peer) for peer in peers]
    return scaled(kind, value) - (sum(others) / len(others) if others else 0.0)


def baseline(kind: Kind, before: Sequence[float]) -> Baseline:
    """Of the transformed values before the fault, evenly spaced."""
    count = len(before)
    if count < 3:
        return Baseline(mean=before[0] if before else 0.0, variance=math.inf, worth=0.0)
    mean = sum(before) / count
    deviations = [value - mean for value in before]
    variance = sum(each * each for each in deviations) / (count - 1)
    lagged = sum(one * other for one, other in itertools.pairwise(deviations))
    memory = min(LONGEST_MEMORY, max(0.0, lagged / ((count - 1) * variance))) if variance > 0 else 0.0
    stretch = (1 + memory) / (1 - memory)
    worth = count / stretch
    # The variance is estimated itself: as the predictive distribution of so many samples has it (Student's t).
    unsure = (worth + 1) / worth * ((worth - 1) / (worth - 3) if worth > 4 else 4.0)
    return Baseline(mean=mean, variance=max(variance, _SMALLEST[kind] ** 2) * stretch * unsure, worth=worth)


def smallest_relapse(kind: Kind, level: float, worse_by: float) -> float:
    """`delta` on the transformed scale: `worse_by` added to a ratio, a share of seconds; `level`: the usual value."""
    after = level + worse_by if kind != "seconds" else level * (1 + worse_by)
    return scaled(kind, after) - scaled(kind, level)


class Sequential:
    """Takes one sample after the other and says where it stands."""

    def __init__(
        self, base: Baseline, delta: float, *, alpha: float = 0.01, beta: float = 0.01, least: int, most: int
    ) -> None:
        """`least`: samples before which it never says "as before"; `most`: after which it gives up, undecided."""
        if not (delta > 0 and 0 < alpha < 1 and 0 < beta < 1 and 0 < least <= most):
            raise ValueError("delta > 0, 0 < alpha, beta < 1 and 0 < least <= most must hold")
        self._base, self._delta, self._least, self._most = base, delta, least, most
        self._worse_at = math.log((1 - beta) / (alpha / most))
        self._fine_at = math.log(beta / (1 - alpha / most))
        self._sum = 0.0
        self.samples = 0

    def take(self, value: float) -> Answer | None:
        """`value`: transformed, as `against_peers` gives it. None while more samples are needed."""
        self.samples += 1
        odds = self._delta * (value - self._base.mean - self._delta / 2) / self._base.variance
        most = self._worse_at * MOST_WEIGHT
        self._sum += max(-most, min(most, odds))
        if self._sum >= self._worse_at:
            return "worse"
        if self._sum <= self._fine_at:
            if self.samples >= self._least:
                return "as before"
            self._sum = 0.0
        return "undecided" if self.samples >= self._most else None
