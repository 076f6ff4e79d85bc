"""The port to where schedules and runs are kept. Two stores fulfil it, SQLite and Neo4j, held to one contract suite."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Protocol

from kt.chaos.model import Record, Run, Schedule

JournalOf = Literal["run", "undo", "series"]
"""What Chaos Toolkit wrote of a run, of its rollbacks by another process, and what was measured meanwhile."""


class NameTaken(Exception):
    """Another schedule has this name already."""


class ChaosStore(Protocol):
    """All methods may be called from several threads and processes at once and raise `LogUnavailable` when the store
    does not answer or cannot commit."""

    def commit(self, *records: Record) -> None:
        """Write all of them or none, durable on return. Each carries the version that it will have: one more than the
        one that is kept, 1 for a new one. Raises `VersionConflict` when one does not, since somebody else was faster,
        and `NameTaken` for a schedule whose name another one has."""
        ...

    def remove(self, schedule: str) -> bool:
        """Take a schedule away; False when there is none. Its runs stay in the history."""
        ...

    def schedule(self, id_: str) -> Schedule | None: ...

    def schedules(self) -> list[Schedule]:
        """All of them, by name."""
        ...

    def due(self, now: datetime) -> list[Schedule]:
        """Those whose time has come, the longest due first."""
        ...

    def run(self, id_: str) -> Run | None: ...

    def runs(self, *, schedule: str | None = None, limit: int = 100) -> list[Run]:
        """The history, latest claimed first."""
        ...

    def open_runs(self) -> list[Run]:
        """Those that have not ended, oldest first."""
        ...

    def runs_during(self, since: datetime) -> list[Run]:
        """Those that were on at `since` or later: begun, and not ended before it."""
        ...

    def keep(self, run: str, of: JournalOf, journal: dict[str, Any]) -> None:
        """Keep a journal of Chaos Toolkit with a run; one that is there already is replaced."""
        ...

    def journals(self, run: str) -> dict[str, dict[str, Any]]: ...

    def close(self) -> None: ...
