"""What every store of KT kept in SQLite shares: its part of the one file, and SQLite's errors as the port's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from graph_schema.stores.sqlite_pool import Pool
from kt.incident.log import LogUnavailable


class SqliteStore:
    """Reads and writes raise `LogUnavailable`."""

    _pool: Pool

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._pool.read() as connection:
                yield connection
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._pool.path}: {error}") from error

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._pool.write() as connection:
                yield connection
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._pool.path}: {error}") from error
