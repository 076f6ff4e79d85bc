"""How long the API server takes to answer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

FEW = 3
"""So few are enough when together they took a third of the span: of a server that hangs there are never many."""


class Latency:
    """How long the API server took to answer lately, as this process saw it. Safe among threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, span_s: float = 60.0, least: int = 8) -> None:
        self._clock, self._span_s, self._least = clock, span_s, least
        self._seen: deque[tuple[float, float]] = deque(maxlen=200)
        self._guard = threading.Lock()

    def took(self, seconds: float) -> None:
        with self._guard:
            self._seen.append((self._clock(), seconds))

    @property
    def p90_s(self) -> float | None:
        """Nine of ten answers came within it; None when there were too few to tell."""
        limit = self._clock() - self._span_s
        with self._guard:
            lately = sorted(seconds for at, seconds in self._seen if at >= limit)
        enough = len(lately) >= self._least or (len(lately) >= FEW and sum(lately) >= self._span_s / 3)
        return lately[int(0.9 * (len(lately) - 1))] if enough else None
