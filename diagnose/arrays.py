"""What arrays of numbers are asked again and again: runs of equal ones, and spans of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Bits = NDArray[np.uint8]
"""Eight flags in each, as `numpy.packbits` has them."""
Words = NDArray[np.uint64]
"""The same, 64 in each."""
NOBODY = -1
"""Stands where no entity is."""


def spread(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """(number of the span, place) of everything in spans of places, given where each begins and how long it is."""
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) + np.repeat(first - (np.cumsum(count) - count), count)


def begins(ordered: Ints) -> Ints:
    """Where each new number (none below 0) begins; `numpy.unique` would load 40 ms of what is not needed."""
    return np.flatnonzero(np.diff(ordered, prepend=-1))


def firsts(numbers: Ints) -> Ints:
    """The places at which each number (none below 0) is met first, in order."""
    order = np.argsort(numbers, kind="stable")
    return np.sort(order[begins(numbers[order])])


def firsts_by(one: Ints, other: Ints, value: Floats) -> Ints:
    """For each pair of numbers that is there the place of the largest value, the first one of equals."""
    order = np.lexsort((-value, other, one))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(one[order]) != 0) | (np.diff(other[order]) != 0)
    return order[new]


def place_in_run(*columns: Ints) -> Ints:
    """For each row its place among those that differ from it in the last column only, in the order of that."""
    order = np.lexsort(columns[::-1])
    new = np.zeros(len(order), bool)
    new[:1] = True
    for column in columns[:-1]:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(new)
    size = np.diff(np.append(starts, len(order)))
    found = np.empty(len(order), int)
    found[order] = np.arange(len(order)) - np.repeat(starts, size)
    return found
