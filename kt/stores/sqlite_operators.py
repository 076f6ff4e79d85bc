"""Operators in one SQLite file."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

import msgspec

from graph_schema.stores.moments import to_micros
from graph_schema.stores.sqlite_pool import Pool
from kt.operators import NoAuthority, Operator
from kt.stores.sqlite_store import SqliteStore

SCHEMA = (
    "CREATE TABLE operators (id TEXT PRIMARY KEY, name TEXT NOT NULL, revoked_at INTEGER, body BLOB NOT NULL) "
    "WITHOUT ROWID",
    "CREATE UNIQUE INDEX operators_name ON operators (name) WHERE revoked_at IS NULL",
)


class SqliteOperators(SqliteStore):
    """See `kt.operators.Operators`. Raises `LogUnavailable`."""

    def __init__(self, path: Path | str) -> None:
        self._pool = Pool(path, part="operators", version=1, schema=SCHEMA)

    def add(self, operator: Operator) -> None:
        row = (operator.id, operator.name, msgspec.json.encode(operator))
        with self._write() as connection:
            try:
                connection.execute("INSERT INTO operators VALUES (?, ?, NULL, ?)", row)
            except sqlite3.IntegrityError as error:
                raise NoAuthority(f"{operator.name} has a token already; revoke it first") from error

    def find(self, id_: str) -> Operator | None:
        with self._read() as connection:
            row = connection.execute("SELECT body FROM operators WHERE id = ?", (id_,)).fetchone()
        return _operator(row) if row else None

    def all(self) -> list[Operator]:
        with self._read() as connection:
            rows = connection.execute("SELECT body FROM operators").fetchall()
        return sorted((_operator(row) for row in rows), key=lambda each: (each.name, each.created_at, each.id))

    def revoke(self, id_: str, at: datetime) -> bool:
        with self._write() as connection:
            row = connection.execute(
                "SELECT body FROM operators WHERE id = ? AND revoked_at IS NULL", (id_,)
            ).fetchone()
            if row is None:
                return False
            body = msgspec.json.encode(msgspec.structs.replace(_operator(row), revoked_at=at))
            connection.execute("UPDATE operators SET revoked_at = ?, body = ? WHERE id = ?", (to_micros(at), body, id_))
            return True


def _operator(row: tuple[bytes]) -> Operator:
    return msgspec.json.decode(row[0], type=Operator)
