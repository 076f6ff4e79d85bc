"""Calendars as people keep them (iCalendar files): while one of their events is on, nothing is disturbed."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo


class BadCalendar(Exception):
    """A calendar cannot be read; the message says which and why."""


def event_at(path: Path, now: datetime, zone: str) -> str:
    """The event that is on, and until when; empty if none is.

    `zone`: of days, and of times that name no zone. Events that repeat are understood, with their exceptions. Raises
    `BadCalendar`.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise BadCalendar(f"the calendar {path} cannot be read: {error.strerror or error}") from error
    here = now.astimezone(ZoneInfo(zone))
    try:
        found = _read(path, about.st_mtime_ns, about.st_size).between(here, here + timedelta(seconds=1))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCalendar(f"{path} is no calendar in the iCalendar format (.ics): {error}") from error
    on = [(until, str(each.get("SUMMARY", "an event"))) for each in found if (until := _end(each, here)) > here]
    if not on:
        return ""
    until, what = max(on)
    return f"“{what}” of the calendar {path.name} lasts until {until:%Y-%m-%d %H:%M %Z}"


@lru_cache(maxsize=16)
def _read(path: Path, changed: int, size: int) -> Any:  # a file that changed is another one
    import icalendar  # only who keeps calendars pays for it
    import recurring_ical_events  # type: ignore[import-untyped]

    return recurring_ical_events.of(icalendar.Calendar.from_ical(path.read_bytes()))


def _end(event: Any, here: datetime) -> datetime:
    """A day ends with its last second; times without a zone are those of `here`."""
    end: date = event.end
    if not isinstance(end, datetime):
        end = datetime.combine(end, time())
    return end if end.tzinfo else end.replace(tzinfo=here.tzinfo)
