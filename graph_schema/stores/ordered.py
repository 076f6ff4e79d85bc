"""Sets of numbers as arrays in ascending order, each number once.

numpy's own functions for them hash, which takes several times as long for some thousand numbers.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

N = TypeVar("N", np.int32, np.int64)


def distinct(numbers: NDArray[N]) -> NDArray[N]:
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def within(numbers: NDArray[N], ordered: NDArray[N]) -> NDArray[np.bool_]:
    """Which of the numbers, in whatever order, are in the set."""
    if not len(ordered):
        return np.zeros(len(numbers), bool)
    near = np.minimum(np.searchsorted(ordered, numbers), len(ordered) - 1)
    found: NDArray[Any] = ordered[near] == numbers
    return found
