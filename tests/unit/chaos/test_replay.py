"""Two days of schedules replayed under a clock that is turned by hand: every due run once, whatever happens."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import pytest

from kt.chaos.model import Run, Schedule, What
from kt.chaos.planning import claim_due
from kt.chaos.times import due_times, next_due
from kt.stores.sqlite_chaos import SqliteChaosStore
from verify.plain import Plain

STEP = timedelta(seconds=20)
LATE_S = 60.0
CRONS = ("*/5 * * * *", "0 * * * *", "30 2 * * *", "15 2,3 * * *", "0 9-17 * * MON-FRI", "59 23 * * *")
SPRING = datetime(2026, 3, 28, 6, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 24, 6, tzinfo=UTC)
PLAIN_DAYS = datetime(2026, 6, 9, 0, 0, 7, tzinfo=UTC)


class World:
    """Schedules in a store, and two beats that look at it at the same moments."""

    def __init__(self, path: Path, start: datetime, missed: str) -> None:
        self.start = self.now = start
        self.store = SqliteChaosStore(path)
        self.schedules = [
            Schedule(
                id=f"s{number}",
                what=What(name=cron, plain=Plain(text="{}", format="json", source="x.json")),
                cron=cron,
                zone="Europe/Berlin",
                missed="once" if missed == "once" else "skip",
                due_at=next_due(cron, "Europe/Berlin", start),
                created_at=start,
            )
            for number, cron in enumerate(CRONS)
        ]
        self.store.commit(*self.schedules)
        self.claimed: list[Run] = []

    def live(self, hours: float) -> None:
        """Both beats look every few seconds until this much later."""
        end = self.now + timedelta(hours=hours)
        together = threading.Barrier(2, action=self._forward, timeout=60)

        def beat() -> None:
            while True:
                together.wait()
                if self.now > end:
                    return
                self.claimed.extend(claim_due(self.store, self.now, LATE_S))

        beats = [threading.Thread(target=beat) for _ in range(2)]
        for each in beats:
            each.start()
        for each in beats:
            each.join()

    def sleep(self, hours: float) -> None:
        """Nothing of KT runs."""
        self.now += timedelta(hours=hours)

    def expected(self, schedule: Schedule) -> list[datetime]:
        return list(takewhile(lambda at: at <= self.now - STEP, due_times(schedule.cron, schedule.zone, self.start)))

    def told(self, schedule: Schedule) -> Counter[datetime]:
        """Each due time that the history accounts for, with how often it does."""
        found: Counter[datetime] = Counter()
        for run in self.store.runs(schedule=schedule.id, limit=10_000):
            if run.outcome == "skipped" and run.covers_until:
                times = due_times(schedule.cron, schedule.zone, run.due_at - timedelta(seconds=1))
                covered = list(takewhile(lambda at, end=run.covers_until: at <= end, times))  # type: ignore[misc]
                assert len(covered) == run.covers
                found.update(covered)
            else:
                found[run.due_at] += 1
        return found

    def _forward(self) -> None:
        self.now += STEP


@pytest.fixture(params=["skip", "once"])
def missed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("start", [PLAIN_DAYS, SPRING, AUTUMN], ids=["plain", "spring", "autumn"])
def test_two_beats_run_every_due_run_of_two_days_once(tmp_path: Path, start: datetime) -> None:
    world = World(tmp_path / "kt.db", start, "skip")
    world.live(48)
    assert len({run.id for run in world.claimed}) == len(world.claimed)
    for schedule in world.schedules:
        ran = [run.due_at for run in world.claimed if run.schedule == schedule.id]
        assert sorted(ran) == world.expected(schedule)
        assert all(run.claimed_at - run.due_at <= STEP for run in world.claimed)
    assert len(world.claimed) > 600


@pytest.mark.parametrize("start", [PLAIN_DAYS, SPRING, AUTUMN], ids=["plain", "spring", "autumn"])
def test_what_was_missed_while_down_is_told_once_and_made_up_for_by_policy(
    tmp_path: Path, start: datetime, missed: str
) -> None:
    world = World(tmp_path / "kt.db", start, missed)
    downs = [(6.1, 13.3), (2.0, 0.4), (4.5, 9.7), (1.0, 1.0)]
    made_up = 0
    for up, down in downs:
        world.live(up)
        before = world.now
        world.sleep(down)
        claims = len(world.claimed)
        world.live(0.02)
        late = [run for run in world.claimed[claims:] if (run.claimed_at - run.due_at).total_seconds() > LATE_S]
        made_up += sum(run.outcome != "skipped" for run in late)
        for schedule in world.schedules:
            ran = [run for run in world.claimed[claims:] if run.schedule == schedule.id and run.outcome != "skipped"]
            assert len(ran) <= 1 + (schedule.cron == "*/5 * * * *")
        assert all(run.due_at > before - STEP for run in world.claimed[claims:])
    world.live(10)
    for schedule in world.schedules:
        expected, told = world.expected(schedule), world.told(schedule)
        assert told == Counter(expected)
    assert (made_up > 0) == (missed == "once")
