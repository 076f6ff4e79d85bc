"""The global stop and the account of actions in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.sqlite_pool import Pool
from kt.stores.sqlite_store import SqliteStore
from remediate.brakes import OutcomeOf, Spent, Stop, Trip

SCHEMA = (
    "CREATE TABLE stop (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL, by TEXT NOT NULL, "
    "why TEXT NOT NULL)",
    "CREATE TABLE spent (action TEXT PRIMARY KEY, at INTEGER NOT NULL, target TEXT NOT NULL, namespace TEXT NOT NULL, "
    "playbook TEXT NOT NULL, outcome TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX spent_at ON spent (at)",
)


BREAKER = (
    "CREATE TABLE breaker (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL, until INTEGER NOT NULL, "
    "why TEXT NOT NULL, closed_by TEXT NOT NULL)",
)


class SqliteBrakes(SqliteStore):
    """See `remediate.brakes.Brakes`. Raises `LogUnavailable`."""

    def __init__(self, path: Path | str) -> None:
        self._pool = Pool(path, part="brakes", version=1, schema=SCHEMA)
        # A part of its own, so that files of before are read as they are.
        self._breaker = Breaker(path)

    def trip(self, trip: Trip) -> None:
        self._breaker.trip(trip)

    def tripped(self) -> Trip | None:
        return self._breaker.tripped()

    def close(self) -> None:
        super().close()
        self._breaker.close()

    def stopped(self) -> Stop | None:
        with self._read() as connection:
            return _stop(connection)

    def stop(self, stop: Stop) -> None:
        with self._write() as connection:
            row = (to_micros(stop.at), stop.by, stop.why)
            connection.execute("INSERT OR REPLACE INTO stop VALUES (1, ?, ?, ?)", row)

    def resume(self) -> Stop | None:
        with self._write() as connection:
            before = _stop(connection)
            connection.execute("DELETE FROM stop")
            return before

    def spend(self, spent: Spent, since: datetime, objection: Callable[[Sequence[Spent]], str]) -> str:
        with self._write() as connection:
            before = [each for each in _since(connection, since) if each.action != spent.action]
            why = objection(before)
            if not why:
                connection.execute(
                    "INSERT OR IGNORE INTO spent VALUES (?, ?, ?, ?, ?, ?)",
                    (spent.action, to_micros(spent.at), spent.target, spent.namespace, spent.playbook, spent.outcome),
                )
            return why

    def since(self, at: datetime) -> list[Spent]:
        with self._read() as connection:
            return _since(connection, at)

    def conclude(self, action: str, outcome: OutcomeOf) -> None:
        with self._write() as connection:
            connection.execute("UPDATE spent SET outcome = ? WHERE action = ?", (outcome, action))


class Breaker(SqliteStore):
    """The circuit breaker's part of the file."""

    def __init__(self, path: Path | str) -> None:
        self._pool = Pool(path, part="breaker", version=1, schema=BREAKER)

    def trip(self, trip: Trip) -> None:
        row = (to_micros(trip.at), to_micros(trip.until), trip.why, trip.closed_by)
        with self._write() as connection:
            connection.execute("INSERT OR REPLACE INTO breaker VALUES (1, ?, ?, ?, ?)", row)

    def tripped(self) -> Trip | None:
        with self._read() as connection:
            row = connection.execute("SELECT at, until, why, closed_by FROM breaker").fetchone()
        if row is None:
            return None
        return Trip(at=from_micros(row[0]), until=from_micros(row[1]), why=row[2], closed_by=row[3])


def _stop(connection: sqlite3.Connection) -> Stop | None:
    row = connection.execute("SELECT at, by, why FROM stop").fetchone()
    return Stop(at=from_micros(row[0]), by=row[1], why=row[2]) if row else None


def _since(connection: sqlite3.Connection, at: datetime) -> list[Spent]:
    rows = connection.execute(
        "SELECT action, at, target, namespace, playbook, outcome FROM spent WHERE at >= ? ORDER BY at, action",
        (to_micros(at),),
    )
    return [
        Spent(action=row[0], at=from_micros(row[1]), target=row[2], namespace=row[3], playbook=row[4], outcome=row[5])
        for row in rows
    ]
