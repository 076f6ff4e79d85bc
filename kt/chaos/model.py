"""What is kept of scheduled chaos: schedules and runs, each changed by compare-and-set on its version."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from verify.plain import Plain

Phase = Literal["claimed", "running", "undoing", "ended"]
Outcome = Literal["", "held", "regressed", "inconclusive", "aborted", "refused", "skipped"]


class What(msgspec.Struct, frozen=True, kw_only=True):
    """What is run and how: the same in a schedule and in each of its runs."""

    name: str
    plain: Plain
    dry: str = ""
    """What is only pretended, as `chaos run --dry` takes it: probes, actions, activities or pause; empty: nothing."""
    variables: tuple[str, ...] = ()
    """`KEY=VALUE` or `KEY:TYPE=VALUE`, as `chaos run --var` takes them."""
    game_day: bool = False
    """Alerts that the run raises are remedied as always; else they are only noted."""


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """That somebody agreed to a run."""

    by: str
    at: datetime
    digest: str
    """Of what they agreed to."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment and when it runs."""

    id: str
    version: int = 1
    what: What
    cron: str
    """Five fields: minute, hour, day of month, month, day of week."""
    zone: str = "UTC"
    missed: Literal["skip", "once"] = "skip"
    """Of the runs that fell due while KT was down: none is made up for, or one."""
    paused: bool = False
    due_at: datetime | None = None
    """When it runs next; None while it is paused, or when its cron expression never comes true again."""
    created_at: datetime


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run that fell due, or was asked for, and what became of it. One that was not run is kept too, with why."""

    id: str
    version: int = 1
    schedule: str = ""
    """Empty: run from a file."""
    asked_by: str = ""
    """The person who asked for it now; empty: it fell due."""
    what: What
    due_at: datetime
    covers: int = 1
    """Due times that this record stands for: those missed in one stretch are kept as one."""
    covers_until: datetime | None = None
    """The last of them."""
    claimed_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    phase: Phase = "claimed"
    outcome: Outcome = ""
    why: str = ""
    host: str = ""
    """Where its process was started."""
    fencing: int = 0
    """The token of the lease under which it was moved last: whoever has lost that lease may not move it any more."""
    to_undo: str = ""
    """The experiment (YAML) whose rollbacks undo this run, noted before its process starts; empty once that is done."""
    undo_tries: int = 0
    abort_asked: str = ""
    """Why it shall end, by whom; empty: nobody asked."""
    agreed: tuple[Agreed, ...] = ()
    targets: tuple[str, ...] = ()
    """What it is about, as `namespace/name`."""
    breach: str = ""
    """The stop condition that ended it."""

    @property
    def open(self) -> bool:
        return self.phase != "ended"


Record = Schedule | Run
