"""Pulses in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.sqlite_pool import Pool
from kt.incident.log import LogUnavailable

SCHEMA = ("CREATE TABLE pulses (name TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",)


class SqlitePulses:
    """See `kt.incident.log.Pulses`."""

    def __init__(self, path: Path | str, clock: Callable[[], datetime]) -> None:
        self._pool = Pool(path, part="pulses", version=1, schema=SCHEMA)
        self._clock = clock

    def beat(self, name: str) -> None:
        try:
            with self._pool.write() as connection:
                connection.execute("INSERT OR REPLACE INTO pulses VALUES (?, ?)", (name, to_micros(self._clock())))
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._pool.path}: {error}") from error

    def last(self, name: str) -> datetime | None:
        try:
            with self._pool.read() as connection:
                row = connection.execute("SELECT at FROM pulses WHERE name = ?", (name,)).fetchone()
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._pool.path}: {error}") from error
        return from_micros(row[0]) if row else None

    def close(self) -> None:
        self._pool.close()
