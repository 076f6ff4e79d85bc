"""From schedules to runs: what is due is claimed, by compare-and-set, so that two beats at once claim it once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import structlog

from kt.chaos.model import Run, Schedule
from kt.chaos.store import ChaosStore
from kt.chaos.times import BadTimes, due
from kt.incident.log import VersionConflict

_log = structlog.get_logger(__name__)


def claim_due(store: ChaosStore, now: datetime, late_s: float) -> list[Run]:
    """Claim every run that is due at `now`, note every one that was missed. What this call claimed or noted.

    Raises `LogUnavailable`.
    """
    claimed: list[Run] = []
    for schedule in store.due(now):
        try:
            runs, moved = _plan(schedule, now, late_s)
        except BadTimes as error:
            # It was checked when it was added: the time zone data of this machine is another. The others go on.
            _log.error("schedule cannot be followed here", schedule=schedule.what.name, error=str(error))
            continue
        try:
            store.commit(moved, *runs)
        except VersionConflict:
            _log.debug("another beat was faster", schedule=schedule.what.name)
            continue
        claimed += runs
    return claimed


def run_of(schedule: Schedule, due_at: datetime, now: datetime) -> Run:
    # Its id tells one due run from all others, whoever claims it.
    id_ = f"{schedule.id}-{due_at:%Y%m%dT%H%M}"
    return Run(id=id_, schedule=schedule.id, what=schedule.what, due_at=due_at, claimed_at=now)


def _plan(schedule: Schedule, now: datetime, late_s: float) -> tuple[list[Run], Schedule]:
    if schedule.due_at is None:
        return [], schedule
    found = due(schedule.cron, schedule.zone, schedule.missed, due_at=schedule.due_at, now=now, late_s=late_s)
    runs = [run_of(schedule, at, now) for at in found.run]
    if found.skipped:
        runs.append(_skipped(schedule, found.skipped, now))
    return runs, msgspec.structs.replace(schedule, version=schedule.version + 1, due_at=found.next)


def _skipped(schedule: Schedule, missed: Sequence[datetime], now: datetime) -> Run:
    why = "KT was down when it fell due"
    if len(missed) > 1:
        why = f"KT was down when {len(missed)} runs fell due, the last at {missed[-1]:%Y-%m-%d %H:%M} UTC"
    after = "the latest is made up for" if schedule.missed == "once" else "missed runs are skipped"
    return msgspec.structs.replace(
        run_of(schedule, missed[0], now),
        covers=len(missed),
        covers_until=missed[-1],
        phase="ended",
        ended_at=now,
        outcome="skipped",
        why=f"{why}; {after}.",
    )
