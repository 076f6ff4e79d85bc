"""When a schedule is due: daylight saving, missed runs, and what is no cron expression."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kt.chaos.times import BadTimes, check, due, due_times, next_due

BERLIN = "Europe/Berlin"
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)
"""In Berlin the clock goes from 02:00 to 03:00."""
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)
"""In Berlin the clock goes from 03:00 back to 02:00."""
ZONES = ("UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo")


def local(cron: str, zone: str, start: datetime, hours: float) -> list[str]:
    """Due times of the hours from `start`, as a clock on the wall shows them."""
    end = start + timedelta(hours=hours)
    times = takewhile(lambda at: at <= end, due_times(cron, zone, start - timedelta(seconds=1)))
    return [f"{at.astimezone(ZoneInfo(zone)):%H:%M%z}" for at in times]


def test_a_time_that_does_not_exist_is_made_up_for_right_after_the_gap() -> None:
    assert local("30 2 * * *", BERLIN, SPRING - timedelta(hours=2), 6) == ["03:00+0200"]
    assert local("0,15,30,45 2 * * *", BERLIN, SPRING - timedelta(hours=2), 6) == ["03:00+0200"]


def test_a_time_that_exists_twice_is_one_run_at_the_first() -> None:
    assert local("30 2 * * *", BERLIN, AUTUMN - timedelta(hours=2), 6) == ["02:30+0200"]


def test_a_worker_that_comes_up_between_the_two_does_not_run_it_again() -> None:
    between = AUTUMN + timedelta(minutes=10)
    assert next_due("30 2 * * *", BERLIN, between) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_wildcards_follow_real_time_through_both_changes() -> None:
    assert local("0 * * * *", BERLIN, SPRING - timedelta(hours=1), 2) == ["01:00+0100", "03:00+0200", "04:00+0200"]
    assert local("*/30 2 * * *", BERLIN, AUTUMN - timedelta(hours=2), 4) == [
        "02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100",
    ]  # fmt: skip


def minutes(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        numbers.map(str),
        st.lists(numbers, min_size=1, max_size=3, unique=True).map(lambda found: ",".join(map(str, found))),
        st.integers(2, 30).map(lambda step: f"*/{step}"),
    )


CRONS = st.tuples(minutes(0, 59), minutes(0, 23), st.just("*"), st.just("*"), st.sampled_from(["*", "MON-FRI", "0"]))
STARTS = st.integers(0, 60 * 24 * 366).map(lambda minute: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute))
NEAR_A_CHANGE = st.tuples(st.sampled_from([SPRING, AUTUMN]), st.integers(-4000, 1500)).map(
    lambda given: given[0] + timedelta(minutes=given[1])
)


@given(CRONS.map(" ".join), st.sampled_from(ZONES), STARTS | NEAR_A_CHANGE)
@settings(deadline=None)
def test_due_times_rise_and_are_the_same_from_wherever_one_looks(cron: str, zone: str, start: datetime) -> None:
    times = list(islice(due_times(cron, zone, start), 12))
    assert all(before < after for before, after in zip([start, *times], times, strict=False))
    for before, after in pairwise(times):
        assert next_due(cron, zone, before) == after
        assert next_due(cron, zone, after - timedelta(seconds=1)) == after


@given(st.integers(0, 59), st.integers(0, 23), st.sampled_from(ZONES), STARTS | NEAR_A_CHANGE)
@settings(deadline=None)
def test_a_fixed_time_of_day_runs_exactly_once_on_every_day(minute: int, hour: int, zone: str, start: datetime) -> None:
    times = list(islice(due_times(f"{minute} {hour} * * *", zone, start), 10))
    days = [at.astimezone(ZoneInfo(zone)).date() for at in times]
    assert [day.toordinal() for day in days] == list(range(days[0].toordinal(), days[0].toordinal() + 10))


@given(
    CRONS.map(" ".join), st.sampled_from(ZONES), STARTS | NEAR_A_CHANGE, st.sampled_from(["skip", "once"]),
    st.integers(0, 60 * 48), st.integers(0, 600),
)  # fmt: skip
@settings(deadline=None)
def test_every_due_time_is_run_or_told_as_skipped_never_both(
    cron: str, zone: str, start: datetime, missed: str, asleep_min: int, late_s: int
) -> None:
    first = next_due(cron, zone, start)
    assert first is not None
    now = first + timedelta(minutes=asleep_min)
    found = due(cron, zone, "once" if missed == "once" else "skip", due_at=first, now=now, late_s=late_s)
    expected = list(takewhile(lambda at: at <= now, due_times(cron, zone, start)))
    assert sorted([*found.run, *found.skipped]) == expected
    assert found.next == next_due(cron, zone, now)
    if missed == "once":
        assert expected[-1] in found.run
        assert all((now - at).total_seconds() <= late_s for at in found.run[:-1])
    else:
        assert all((now - at).total_seconds() <= late_s for at in found.run)


@pytest.mark.parametrize(
    ("cron", "zone", "says"),
    [
        ("* * * *", "UTC", "has 4 fields"),
        ("* * * * * *", "UTC", "has 6 fields"),
        ("61 * * * *", "UTC", "minute"),
        ("* * * * XYZ", "UTC", "day-of-week"),
        ("0 0 30 2 *", "UTC", "day-of-month|never"),
        ("* * * * *", "Berlin", "Europe/Berlin"),
        ("* * * * *", "../etc/passwd", "no time zone"),
    ],
)
def test_what_no_schedule_can_follow_is_told(cron: str, zone: str, says: str) -> None:
    with pytest.raises(BadTimes, match=says):
        check(cron, zone)
