"""Whether one series changed at an onset, how much, and how surely.

What is compared is the mean after the onset with the mean of the incident's own first minutes before it, so that a
slow drift since some earlier reference does not look like a change. How much such a difference comes about by itself is
measured on quiet time where there is any: the same difference is taken at every place of it, and its spread is the
unit. Without quiet time the unit is the noise of the first minutes, and never less than a floor.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from sense.metrics.series import Floats

HALF = 3.0
"""A change of this many units has the strength 0.5."""
TAIL = 0.99
TAIL_UNITS = 2.5
"""The unit is at least so large that all but the last hundredth of quiet differences lie within this many: real noise
has longer tails than its middle tells."""
ENOUGH_QUIET = 20
"""Fewer quiet differences than this tell no tail."""
ENOUGH_OWN = 3
"""From this many samples on the first minutes tell their own noise."""
ROUNDING = 1e-9


class Stretch(msgspec.Struct, frozen=True):
    """A piece of a series without a break; `weights` (calls, or ones) say how much each value counts, 0 for a gap."""

    values: Floats
    weights: Floats


class Judged(msgspec.Struct, frozen=True):
    before: float
    """Mean before the onset; NaN when there was nothing."""
    after: float
    excess: float
    """(after - before) · mean weight after the onset; positive only when it got worse, else 0."""
    strength: float
    """In [0, 1]: z² / (z² + HALF²), z being the excess in units of what happens by itself."""


NOTHING = Judged(float("nan"), float("nan"), 0.0, 0.0)


def stretch(values: Floats, weights: Floats | None = None) -> Stretch:
    given = np.ones(len(values)) if weights is None else np.maximum(np.nan_to_num(weights), 0.0)
    there = ~np.isnan(values)
    return Stretch(np.where(there, values, 0.0), np.where(there, given, 0.0))


def judge(
    window: Stretch, split: int, quiet: Sequence[Stretch] = (), *, worse: str = "up", floor: float = 0.0,
    share: bool = False,
) -> Judged:  # fmt: skip
    """The change of a window at its index `split`. `worse`: up, down or either; `floor`: see `Meaning`."""
    if worse == "either":
        both = [judge(window, split, quiet, worse=each, floor=floor, share=share) for each in ("up", "down")]
        return max(both, key=lambda each: each.strength)
    sign = -1.0 if worse == "down" else 1.0
    usual = _mean([sign * each.values for each in quiet], [each.weights for each in quiet])
    total = len(window.values)
    if split >= total:
        return NOTHING
    excess, before, after = (float(each[0]) for each in _differences(window, np.array([0]), split, total, sign, usual))
    if np.isnan(before) or np.isnan(after) or not excess > 0:
        return Judged(sign * before, sign * after, 0.0, 0.0)
    unit = _unit(window, split, quiet, sign, usual, abs(before), floor, share)
    z = excess / unit
    return Judged(sign * before, sign * after, excess, z * z / (z * z + HALF * HALF))


def _unit(
    window: Stretch, split: int, quiet: Sequence[Stretch], sign: float, usual: float, level: float, floor: float,
    share: bool,
) -> float:  # fmt: skip
    total = len(window.values)
    after = total - split
    weight = float(window.weights[split:].mean())
    least = floor * (1.0 if share else level) * weight / after**0.5
    units = [least, ROUNDING * max(level, float(np.abs(window.values).max())) * max(weight, ROUNDING), 1e-300]
    moved = [
        _differences(each, np.arange(len(each.values) - total + 1), split, total, sign, usual)[0]
        for each in quiet
        if len(each.values) >= total
    ]
    differences = np.abs(np.concatenate(moved)) if moved else np.zeros(0)
    if len(differences) >= ENOUGH_QUIET:
        units += [1.4826 * float(np.median(differences)), float(np.quantile(differences, TAIL)) / TAIL_UNITS]
    own = window.values[:split][window.weights[:split] > 0]
    if len(own) >= ENOUGH_OWN:
        units.append(float(own.std(ddof=1)) * weight * (1 / len(own) + 1 / after) ** 0.5)
    return float(max(units))


def _differences(
    of: Stretch, starts: np.typing.NDArray[np.intp], split: int, total: int, sign: float, usual: float
) -> tuple[Floats, Floats, Floats]:
    """(excess, before, after) of the windows that begin at these indexes; `usual` stands in for an empty before."""
    weighted = np.concatenate(([0.0], np.cumsum(sign * of.values * of.weights)))
    weights = np.concatenate(([0.0], np.cumsum(of.weights)))
    middle, end = starts + split, starts + total
    before = _ratio(weighted[middle] - weighted[starts], weights[middle] - weights[starts])
    before = np.where(np.isnan(before), usual, before)
    after = _ratio(weighted[end] - weighted[middle], weights[end] - weights[middle])
    excess = (after - before) * (weights[end] - weights[middle]) / (total - split)
    # Who was not asked before has no level of its own: the change is in who asks.
    return np.nan_to_num(excess), before, after


def _ratio(top: Floats, bottom: Floats) -> Floats:
    # Sums are differences of running sums: what is left by rounding is no weight.
    least = ROUNDING * float(bottom.max(initial=0.0))
    found: Floats = np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > least)
    return found


def _mean(values: Sequence[Floats], weights: Sequence[Floats]) -> float:
    total = sum(float(each.sum()) for each in weights)
    if total <= 0:
        return float("nan")
    return sum(float((value * weight).sum()) for value, weight in zip(values, weights, strict=True)) / total
