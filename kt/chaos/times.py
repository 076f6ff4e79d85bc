"""When a schedule is due: cron expressions in a time zone, and what becomes of the runs that were missed. Pure.

Cron expressions follow the rules of Debian's cron, daylight saving included (the library is cronsim):

- A run at a fixed time that does not exist (02:30, when the clock goes from 02:00 to 03:00) happens right after the
  gap, at 03:00. Several times that fall into one gap are one run.
- A run at a fixed time that exists twice happens once, at the first of the two.
- Where minute or hour begins with `*`, runs follow each other in real time: `0 * * * *` runs in both of the doubled
  hours and does not make up for the hour that is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

FIELDS = "minute, hour, day of month, month and day of week"


class BadTimes(ValueError):
    """A cron expression or a time zone is wrong; the message says what is expected."""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule asks for now."""

    run: tuple[datetime, ...] = ()
    """The due times to run now; each is one run."""
    skipped: tuple[datetime, ...] = ()
    """Those that were missed and are not made up for."""
    next: datetime | None = None
    """The first due time after now; None when there is none."""


def check(cron: str, zone: str) -> None:
    """Raises `BadTimes` for what no schedule can follow."""
    if len(cron.split()) != 5:
        raise BadTimes(
            f"“{cron}” has {len(cron.split())} fields; a cron expression has five: {FIELDS}, such as “30 2 * * MON-FRI”"
        )
    try:
        CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        what = str(error).removeprefix("Bad ")
        raise BadTimes(
            f"“{cron}”: the {what} is not one that cron knows; the fields are {FIELDS}, such as “*/15 9-17 * * MON-FRI”"
        ) from error
    _zone(zone)
    if next_due(cron, zone, datetime(2026, 1, 1, tzinfo=UTC)) is None:
        raise BadTimes(f"“{cron}” never comes true")


def next_due(cron: str, zone: str, after: datetime) -> datetime | None:
    """The first due time after `after`, in UTC; None when there is none in the next 50 years."""
    return next(due_times(cron, zone, after), None)


def due_times(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    """All due times after `after`, in UTC, ascending, each once. Without end for most expressions."""
    last = after.astimezone(UTC)
    # From a local time that is there twice cronsim goes on from the first one: what it says again is left out here.
    for local in CronSim(cron, last.astimezone(_zone(zone))):
        at = local.astimezone(UTC)
        if at > last:
            last = at
            yield at


def due(
    cron: str, zone: str, missed: Literal["skip", "once"], *, due_at: datetime, now: datetime, late_s: float
) -> Due:
    """What to do at `now` with a schedule that was next due at `due_at`.

    A run counts as missed when it is more than `late_s` late. Of the missed ones none is run (`skip`) or the latest
    (`once`, unless a later one is due anyway). Each due time from `due_at` to `now` is in one of the two lists.
    """
    on_time: list[datetime] = []
    late: list[datetime] = []
    limit = now - timedelta(seconds=late_s)
    times = due_times(cron, zone, due_at)
    at: datetime | None = due_at
    while at is not None and at <= now:
        (on_time if at >= limit else late).append(at)
        at = next(times, None)
    if missed == "once" and late and not on_time:
        on_time = [late.pop()]
    return Due(run=tuple(on_time), skipped=tuple(late), next=at)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise BadTimes(f"“{name}” is no time zone; one is named as in the tz database: “Europe/Berlin”") from error
