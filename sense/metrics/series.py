"""A series: what one metric of one entity was over time, in order, each time once."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]


class Series(msgspec.Struct, frozen=True):
    """`times`: seconds since 1970, rising, each once; `values`: as many."""

    times: Floats
    values: Floats

    def between(self, start: float, end: float) -> Series:
        """The part with start <= time < end."""
        first, last = np.searchsorted(self.times, (start, end))
        return Series(self.times[first:last], self.values[first:last])


Table: TypeAlias = dict[str, dict[str, Series]]
"""Entity → metric → series."""


def series(times: ArrayLike, values: ArrayLike) -> Series:
    """From samples in any order; NaN is a gap. Of several values at one time the mean of the different ones counts."""
    at, value = np.asarray(times, float), np.asarray(values, float)
    there = ~np.isnan(value)
    order = np.lexsort((value[there], at[there]))
    at, value = at[there][order], value[there][order]
    if len(at) < 2 or (at[1:] > at[:-1]).all():
        return Series(at, value)
    # By time and value: a repeated sample stands beside itself, and the mean does not depend on the order.
    repeated = np.concatenate(([False], (at[1:] == at[:-1]) & (value[1:] == value[:-1])))
    at, value = at[~repeated], value[~repeated]
    once, where = np.unique(at, return_inverse=True)
    number = np.bincount(where)
    return Series(once, np.bincount(where, weights=value) / number)


def rate(counter: Series) -> Series:
    """Growth per second of a counter; a fall is a restart from zero (as in Prometheus' `rate`)."""
    if len(counter.times) < 2:
        return Series(counter.times[1:], counter.values[1:])
    grown = np.diff(counter.values)
    grown = np.where(grown < 0, counter.values[1:], grown)
    return Series(counter.times[1:], grown / np.diff(counter.times))


def at_times(times: Floats, of: Series) -> Floats:
    """The values of a series at these times, NaN where it has none."""
    if np.array_equal(times, of.times):
        return of.values
    found = np.full(len(times), np.nan)
    if len(of.times):
        where = np.searchsorted(of.times, times).clip(max=len(of.times) - 1)
        there = of.times[where] == times
        found[there] = of.values[where[there]]
    return found
