"""Schedules and runs of chaos in one SQLite file, the one of the incident log. See `kt.chaos.store.ChaosStore`."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from graph_schema.stores.moments import to_micros
from graph_schema.stores.sqlite_pool import Pool
from kt.chaos.model import Record, Run, Schedule
from kt.chaos.store import JournalOf, NameTaken
from kt.incident.log import VersionConflict
from kt.stores.sqlite_store import SqliteStore

SCHEMA = (
    "CREATE TABLE chaos_schedules (id TEXT PRIMARY KEY, version INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, "
    "due_at INTEGER, record BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX chaos_due ON chaos_schedules (due_at) WHERE due_at IS NOT NULL",
    "CREATE TABLE chaos_runs (id TEXT PRIMARY KEY, version INTEGER NOT NULL, schedule TEXT NOT NULL, "
    "open INTEGER NOT NULL, claimed_at INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER, "
    "record BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX chaos_open ON chaos_runs (claimed_at) WHERE open = 1",
    "CREATE INDEX chaos_claimed ON chaos_runs (claimed_at)",
    "CREATE INDEX chaos_of ON chaos_runs (schedule, claimed_at)",
    "CREATE INDEX chaos_ended ON chaos_runs (ended_at)",
    "CREATE TABLE chaos_journals (run TEXT NOT NULL, kind TEXT NOT NULL, journal BLOB NOT NULL, "
    "PRIMARY KEY (run, kind)) WITHOUT ROWID",
)
_encoder = msgspec.json.Encoder()
_schedules: msgspec.json.Decoder[Schedule] = msgspec.json.Decoder(Schedule)
_runs: msgspec.json.Decoder[Run] = msgspec.json.Decoder(Run)


class SqliteChaosStore(SqliteStore):
    def __init__(self, path: Path | str) -> None:
        self._pool = Pool(path, part="chaos", version=1, schema=SCHEMA)

    def commit(self, *records: Record) -> None:
        with self._write() as connection:
            for record in records:
                if isinstance(record, Schedule):
                    _put_schedule(connection, record)
                else:
                    _put_run(connection, record)

    def remove(self, schedule: str) -> bool:
        with self._write() as connection:
            return connection.execute("DELETE FROM chaos_schedules WHERE id = ?", (schedule,)).rowcount == 1

    def schedule(self, id_: str) -> Schedule | None:
        return next(iter(self._schedules("WHERE id = ?", id_)), None)

    def schedules(self) -> list[Schedule]:
        return self._schedules("ORDER BY name")

    def due(self, now: datetime) -> list[Schedule]:
        return self._schedules("WHERE due_at <= ? ORDER BY due_at, id", to_micros(now))

    def run(self, id_: str) -> Run | None:
        return next(iter(self._runs("WHERE id = ?", id_)), None)

    def runs(self, *, schedule: str | None = None, limit: int = 100) -> list[Run]:
        order = "ORDER BY claimed_at DESC, id DESC LIMIT ?"
        if schedule is None:
            return self._runs(order, limit)
        return self._runs(f"WHERE schedule = ? {order}", schedule, limit)

    def open_runs(self) -> list[Run]:
        return self._runs("WHERE open = 1 ORDER BY claimed_at, id")

    def runs_during(self, since: datetime) -> list[Run]:
        return self._runs(
            "WHERE started_at IS NOT NULL AND (open = 1 OR ended_at >= ?) ORDER BY started_at, id", to_micros(since)
        )

    def keep(self, run: str, of: JournalOf, journal: dict[str, Any]) -> None:
        with self._write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO chaos_journals VALUES (?, ?, ?)", (run, of, _encoder.encode(journal))
            )

    def journals(self, run: str) -> dict[str, dict[str, Any]]:
        with self._read() as connection:
            rows = connection.execute("SELECT kind, journal FROM chaos_journals WHERE run = ?", (run,)).fetchall()
        return {kind: msgspec.json.decode(journal) for kind, journal in rows}

    def _schedules(self, where: str, *values: object) -> list[Schedule]:
        with self._read() as connection:
            rows = connection.execute(f"SELECT record FROM chaos_schedules {where}", values).fetchall()  # noqa: S608
        return [_schedules.decode(record) for (record,) in rows]

    def _runs(self, where: str, *values: object) -> list[Run]:
        with self._read() as connection:
            rows = connection.execute(f"SELECT record FROM chaos_runs {where}", values).fetchall()  # noqa: S608
        return [_runs.decode(record) for (record,) in rows]


def _put_schedule(connection: sqlite3.Connection, each: Schedule) -> None:
    taken = connection.execute(
        "SELECT 1 FROM chaos_schedules WHERE name = ? AND id <> ?", (each.what.name, each.id)
    ).fetchone()
    if taken:
        raise NameTaken(each.what.name)
    _expect(connection, "SELECT version FROM chaos_schedules WHERE id = ?", each)
    connection.execute(
        "INSERT OR REPLACE INTO chaos_schedules VALUES (?, ?, ?, ?, ?)",
        (each.id, each.version, each.what.name, _micros(each.due_at), _encoder.encode(each)),
    )


def _put_run(connection: sqlite3.Connection, each: Run) -> None:
    _expect(connection, "SELECT version FROM chaos_runs WHERE id = ?", each)
    times = (_micros(each.claimed_at), _micros(each.started_at), _micros(each.ended_at))
    connection.execute(
        "INSERT OR REPLACE INTO chaos_runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (each.id, each.version, each.schedule, each.open, *times, _encoder.encode(each)),
    )


def _expect(connection: sqlite3.Connection, query: str, record: Record) -> None:
    row = connection.execute(query, (record.id,)).fetchone()
    stands = row[0] if row else 0
    if stands != record.version - 1:
        raise VersionConflict(f"{record.id} stands at {stands}, not at {record.version - 1}")


def _micros(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)
