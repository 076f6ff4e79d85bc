"""Holidays as people keep them: whole days, times with and without a zone, what repeats, and with which exceptions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kt.chaos.calendars import BadCalendar, event_at

BERLIN = "Europe/Berlin"


def calendar(folder: Path, *lines: str) -> Path:
    file = folder / "holidays.ics"
    event = ["BEGIN:VEVENT", "UID:1@example.org", "DTSTAMP:20260101T000000Z", "SUMMARY:Sale", *lines, "END:VEVENT"]
    words = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example//kt//EN", *event, "END:VCALENDAR", ""]
    file.write_text("\r\n".join(words))
    return file


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("lines", "now", "until"),
    [
        # A day is a day of the zone: of Berlin it begins at 23:00 UTC in winter.
        (("DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20261227"), "2026-12-24 22:59", ""),
        (("DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20261227"), "2026-12-24 23:00", "2026-12-27 00:00 CET"),
        (("DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20261227"), "2026-12-26 22:59", "2026-12-27 00:00 CET"),
        (("DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20261227"), "2026-12-26 23:00", ""),
        (("DTSTART:20260612T080000Z", "DTEND:20260612T090000Z"), "2026-06-12 08:30", "2026-06-12 09:00 UTC"),
        (("DTSTART:20260612T080000", "DTEND:20260612T090000"), "2026-06-12 06:30", "2026-06-12 09:00 CEST"),
        (("DTSTART:20260612T080000", "DTEND:20260612T090000"), "2026-06-12 08:30", ""),
        # Every Friday evening, but not that one.
        (
            ("DTSTART:20260605T180000Z", "DURATION:PT2H", "RRULE:FREQ=WEEKLY"),
            "2026-06-12 19:00",
            "2026-06-12 20:00 UTC",
        ),
        (
            ("DTSTART:20260605T180000Z", "DURATION:PT2H", "RRULE:FREQ=WEEKLY", "EXDATE:20260612T180000Z"),
            "2026-06-12 19:00",
            "",
        ),
    ],
)
def test_an_event_that_is_on_is_told_with_its_end(tmp_path: Path, lines: tuple[str, ...], now: str, until: str) -> None:
    found = event_at(calendar(tmp_path, *lines), utc(now), BERLIN)
    assert found == (f"“Sale” of the calendar holidays.ics lasts until {until}" if until else "")


def test_a_calendar_that_changed_is_read_again(tmp_path: Path) -> None:
    now = utc("2026-06-12 08:30")
    file = calendar(tmp_path, "DTSTART:20260612T080000Z", "DTEND:20260612T090000Z")
    assert event_at(file, now, BERLIN)
    calendar(tmp_path, "DTSTART:20260613T080000Z", "DTEND:20260613T090000Z", "LOCATION:elsewhere")
    assert not event_at(file, now, BERLIN)


def test_what_is_no_calendar_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadCalendar, match=r"none\.ics cannot be read: No such file"):
        event_at(tmp_path / "none.ics", utc("2026-06-12 08:30"), BERLIN)
    file = tmp_path / "words.ics"
    file.write_text("not a calendar")
    with pytest.raises(BadCalendar, match=r"words\.ics is no calendar"):
        event_at(file, utc("2026-06-12 08:30"), BERLIN)
