"""Leases in one SQLite file. Times are those of the clock given, the same one in every process that shares the file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path

from graph_schema.stores.moments import to_micros
from graph_schema.stores.sqlite_pool import Pool
from kt.incident.log import Grant
from kt.stores.sqlite_store import SqliteStore

SCHEMA = (
    "CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, "
    "until INTEGER NOT NULL) WITHOUT ROWID",
)


class SqliteLeases(SqliteStore):
    """See `kt.incident.log.Leases`. A released lease keeps its row: its token must never be granted again."""

    def __init__(self, path: Path | str, clock: Callable[[], datetime]) -> None:
        self._pool = Pool(path, part="leases", version=1, schema=SCHEMA)
        self._clock = clock

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> int | None:
        tokens = self.acquire_all([name], holder, ttl_s=ttl_s)
        return tokens[name] if tokens else None

    def acquire_all(self, names: Collection[str], holder: str, *, ttl_s: float) -> dict[str, int] | None:
        with self._write() as connection:
            now, tokens = to_micros(self._clock()), dict[str, int]()
            for name in sorted(set(names)):
                row = connection.execute("SELECT holder, token, until FROM leases WHERE name = ?", (name,)).fetchone()
                held = row is not None and row[2] > now
                if held and row[0] != holder:
                    return None
                tokens[name] = 1 if row is None else int(row[1]) if held else int(row[1]) + 1
            until = now + int(ttl_s * 1e6)
            connection.executemany(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)",
                [(name, holder, token, until) for name, token in tokens.items()],
            )
            return tokens

    def held_by(self, name: str) -> Grant | None:
        with self._read() as connection:
            now = to_micros(self._clock())
            found = "SELECT holder, token FROM leases WHERE name = ? AND until > ?"
            row = connection.execute(found, (name, now)).fetchone()
        return Grant(holder=row[0], token=row[1]) if row else None

    def renew(self, name: str, holder: str, token: int, *, ttl_s: float) -> bool:
        with self._write() as connection:
            until = to_micros(self._clock()) + int(ttl_s * 1e6)
            cursor = connection.execute(
                "UPDATE leases SET until = ? WHERE name = ? AND holder = ? AND token = ?", (until, name, holder, token)
            )
            return cursor.rowcount == 1

    def release(self, name: str, holder: str, token: int) -> None:
        self.release_all({name: token}, holder)

    def release_all(self, tokens: Mapping[str, int], holder: str) -> None:
        with self._write() as connection:
            connection.executemany(
                "UPDATE leases SET until = 0, holder = '' WHERE name = ? AND holder = ? AND token = ?",
                [(name, holder, token) for name, token in tokens.items()],
            )
