"""How well a service stands attacks, as one number with its trend. Pure.

The score is the mean of a Beta distribution over the share of attacks that it withstands, beginning with one of each
kind (Laplace's rule of succession): 50 when nothing is known, never quite 0 or 100. An attack counts half after 30
days, a quarter after 60, and so on. Only what was shown counts: runs that held, against runs that regressed or passed a
limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from kt.chaos.model import Run

HALF_LIFE = timedelta(days=30)
TREND = timedelta(days=30)
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
    def trend(self) -> str:
        if abs(self.score - self.before) < STEADY:
            return "steady"
        return "better" if self.score > self.before else "worse"


def withstood(run: Run) -> bool | None:
    """Whether what was attacked held; None when nothing was shown."""
    if run.what.dry or run.started_at is None:
        return None
    if run.outcome == "regressed" or run.breach:
        return False
    return True if run.outcome == "held" else None


def scores(runs: Iterable[Run], now: datetime) -> list[Score]:
    """Of each service that was attacked, the weakest first."""
    shown: dict[str, list[tuple[datetime, bool]]] = {}
    for run in runs:
        stood = withstood(run)
        if stood is not None and run.started_at is not None:
            for service in run.targets:
                shown.setdefault(service, []).append((run.started_at, stood))
    found = []
    for service, attacks in shown.items():
        attacks.sort()
        found.append(
            Score(
                service=service,
                score=_score(attacks, now),
                before=_score(attacks, now - TREND),
                attacks=len(attacks),
                held=sum(stood for _, stood in attacks),
                last_at=attacks[-1][0],
                history=tuple((at, _score(attacks[: number + 1], at)) for number, (at, _) in enumerate(attacks)),
            )
        )
    return sorted(found, key=lambda each: (each.score, each.service))


def _score(attacks: Sequence[tuple[datetime, bool]], at: datetime) -> float:
    weights = [(math.exp2(-((at - when) / HALF_LIFE)), stood) for when, stood in attacks if when <= at]
    whole = sum(weight for weight, _ in weights)
    return round(100 * (1 + sum(weight for weight, stood in weights if stood)) / (2 + whole), 1)
