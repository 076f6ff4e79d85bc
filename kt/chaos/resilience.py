"""How well a service stands attacks, as one number with its trend. Pure.

The score is the mean of a Beta distribution over the share of attacks that it withstands, beginning with one of each
kind (Laplace's rule of succession): 50 when nothing is known, never quite 0 or 100. An attack counts half after 30
days, a quarter after 60, and so on. Only what was shown counts: runs that held, against runs that regressed or passed a
limit.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from kt.chaos.model import Run

HALF_LIFE = timedelta(days=30)
TREND = timedelta(days=30)
Trend = Literal["better", "steady", "worse"]
STEADY = 2.0
"""Points by which a score may differ without being called better or worse."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    service: str
    score: float
    """0 to 100."""
    before: float
    """The score of 30 days ago."""
    attacks: int
    held: int
    last_at: datetime
    history: tuple[tuple[datetime, float], ...]
    """The score after each attack, oldest first."""

    @property
    def trend(self) -> Trend:
        return _trend(self.score, self.before)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run left a service."""

    service: str
    score: float
    """After the run."""
    change: float
    """By the run."""
    trend: Trend
    """Against 30 days before the run."""


def withstood(run: Run) -> bool | None:
    """Whether what was attacked held; None when nothing was shown."""
    if run.what.dry or run.started_at is None:
        return None
    if run.outcome == "regressed" or run.breach:
        return False
    return True if run.outcome == "held" else None


def scores(runs: Iterable[Run], now: datetime) -> list[Score]:
    """Of each service that was attacked, the weakest first."""
    found = []
    for service, course in _courses(runs).items():
        found.append(
            Score(
                service=service,
                score=course.score(now),
                before=course.score(now - TREND),
                attacks=len(course.at),
                held=course.held,
                last_at=course.at[-1],
                history=tuple((at, course.after(number)) for number, at in enumerate(course.at)),
            )
        )
    return sorted(found, key=lambda each: (each.score, each.service))


def standings(runs: Iterable[Run]) -> dict[str, tuple[Standing, ...]]:
    """Run → where it left each service that it attacked; runs that showed nothing are not in it."""
    found: dict[str, list[Standing]] = {}
    for service, course in sorted(_courses(runs).items()):
        for number, run in enumerate(course.runs):
            score, at = course.after(number), course.at[number]
            before = course.score(at, number)
            found.setdefault(run, []).append(
                Standing(
                    service=service,
                    score=score,
                    change=round(score - before, 1),
                    trend=_trend(score, course.score(at - TREND, number)),
                )
            )
    return {run: tuple(each) for run, each in found.items()}


def _trend(score: float, before: float) -> Trend:
    if abs(score - before) < STEADY:
        return "steady"
    return "better" if score > before else "worse"


class _Course:
    """The attacks on one service, oldest first, with what they weigh together after each."""

    def __init__(self) -> None:
        self.at: list[datetime] = []
        self.runs: list[str] = []
        self.held = 0
        self._weights: list[tuple[float, float]] = []
        """(of those that held, of all), at the time of each attack."""

    def add(self, at: datetime, run: str, *, stood: bool) -> None:
        held, whole = self._weights[-1] if self._weights else (0.0, 0.0)
        left = math.exp2(-((at - self.at[-1]) / HALF_LIFE)) if self.at else 1.0
        self._weights.append((held * left + stood, whole * left + 1))
        self.at.append(at)
        self.runs.append(run)
        self.held += stood

    def after(self, number: int) -> float:
        """The score after an attack."""
        return self.score(self.at[number], number + 1)

    def score(self, at: datetime, of: int | None = None) -> float:
        """The score at a time, by those of the first `of` attacks (all of them) that were before."""
        count = bisect_right(self.at, at, 0, of)
        if count == 0:
            return 50.0
        held, whole = self._weights[count - 1]
        left = math.exp2(-((at - self.at[count - 1]) / HALF_LIFE))
        return round(100 * (1 + held * left) / (2 + whole * left), 1)


def _courses(runs: Iterable[Run]) -> dict[str, _Course]:
    shown = [
        (run.started_at, run.id, run, stood)
        for run in runs
        if run.started_at is not None and (stood := withstood(run)) is not None
    ]
    found: dict[str, _Course] = {}
    for at, id_, run, stood in sorted(shown, key=lambda each: each[:2]):
        for service in run.targets:
            found.setdefault(service, _Course()).add(at, id_, stood=stood)
    return found
