"""Counts of confirmed causes in one SQLite file. See `kt.learned.Learned`."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from diagnose.learning import Counts
from graph_schema.stores.sqlite_pool import Pool
from kt.stores.learned_rows import counts_of, rows_of
from kt.stores.sqlite_store import SqliteStore

SCHEMA = (
    "CREATE TABLE learned (part TEXT NOT NULL, key TEXT NOT NULL, site TEXT NOT NULL, count INTEGER NOT NULL, "
    "PRIMARY KEY (part, key, site)) WITHOUT ROWID",
    "CREATE TABLE learned_claims (claim TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE learned_site (one INTEGER PRIMARY KEY CHECK (one = 1), site TEXT NOT NULL)",
)
_LARGER = (
    "INSERT INTO learned VALUES (?, ?, ?, ?) ON CONFLICT (part, key, site) DO UPDATE SET "
    "count = max(count, excluded.count)"
)
_ADDED = (
    "INSERT INTO learned VALUES (?, ?, ?, ?) ON CONFLICT (part, key, site) DO UPDATE SET count = count + excluded.count"
)


class SqliteLearned(SqliteStore):
    def __init__(self, path: Path | str) -> None:
        self._pool = Pool(path, part="learned", version=1, schema=SCHEMA)

    def site(self) -> str:
        with self._write() as connection:
            return _site(connection)

    def counts(self) -> Counts:
        with self._read() as connection:
            return counts_of(connection.execute("SELECT part, key, site, count FROM learned").fetchall())

    def learn(self, claim: str, seen: Mapping[str, int], forgotten: Mapping[str, int]) -> bool:
        with self._write() as connection:
            if not connection.execute("INSERT OR IGNORE INTO learned_claims VALUES (?)", (claim,)).rowcount:
                return False
            here = _site(connection)
            for part, added in (("seen", seen), ("forgotten", forgotten)):
                connection.executemany(_ADDED, [(part, key, here, count) for key, count in sorted(added.items())])
            return True

    def claimed(self, claims: Sequence[str]) -> set[str]:
        with self._read() as connection:
            asked = (connection.execute("SELECT claim FROM learned_claims WHERE claim = ?", (each,)) for each in claims)
            return {row[0] for found in asked for row in found}

    def merge(self, counts: Counts) -> None:
        with self._write() as connection:
            connection.executemany(_LARGER, rows_of(counts))


def _site(connection: sqlite3.Connection) -> str:
    connection.execute("INSERT OR IGNORE INTO learned_site VALUES (1, ?)", (uuid.uuid4().hex,))
    return str(connection.execute("SELECT site FROM learned_site").fetchone()[0])
