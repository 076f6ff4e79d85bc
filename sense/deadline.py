"""The time that a whole look at the world may take, shared by all its questions."""

from __future__ import annotations

import time


class Deadline:
    """`seconds` from now. Each question may take what is left of it, and no longer than `most_s`."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._ends

    def left(self, most_s: float) -> float:
        """Seconds for one question; never so few that no server could answer."""
        return max(LEAST_S, min(most_s, self._ends - time.monotonic()))


LEAST_S = 0.05
