"""The graph in networkx, kept in one SQLite file: the embedded default.

The file is the truth and shared by processes. Each write counts a sequence number up and marks its rows with it; a
reader that is behind takes in only the rows that are newer than what it has.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import networkx as nx

from graph_schema.model import Change, Entity, HistoryEntry, Relation, Subgraph
from graph_schema.store import StoreUnavailable
from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.sqlite_pool import Pool
from graph_schema.walk import Around, FaultFrom, ended, relations_among, walk

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
REMEMBERED = timedelta(days=1)
"""How long ended relations are kept: changes of what was deleted are found through them."""
_MOST = 500


class SqliteGraphStore:
    """See `graph_schema.store.GraphStore`. `fault_from`: relation kind → ends that faults come from."""

    def __init__(self, path: Path | str, fault_from: FaultFrom) -> None:
        self._pool = Pool(path, part="graph", version=1, schema=SCHEMA)
        self._guard = threading.Lock()
        self._sequence = 0
        self._entities: dict[str, Entity] = {}
        self._graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        # What networkx's views stand before; they take four times as long, and the stubs leave them out.
        self._around = Around(self._graph._succ, self._graph._pred, fault_from)  # type: ignore[attr-defined]
        self._ended: dict[str, set[Relation]] = defaultdict(set)

    def upsert(self, entities: Iterable[Entity], relations: Iterable[Relation] = (), *, at: datetime) -> None:
        micros = to_micros(at)
        with self._write() as (connection, sequence):
            for entity in entities:
                _put(connection, entity.id, micros, msgspec.json.encode(entity, order="deterministic"), sequence)
            for relation in relations:
                _relate(connection, relation, micros, sequence)

    def set_relations(
        self, source: str, kinds: Collection[str], relations: Iterable[Relation], *, at: datetime
    ) -> None:
        wanted = {(relation.kind, relation.target): relation for relation in relations}
        micros = to_micros(at)
        with self._write() as (connection, sequence):
            there = connection.execute(
                "SELECT kind, target FROM relations WHERE source = ? AND gone = 0", (source,)
            ).fetchall()
            for kind, target in there:
                if kind in kinds and (kind, target) not in wanted:
                    connection.execute(
                        "UPDATE relations SET gone = 1, at = ?, seq = ? WHERE source = ? AND kind = ? AND target = ? "
                        "AND at <= ?",
                        (micros, sequence, source, kind, target, micros),
                    )
            for relation in wanted.values():
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
            return {each: self._entities[each] for each in ids if each in self._entities}

    def find(
        self,
        *,
        kind: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> list[Entity]:
        with self._current():
            found = [
                entity
                for entity in self._entities.values()
                if (kind is None or entity.kind == kind)
                and (namespace is None or entity.namespace == namespace)
                and (name is None or entity.name == name)
                and all(entity.properties.get(key) == value for key, value in (properties or {}).items())
            ]
        return sorted(found, key=lambda entity: entity.id)

    def neighbourhood(self, seeds: Iterable[str], *, hops: int, limit: int = 20_000) -> Subgraph:
        with self._current():
            ids = walk(self._around, seeds, self._entities.__contains__, hops=hops, limit=limit)
            entities = {each: self._entities[each] for each in ids}
            relations = relations_among(self._around, entities)
            once = {
                relation: other
                for each in (ids if self._ended else ())
                for relation in self._ended.get(each, ())
                if (other := relation.target if relation.source == each else relation.source) not in self._entities
            }
        changes = tuple(self._changes([*ids, *sorted(set(once.values()))]))
        return Subgraph(entities, relations, changes, ended(once, changes))

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
        found: list[Change] = []
        with self._read() as connection:
            for start in range(0, len(entities), _MOST):
                part = entities[start : start + _MOST]
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT body FROM changes WHERE entity IN ({marks})", part)  # noqa: S608
                found += [_change(body) for (body,) in rows]
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
            if body is None:
                self._entities.pop(id_, None)
            else:
                self._entities[id_] = _entity(body)
        rows = connection.execute("SELECT source, kind, target, gone FROM relations WHERE seq > ?", since)
        for source, kind, target, gone in rows:
            self._around.forget(source)
            self._around.forget(target)
            if not gone:
                self._graph.add_edge(source, target, key=kind)
                continue
            if self._graph.has_edge(source, target, key=kind):
                self._graph.remove_edge(source, target, key=kind)
            relation = Relation(source, target, kind)
            self._ended[source].add(relation)
            self._ended[target].add(relation)

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


def _entity(body: bytes) -> Entity:
    return msgspec.json.decode(body, type=Entity)


def _change(body: bytes) -> Change:
    return msgspec.json.decode(body, type=Change)
