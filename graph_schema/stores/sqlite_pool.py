"""Connections to one SQLite file, shared by threads, safe across forks and among processes.

Every store that keeps its data in SQLite stands on this. Errors stay `sqlite3.Error`; each store makes its own of them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUSY_S = 10.0
"""How long a writer waits for the one before it, in this process or another, before it gives up."""
KEPT = 8
"""Idle connections kept open."""


class Pool:
    """`read()` and `write()` give a connection inside a transaction that ends with the block.

    `part` names the tables that `schema` makes, so that several stores can live in one file, each at its own version.
    """

    def __init__(self, path: Path | str, *, part: str, version: int, schema: Sequence[str]) -> None:
        self.path = Path(path)
        self._part, self._version, self._schema = part, version, schema
        self._idle: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._pid = os.getpid()
        self._ready = False

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the file."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """The only writer while the block runs; committed and synced at its end, rolled back if it raises."""
        with self._connection() as connection, self._alone():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.commit()
            finally:
                # After a commit there is nothing left to roll back; after any failure nothing may stay.
                if connection.in_transaction:
                    connection.rollback()

    def close(self) -> None:
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # Threads queue here: SQLite's own waiting polls, which is slow and unfair among threads.
        lock = self._writing
        if not lock.acquire(timeout=BUSY_S):
            raise sqlite3.OperationalError("database is locked by another thread of this process")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self._leave_parent()
        with self._guard:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._open()
        try:
            yield connection
        except sqlite3.DatabaseError:
            connection.close()
            raise
        except BaseException:
            self._put_back(connection)
            raise
        else:
            self._put_back(connection)

    def _put_back(self, connection: sqlite3.Connection) -> None:
        with self._guard:
            if len(self._idle) < KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def _leave_parent(self) -> None:
        """A forked child must not touch its parent's connections, not even to close them: SQLite forbids it."""
        if self._pid == os.getpid():
            return
        self._inherited += self._idle
        self._idle, self._guard, self._writing = [], threading.Lock(), threading.Lock()
        self._pid = os.getpid()

    def _open(self) -> sqlite3.Connection:
        if not self._ready:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise sqlite3.OperationalError(f"cannot make its folder: {error}") from error
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _to_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -16000")
            if not self._ready:
                self._make_tables(connection)
                self._ready = True
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_versions (part TEXT PRIMARY KEY, version INTEGER NOT NULL)"
            )
            row = connection.execute("SELECT version FROM schema_versions WHERE part = ?", (self._part,)).fetchone()
            if row is None:
                for statement in self._schema:
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_versions VALUES (?, ?)", (self._part, self._version))
            elif row[0] != self._version:
                raise sqlite3.DatabaseError(
                    f"holds version {row[0]} of the tables of {self._part}, this program knows {self._version}: "
                    "use the program that wrote it, or another file"
                )
            connection.commit()
        finally:
            if connection.in_transaction:
                connection.rollback()


def _to_wal(connection: sqlite3.Connection) -> None:
    """Switching to WAL ignores SQLite's busy time-out, so two processes that open a new file at once need this loop."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
