"""Times as the stores keep them: whole microseconds since 1970 UTC, which compare and sort exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
REMEMBERED = timedelta(days=1)
"""How long ended relations are kept: changes of what was deleted are found through them."""


def to_micros(at: datetime) -> int:
    return (at - EPOCH) // TICK


def from_micros(micros: int) -> datetime:
    return EPOCH + micros * TICK
