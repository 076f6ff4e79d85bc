"""The graph in Neo4j: for production. Entities are nodes, relations are edges, both written in batches by UNWIND."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec
import neo4j

from graph_schema.model import Change, Entity, HistoryEntry, Relation, Subgraph
from graph_schema.store import StoreUnavailable
from graph_schema.stores.moments import REMEMBERED, from_micros, to_micros
from graph_schema.stores.neo4j_many import AT_ONCE, OF_SOURCES, Row, parts, write_all
from graph_schema.stores.neo4j_reading import Reading, bodies, changes_since
from graph_schema.stores.neo4j_session import Neo4jAway, Neo4jSession, rows
from graph_schema.walk import FaultFrom

T = TypeVar("T")
Tx = neo4j.ManagedTransaction


class Neo4jGraphStore:
    """See `graph_schema.store.GraphStore`.

    An entity that was deleted, or is only named by a relation yet, is a node without `body`: its relations and its time
    are kept, and it is not in the graph.
    """

    def __init__(self, uri: str, auth: tuple[str, str] | None, fault_from: FaultFrom, database: str = "neo4j") -> None:
        self._session = Neo4jSession(uri, auth, database)
        self._fault_from = fault_from

    def upsert(self, entities: Iterable[Entity], relations: Iterable[Relation] = (), *, at: datetime) -> None:
        micros = to_micros(at)
        things, edges = [_row(entity) for entity in entities], _edges(relations)
        if len(things) + len(edges) > AT_ONCE:
            write_all(
                things, edges, lambda part: self._write(lambda tx: _put(tx, part, micros)),
                lambda part: self._write(lambda tx: _relate(tx, part, micros)),
            )  # fmt: skip
            return
        things.sort(key=lambda each: str(each["id"]))

        def work(tx: Tx) -> None:
            # Without relations, what is put is all that is locked, in the order in which it is put.
            if edges:
                _lock(tx, [each["id"] for each in things], edges)
            if things:
                _put(tx, things, micros)
            if edges:
                rows(tx, _RELATE, rows=_by_source(edges), at=micros)

        self._write(work)

    def set_relations(
        self, sources: Collection[str], kinds: Collection[str], relations: Iterable[Relation], *, at: datetime
    ) -> None:
        micros, edges = to_micros(at), {source: list[Row]() for source in sources}
        for each in _edges(relations):
            edges[each["source"]].append(each)

        def work(tx: Tx, some: Sequence[str]) -> None:
            theirs = [each for source in some for each in edges[source]]
            keep = [[source, [[each["kind"], each["target"]] for each in edges[source]]] for source in some]
            _lock(tx, some, theirs)
            rows(tx, _END_OTHERS, rows=keep, kinds=sorted(kinds), at=micros)
            rows(tx, _RELATE, rows=_by_source(theirs), at=micros)

        for some in parts(sorted(edges), OF_SOURCES):
            self._write(partial(work, some=some))

    def delete(self, ids: Iterable[str], *, at: datetime) -> None:
        for part in parts(sorted(ids)):
            self._write(partial(rows, query=_DELETE, ids=part, at=to_micros(at)))
        # As many as one transaction should have; the rest goes with the next deletions.
        self._write(partial(rows, query=_FORGET, before=to_micros(at - REMEMBERED), most=AT_ONCE))

    def record_changes(self, changes: Iterable[Change]) -> None:
        things = [
            {
                "id": change.id or f"{change.entity}|{change.kind}|{change.at.isoformat()}|{change.detail}",
                "entity": change.entity,
                "at": to_micros(change.at),
                "body": msgspec.json.encode(change).decode(),
            }
            for change in changes
        ]
        for part in parts(things):
            self._write(partial(rows, query=_RECORD, rows=part))

    def get(self, ids: Iterable[str]) -> dict[str, Entity]:
        wanted = list(ids)
        return self._read(lambda tx: bodies(tx, wanted))

    def find(
        self,
        *,
        kind: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> list[Entity]:
        found = self._read(lambda tx: rows(tx, _FIND, kind=kind, namespace=namespace, name=name))
        entities = [_entity(each["body"]) for each in found]
        wanted = (properties or {}).items()
        return [each for each in entities if all(each.properties.get(key) == value for key, value in wanted)]

    def neighbourhood(self, seeds: Iterable[str], *, hops: int, limit: int = 20_000) -> Subgraph:
        starts = sorted(set(seeds))
        return self._read(lambda tx: Reading(tx, self._fault_from).neighbourhood(starts, hops, limit))

    def changes_since(self, at: datetime, entities: Collection[str] | None = None) -> list[Change]:
        wanted = None if entities is None else sorted(entities)
        return self._read(lambda tx: changes_since(tx, to_micros(at), wanted))

    def history(self, entity: str) -> list[HistoryEntry]:
        query = "MATCH (v:KtVersion {entity: $entity}) RETURN v.at AS at, v.body AS body ORDER BY v.at"
        found = self._read(lambda tx: rows(tx, query, entity=entity))
        return [
            HistoryEntry(at=from_micros(each["at"]), entity=_entity(each["body"]) if each["body"] else None)
            for each in found
        ]

    def close(self) -> None:
        self._session.close()

    def _read(self, work: Callable[[Tx], T]) -> T:
        try:
            return self._session.read(work)
        except Neo4jAway as error:
            raise StoreUnavailable(str(error)) from error

    def _write(self, work: Callable[[Tx], Any]) -> None:
        try:
            self._session.write(work)
        except Neo4jAway as error:
            raise StoreUnavailable(str(error)) from error


def _row(entity: Entity) -> Row:
    return {
        "id": entity.id,
        "kind": entity.kind,
        "name": entity.name,
        "namespace": entity.namespace,
        "body": msgspec.json.encode(entity, order="deterministic").decode(),
    }


def _put(tx: Tx, things: Sequence[Row], at: int) -> None:
    rows(tx, _PUT, rows=things, at=at)


def _relate(tx: Tx, edges: Sequence[Row], at: int) -> None:
    _lock(tx, (), edges)
    rows(tx, _RELATE, rows=_by_source(edges), at=at)


def _edges(relations: Iterable[Relation]) -> list[Row]:
    found = {(each.source, each.kind, each.target) for each in relations}
    return [{"source": source, "kind": kind, "target": target} for source, kind, target in sorted(found)]


def _by_source(edges: Iterable[Row]) -> list[list[Any]]:
    """[source, [[kind, target], …]]: each source is looked up once."""
    found = defaultdict[str, list[list[str]]](list)
    for each in edges:
        found[each["source"]].append([each["kind"], each["target"]])
    return [[source, others] for source, others in found.items()]


def _lock(tx: Tx, ids: Iterable[Any], edges: Iterable[Row]) -> None:
    """Make and lock all nodes that are touched in one order, so that writers at once wait instead of deadlocking."""
    names = set(ids) | {each[end] for each in edges for end in ("source", "target")}
    rows(tx, "UNWIND $ids AS id MERGE (n:KtEntity {id: id}) SET n.locked = true", ids=sorted(names))


def _entity(body: str) -> Entity:
    return msgspec.json.decode(body, type=Entity)


_PUT = """
UNWIND $rows AS row
MERGE (n:KtEntity {id: row.id}) SET n.locked = true
WITH n, row
WHERE n.at IS NULL OR n.at <= $at
WITH n, row, (n.body IS NULL OR n.body <> row.body) AS changed
SET n.at = $at, n.kind = row.kind, n.name = row.name, n.namespace = row.namespace, n.body = row.body
WITH row WHERE changed
MERGE (v:KtVersion {entity: row.id, at: $at}) SET v.body = row.body
"""
_RELATE = """
UNWIND $rows AS row
MATCH (a:KtEntity {id: row[0]})
UNWIND row[1] AS other
MATCH (b:KtEntity {id: other[1]})
MERGE (a)-[r:KT_RELATION {kind: other[0]}]->(b)
WITH r, (r.at IS NULL OR r.at < $at OR (r.at = $at AND NOT r.gone)) AS newer
WHERE newer
SET r.at = $at, r.gone = false, r.ended = null
"""
_END_OTHERS = """
UNWIND $rows AS row
MATCH (a:KtEntity {id: row[0]})-[r:KT_RELATION]->(b:KtEntity)
WHERE r.kind IN $kinds AND NOT r.gone AND r.at <= $at AND NOT [r.kind, b.id] IN row[1]
SET r.gone = true, r.at = $at, r.ended = $at
"""
_DELETE = """
UNWIND $ids AS id
MATCH (n:KtEntity {id: id})
WHERE n.body IS NOT NULL AND n.at <= $at
SET n.at = $at
REMOVE n.body
MERGE (v:KtVersion {entity: id, at: $at}) SET v.body = null
WITH n
MATCH (n)-[r:KT_RELATION]-()
WHERE NOT r.gone AND r.at <= $at
SET r.gone = true, r.at = $at, r.ended = $at
"""
_FORGET = "MATCH ()-[r:KT_RELATION]->() WHERE r.ended < $before WITH r LIMIT $most DELETE r"
_RECORD = """
UNWIND $rows AS row
MERGE (c:KtChange {id: row.id})
ON CREATE SET c.entity = row.entity, c.at = row.at, c.body = row.body
"""
_FIND = """
MATCH (n:KtEntity)
WHERE n.body IS NOT NULL AND ($kind IS NULL OR n.kind = $kind) AND ($namespace IS NULL OR n.namespace = $namespace)
  AND ($name IS NULL OR n.name = $name)
RETURN n.body AS body ORDER BY n.id
"""
