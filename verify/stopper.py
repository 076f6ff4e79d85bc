"""Looks each second, beside a run, whether one of its stop conditions is met; what cannot be measured ends it too."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType

from verify.prometheus import PrometheusUnavailable, instant
from verify.stop_when import StopWhen

LOOK_EVERY_S = 1.0
ANSWER_S = 2.0
"""How long one answer may take."""
BLIND_S = 5.0
"""How long Prometheus may be away before a run that cannot be watched is ended."""


class Stopper:
    """Watches in a thread of its own for as long as its block runs; `breach` says why the run has to end."""

    def __init__(self, url: str, conditions: Sequence[StopWhen]) -> None:
        self._url, self._conditions = url, conditions
        self._since: dict[StopWhen, float] = {}
        self._answered_at = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stop conditions", daemon=True)
        self.breach = ""

    def __enter__(self) -> Stopper:
        self._answered_at = time.monotonic()
        if self._conditions:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Not waited for: an answer of Prometheus may be on its way, and nothing is done with it any more.
        self._done.set()

    def objection(self) -> str:
        """Why a run may not even begin: a condition that is met already, watches nothing, or cannot be asked for."""
        for condition in self._conditions:
            try:
                values = self._values(condition)
            except PrometheusUnavailable as error:
                return f"its stop conditions cannot be watched: {error}"
            if not values:
                return f"its stop condition “{condition.query}” watches nothing: Prometheus has no such series"
            worst = condition.beyond(values)
            if worst is not None:
                return f"its stop condition is met before it begins: {condition.said(worst)}"
        return ""

    def look(self, now: float) -> str:
        """Ask once; why the run has to end, empty while it may go on. `now`: seconds of a clock that only goes on."""
        for condition in self._conditions:
            try:
                worst = condition.beyond(self._values(condition))
            except PrometheusUnavailable as error:
                away_s = now - self._answered_at
                return f"its stop conditions cannot be watched: {error}" if away_s >= BLIND_S else ""
            if worst is None:
                self._since.pop(condition, None)
            elif now - self._since.setdefault(condition, now) >= condition.for_s:
                return f"a stop condition is met: {condition.said(worst)}"
        self._answered_at = now
        return ""

    def _values(self, condition: StopWhen) -> list[float]:
        return [value for _, value in instant(self._url, condition.query, timeout_s=ANSWER_S)]

    def _run(self) -> None:
        while not self._done.is_set() and not self.breach:
            begun = time.monotonic()
            self.breach = self.look(begun)
            self._done.wait(max(0.0, LOOK_EVERY_S - (time.monotonic() - begun)))
