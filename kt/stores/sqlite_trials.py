"""The record of remedies in one SQLite file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.sqlite_pool import Pool
from kt.stores.sqlite_store import SqliteStore
from remediate.trials import Trial

SCHEMA = (
    "CREATE TABLE trial (id TEXT PRIMARY KEY, at INTEGER NOT NULL, playbook TEXT NOT NULL, fault TEXT NOT NULL, "
    "target TEXT NOT NULL, helped INTEGER NOT NULL, effect_s REAL) WITHOUT ROWID",
    "CREATE INDEX trial_fault ON trial (fault, playbook)",
)


class SqliteTrials(SqliteStore):
    """See `remediate.trials.Trials`. Raises `LogUnavailable`."""

    def __init__(self, path: Path | str) -> None:
        self._pool = Pool(path, part="trials", version=1, schema=SCHEMA)

    def note(self, trials: Iterable[Trial]) -> None:
        rows = [
            (each.id, to_micros(each.at), each.playbook, each.fault, each.target, each.helped, each.effect_s)
            for each in trials
        ]
        with self._write() as connection:
            connection.executemany("INSERT OR IGNORE INTO trial VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def of(self, *, playbook: str | None = None, fault: str | None = None) -> list[Trial]:
        with self._read() as connection:
            rows = connection.execute(
                "SELECT id, at, playbook, fault, target, helped, effect_s FROM trial "
                "WHERE (?1 IS NULL OR playbook = ?1) AND (?2 IS NULL OR fault = ?2) ORDER BY at, id",
                (playbook, fault),
            ).fetchall()
        return [
            Trial(
                id=row[0], at=from_micros(row[1]), playbook=row[2], fault=row[3], target=row[4], helped=bool(row[5]),
                effect_s=row[6],
            )
            for row in rows
        ]  # fmt: skip
