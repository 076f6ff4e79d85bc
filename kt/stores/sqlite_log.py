"""The incident log in one SQLite file: the embedded default. Synced to disk before any write returns."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.sqlite_pool import Pool
from kt.incident.log import Append, Entry, Notification, Record, VersionConflict
from kt.incident.state import describe
from kt.stores.chain import Link, check, forge
from kt.stores.sqlite_store import SqliteStore

SCHEMA = (
    "CREATE TABLE notifications (id TEXT PRIMARY KEY, received_at INTEGER NOT NULL, body BLOB NOT NULL, "
    "settled INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE INDEX unsettled ON notifications (id) WHERE settled = 0",
    "CREATE TABLE counts (received INTEGER NOT NULL, unsettled INTEGER NOT NULL)",
    "INSERT INTO counts VALUES (0, 0)",
    "CREATE TABLE events (incident TEXT NOT NULL, version INTEGER NOT NULL, event BLOB NOT NULL, "
    "previous TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (incident, version)) WITHOUT ROWID",
    "CREATE TABLE incidents (incident TEXT PRIMARY KEY, version INTEGER NOT NULL, head TEXT NOT NULL, "
    "phase TEXT NOT NULL, due_at INTEGER, opened_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, "
    "summary TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX due ON incidents (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX opened ON incidents (opened_at)",
    "CREATE TABLE signal_keys (key TEXT PRIMARY KEY, incident TEXT NOT NULL) WITHOUT ROWID",
)
MOST_VARIABLES = 500
"""Keys asked for in one statement; SQLite bounds how many it takes."""


class SqliteIncidentLog(SqliteStore):
    """See `kt.incident.log.IncidentLog`."""

    def __init__(self, path: Path | str) -> None:
        self._pool = Pool(path, part="incidents", version=1, schema=SCHEMA)

    def receive(self, notifications: Sequence[Notification]) -> None:
        rows = [(each.id, to_micros(each.received_at), each.body) for each in notifications]
        with self._write() as connection:
            before = connection.total_changes
            connection.executemany("INSERT OR IGNORE INTO notifications (id, received_at, body) VALUES (?, ?, ?)", rows)
            new = connection.total_changes - before
            connection.execute("UPDATE counts SET received = received + ?, unsettled = unsettled + ?", (new, new))

    def unsettled(self, limit: int) -> list[Notification]:
        with self._read() as connection:
            rows = connection.execute(
                "SELECT id, received_at, body FROM notifications WHERE settled = 0 ORDER BY id LIMIT ?", (limit,)
            ).fetchall()
        return [Notification(id=id_, received_at=from_micros(at), body=body) for id_, at, body in rows]

    def counts(self) -> tuple[int, int]:
        with self._read() as connection:
            received, unsettled = connection.execute("SELECT received, unsettled FROM counts").fetchone()
        return received, unsettled

    def commit(
        self, appends: Sequence[Append], *, settle: Sequence[str] = (), keys: Sequence[tuple[str, str]] = ()
    ) -> None:
        with self._write() as connection:
            for append in appends:
                _append(connection, append)
            for notification in settle:
                cursor = connection.execute(
                    "UPDATE notifications SET settled = 1 WHERE id = ? AND settled = 0", (notification,)
                )
                if cursor.rowcount != 1:
                    raise VersionConflict(f"notification {notification} is settled already, or unknown")
            if settle:
                connection.execute("UPDATE counts SET unsettled = unsettled - ?", (len(settle),))
            for key, incident in keys:
                try:
                    connection.execute("INSERT INTO signal_keys VALUES (?, ?)", (key, incident))
                except sqlite3.IntegrityError as error:
                    raise VersionConflict(f"signal {key} is claimed already") from error

    def claimed(self, keys: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        asked = sorted(keys)
        with self._read() as connection:
            for start in range(0, len(asked), MOST_VARIABLES):
                part = asked[start : start + MOST_VARIABLES]
                marks = ",".join("?" * len(part))
                found.update(
                    connection.execute(f"SELECT key, incident FROM signal_keys WHERE key IN ({marks})", part)  # noqa: S608
                )
        return found

    def load(self, incident: str) -> list[Record]:
        with self._read() as connection:
            return _load(connection, incident)

    def entries(self, *, open_only: bool = False, limit: int = 100) -> list[Entry]:
        where = "WHERE due_at IS NOT NULL" if open_only else ""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT incident, version, phase, due_at, opened_at, updated_at, summary FROM incidents "  # noqa: S608
                f"{where} ORDER BY opened_at DESC, incident DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [_entry(row) for row in rows]

    def due(self, now: datetime, limit: int = 1000) -> list[str]:
        with self._read() as connection:
            rows = connection.execute(
                "SELECT incident FROM incidents WHERE due_at <= ? ORDER BY due_at, incident LIMIT ?",
                (to_micros(now), limit),
            ).fetchall()
        return [row[0] for row in rows]


def _append(connection: sqlite3.Connection, append: Append) -> None:
    if not append.events:
        return
    before = _load(connection, append.incident)
    if len(before) != append.expected:
        raise VersionConflict(f"incident {append.incident} stands at {len(before)}, not at {append.expected}")
    links, records = forge(append.incident, before, append.events)
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
        [(append.incident, link.version, link.event, link.previous, link.hash) for link in links],
    )
    entry = describe([*before, *records])
    connection.execute(
        "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.incident,
            entry.version,
            links[-1].hash,
            entry.phase,
            to_micros(entry.due_at) if entry.due_at else None,
            to_micros(entry.opened_at),
            to_micros(entry.updated_at),
            entry.summary,
        ),
    )


def _load(connection: sqlite3.Connection, incident: str) -> list[Record]:
    row = connection.execute("SELECT version, head FROM incidents WHERE incident = ?", (incident,)).fetchone()
    links = connection.execute(
        "SELECT version, CAST(event AS BLOB), previous, hash FROM events WHERE incident = ? ORDER BY version",
        (incident,),
    )
    version, head = row or (0, "")
    return check(incident, (Link(*link) for link in links), version=version, head=head)


def _entry(row: tuple[str, int, str, int | None, int, int, str]) -> Entry:
    incident, version, phase, due, opened, updated, summary = row
    return Entry(
        incident=incident,
        version=version,
        phase=phase,
        due_at=None if due is None else from_micros(due),
        opened_at=from_micros(opened),
        updated_at=from_micros(updated),
        summary=summary,
    )
