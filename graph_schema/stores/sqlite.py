"""The graph in networkx, kept in one SQLite file: the embedded default.

The file is the truth and shared by processes. Each write counts a sequence number up and marks its rows with it; a
reader that is behind takes in only the rows that are newer than what it has.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from graph_schema.model import Change, Entity, HistoryEntry, Relation, Subgraph
from graph_schema.store import StoreUnavailable
from graph_schema.stores.held import Held
from graph_schema.stores.moments import REMEMBERED, from_micros, to_micros
from graph_schema.stores.sqlite_pool import Pool
from graph_schema.walk import FaultFrom, ended

SCHEMA = (
    "CREATE TABLE sequence (last INTEGER NOT NULL)",
    "INSERT INTO sequence VALUES (0)",
    "CREATE TABLE entities (id TEXT PRIMARY KEY, at INTEGER NOT NULL, body BLOB, seq INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX entities_seq ON entities (seq)",
    "CREATE TABLE versions (entity TEXT NOT NULL, at INTEGER NOT NULL, body BLOB, "
    "PRIMARY KEY (entity, at)) WITHOUT ROWID",
    "CREATE TABLE relations (source TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, at INTEGER NOT NULL, "
    "gone INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (source, kind, target)) WITHOUT ROWID",
    "CREATE INDEX relations_target ON relations (target)",
    "CREATE INDEX relations_seq ON relations (seq)",
    "CREATE TABLE changes (id TEXT PRIMARY KEY, entity TEXT NOT NULL, at INTEGER NOT NULL, "
    "body BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX changes_at ON changes (at)",
    "CREATE INDEX changes_entity ON changes (entity, at)",
)


class SqliteGraphStore:
    """See `graph_schema.store.GraphStore`. `fault_from`: relation kind → ends that faults come from."""

    def __init__(self, path: Path | str, fault_from: FaultFrom) -> None:
        self._pool = Pool(path, part="graph", version=1, schema=SCHEMA)
        self._guard = threading.Lock()
        self._sequence = 0
        self._held = Held(fault_from)

    def upsert(self, entities: Iterable[Entity], relations: Iterable[Relation] = (), *, at: datetime) -> None:
        micros = to_micros(at)
        with self._write() as (connection, sequence):
            for entity in entities:
                _put(connection, entity.id, micros, msgspec.json.encode(entity, order="deterministic"), sequence)
            for relation in relations:
                _relate(connection, relation, micros, sequence)

    def set_relations(
        self, sources: Collection[str], kinds: Collection[str], relations: Iterable[Relation], *, at: datetime
    ) -> None:
        wanted = set(relations)
        micros = to_micros(at)
        with self._write() as (connection, sequence):
            there = [
                row
                for source in sources
                for row in connection.execute(
                    "SELECT source, kind, target FROM relations WHERE source = ? AND gone = 0", (source,)
                )
            ]
            for source, kind, target in there:
                if kind in kinds and Relation(source, target, kind) not in wanted:
                    connection.execute(
                        "UPDATE relations SET gone = 1, at = ?, seq = ? WHERE source = ? AND kind = ? AND target = ? "
                        "AND at <= ?",
                        (micros, sequence, source, kind, target, micros),
                    )
            for relation in wanted:
                _relate(connection, relation, micros, sequence)

    def delete(self, ids: Iterable[str], *, at: datetime) -> None:
        micros = to_micros(at)
        with self._write() as (connection, sequence):
            for entity in ids:
                if connection.execute("SELECT 1 FROM entities WHERE id = ?", (entity,)).fetchone() is None:
                    continue
                if _put(connection, entity, micros, None, sequence):
                    connection.execute(
                        "UPDATE relations SET gone = 1, at = ?, seq = ? WHERE (source = ? OR target = ?) AND gone = 0 "
                        "AND at <= ?",
                        (micros, sequence, entity, entity, micros),
                    )
            old = to_micros(at - REMEMBERED)
            connection.execute("DELETE FROM relations WHERE gone = 1 AND at < ?", (old,))

    def record_changes(self, changes: Iterable[Change]) -> None:
        with self._write() as (connection, _):
            for change in changes:
                name = change.id or f"{change.entity}|{change.kind}|{change.at.isoformat()}|{change.detail}"
                connection.execute(
                    "INSERT OR IGNORE INTO changes VALUES (?, ?, ?, ?)",
                    (name, change.entity, to_micros(change.at), msgspec.json.encode(change)),
                )

    def get(self, ids: Iterable[str]) -> dict[str, Entity]:
        with self._current():
            found = {each: self._held.body(each) for each in ids}
        return {each: _entity(body) for each, body in found.items() if body is not None}

    def find(
        self,
        *,
        kind: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> list[Entity]:
        # Most entities can be told from those that are wanted by what was written, which is cheaper than making them.
        written = [
            f'"{key}":'.encode() + msgspec.json.encode(value)
            for key, value in (("kind", kind), ("namespace", namespace), ("name", name)) if value
        ]  # fmt: skip
        with self._current():
            maybe = [body for body in self._held.bodies() if all(each in body for each in written)]
        found = [
            entity
            for entity in map(_entity, maybe)
            if (kind is None or entity.kind == kind)
            and (namespace is None or entity.namespace == namespace)
            and (name is None or entity.name == name)
            and all(entity.properties.get(key) == value for key, value in (properties or {}).items())
        ]
        return sorted(found, key=lambda entity: entity.id)

    def neighbourhood(self, seeds: Iterable[str], *, hops: int, limit: int = 20_000) -> Subgraph:
        with self._current():
            numbers = self._held.walk(seeds, hops, limit)
            written = self._held.bodies_of(numbers)
            sources, targets, kinds = self._held.relations_among(numbers)
            once = self._held.once(numbers)
        entities = {each.id: each for each in _entities(b"[%b]" % b",".join(written))}
        ids = list(entities)
        relations = map(Relation, map(ids.__getitem__, sources), map(ids.__getitem__, targets), kinds)
        changes = tuple(self._changes([*ids, *sorted(set(once.values()))]))
        return Subgraph(entities, tuple(relations), changes, ended(once, changes))

    def changes_since(self, at: datetime, entities: Collection[str] | None = None) -> list[Change]:
        if entities is not None:
            return [change for change in self._changes(sorted(entities)) if change.at >= at]
        with self._read() as connection:
            rows = connection.execute("SELECT body FROM changes WHERE at >= ? ORDER BY at, id", (to_micros(at),))
            return [_change(body) for (body,) in rows]

    def history(self, entity: str) -> list[HistoryEntry]:
        with self._read() as connection:
            rows = connection.execute(
                "SELECT at, body FROM versions WHERE entity = ? ORDER BY at", (entity,)
            ).fetchall()
        return [HistoryEntry(at=from_micros(at), entity=_entity(body) if body else None) for at, body in rows]

    def close(self) -> None:
        self._pool.close()

    def _changes(self, entities: list[str]) -> list[Change]:
        with self._read() as connection:
            rows = connection.execute(
                "SELECT body FROM json_each(?) JOIN changes ON entity = value",
                (msgspec.json.encode(entities).decode(),),
            )
            found = [_change(body) for (body,) in rows]
        return sorted(found, key=lambda change: (change.at, change.entity, change.kind, change.id))

    @contextmanager
    def _current(self) -> Iterator[None]:
        """The graph in memory, brought up to what the file has, while nobody else changes it."""
        with self._guard:
            with self._read() as connection:
                (last,) = connection.execute("SELECT last FROM sequence").fetchone()
                if last != self._sequence:
                    self._take_in(connection)
                    self._sequence = last
            yield

    def _take_in(self, connection: sqlite3.Connection) -> None:
        since = (self._sequence,)
        for id_, body in connection.execute("SELECT id, body FROM entities WHERE seq > ?", since):
            self._held.put(id_, body)
        query = "SELECT source, kind, target, gone, at FROM relations WHERE seq > ? ORDER BY at"
        rows = connection.execute(query, since)
        for source, kind, target, gone, at in rows:
            if gone:
                self._held.end(source, kind, target, at)
            else:
                self._held.relate(source, kind, target)

    @contextmanager
    def _write(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        try:
            with self._pool.write() as connection:
                connection.execute("UPDATE sequence SET last = last + 1")
                (sequence,) = connection.execute("SELECT last FROM sequence").fetchone()
                yield connection, sequence
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._pool.path}: {error}") from error

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._pool.read() as connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._pool.path}: {error}") from error


def _put(connection: sqlite3.Connection, entity: str, at: int, body: bytes | None, sequence: int) -> bool:
    """Write a version unless a newer one is there; False when it was ignored."""
    row = connection.execute("SELECT at, body FROM entities WHERE id = ?", (entity,)).fetchone()
    if row is not None:
        if row[0] > at:
            return False
        if row[1] == body:
            connection.execute("UPDATE entities SET at = ? WHERE id = ?", (at, entity))
            return True
    connection.execute("INSERT OR REPLACE INTO entities VALUES (?, ?, ?, ?)", (entity, at, body, sequence))
    connection.execute("INSERT OR REPLACE INTO versions VALUES (?, ?, ?)", (entity, at, body))
    return True


def _relate(connection: sqlite3.Connection, relation: Relation, at: int, sequence: int) -> None:
    connection.execute(
        "INSERT INTO relations VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO UPDATE SET at = excluded.at, gone = 0, "
        "seq = excluded.seq WHERE excluded.at > at OR (excluded.at = at AND gone = 0)",
        (relation.source, relation.kind, relation.target, at, sequence),
    )


_entity = msgspec.json.Decoder(Entity).decode
_entities = msgspec.json.Decoder(list[Entity]).decode


def _change(body: bytes) -> Change:
    return msgspec.json.decode(body, type=Change)
