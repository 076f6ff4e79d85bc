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
SHORT = 16
"""Bits of a short number."""


def spread(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """(number of the span, place) of everything in spans of places, given where each begins and how long it is."""
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) + np.repeat(first - (np.cumsum(count) - count), count)


def begins(ordered: Ints) -> Ints:
    """Where each new number (none below 0) begins; `numpy.unique` would load 40 ms of what is not needed."""
    return np.flatnonzero(np.diff(ordered, prepend=-1))


def orderly(*columns: Ints) -> Ints:
    """The order of rows by these columns of numbers (none below 0), the first one counting most; equal rows stay.

    Short numbers are sorted by their digits, in a fraction of the time that comparing them takes.
    """
    order = np.arange(len(columns[0]))
    for column in reversed(columns):
        for shift in range(0, max(1, int(column.max(initial=0)).bit_length()), SHORT):
            order = order[np.argsort((column[order] >> shift).astype(np.uint16), kind="stable")]
    return order


def firsts(numbers: Ints) -> Ints:
    """The places at which each number (none below 0) is met first, in order."""
    order = orderly(numbers)
    return np.sort(order[begins(numbers[order])])


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
