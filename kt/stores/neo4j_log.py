"""The incident log in Neo4j: for production. An incident is a node linked to the entities that it touched."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

import neo4j
from neo4j.exceptions import ConstraintError

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.neo4j_session import rows
from kt.incident.events import AlertsReceived
from kt.incident.log import Append, Entry, LogCorrupted, Notification, Record, VersionConflict
from kt.incident.state import describe
from kt.stores.chain import Link, check, forge
from kt.stores.neo4j_store import Neo4jStore

T = TypeVar("T")
Tx = neo4j.ManagedTransaction


class Neo4jIncidentLog(Neo4jStore):
    """See `kt.incident.log.IncidentLog`."""

    def receive(self, notifications: Sequence[Notification]) -> None:
        things = [{"id": each.id, "at": to_micros(each.received_at), "body": each.body} for each in notifications]
        try:
            self._write(lambda tx: _create(tx, things))
        except _StoredBefore:
            self._write(lambda tx: rows(tx, _RECEIVE, rows=things))

    def unsettled(self, limit: int) -> list[Notification]:
        found = self._read(lambda tx: rows(tx, _UNSETTLED, limit=limit))
        return [
            Notification(id=each["id"], received_at=from_micros(each["at"]), body=bytes(each["body"])) for each in found
        ]

    def counts(self) -> tuple[int, int]:
        (found,) = self._read(lambda tx: rows(tx, _COUNTS))
        return found["received"], found["unsettled"]

    def commit(
        self, appends: Sequence[Append], *, settle: Sequence[str] = (), keys: Sequence[tuple[str, str]] = ()
    ) -> None:
        def work(tx: Tx) -> None:
            # In one order, so that commits at once wait for each other instead of deadlocking.
            for append in sorted(appends, key=lambda each: each.incident):
                if append.events:
                    _append(tx, append)
            if settle:
                (settled,) = rows(tx, _SETTLE, ids=sorted(settle))
                if settled["count"] != len(settle):
                    raise VersionConflict("a notification is settled already, or unknown")
            try:
                rows(tx, _CLAIM, rows=[{"key": key, "incident": incident} for key, incident in sorted(keys)])
            except ConstraintError as error:
                raise VersionConflict("a signal is claimed already") from error

        self._write(work)

    def claimed(self, keys: Collection[str]) -> dict[str, str]:
        query = "MATCH (k:KtSignalKey) WHERE k.key IN $keys RETURN k.key AS key, k.incident AS incident"
        wanted = sorted(keys)
        return {each["key"]: each["incident"] for each in self._read(lambda tx: rows(tx, query, keys=wanted))}

    def load(self, incident: str) -> list[Record]:
        # Neo4j has no snapshots: a commit may be seen in part, or not at all, while it is applied. Under the incident's
        # lock nothing is half applied; what is broken then is broken.
        with contextlib.suppress(LogCorrupted):
            if found := self._read(lambda tx: _load(tx, incident)):
                return found
        return self._write(lambda tx: _load_locked(tx, incident))

    def entries(self, *, open_only: bool = False, limit: int = 100) -> list[Entry]:
        found = self._read(lambda tx: rows(tx, _ENTRIES, open_only=open_only, limit=limit))
        return [_entry(each["i"]) for each in found]

    def due(self, now: datetime, limit: int = 1000) -> list[str]:
        found = self._read(lambda tx: rows(tx, _DUE, now=to_micros(now), limit=limit))
        return [each["id"] for each in found]


class _StoredBefore(Exception):
    """One of the notifications is there already."""


def _create(tx: Tx, things: list[dict[str, Any]]) -> None:
    """Ids are unique but for a repeated call, so that creating is tried first: merging takes longer."""
    try:
        rows(tx, _CREATE, rows=things)
    except ConstraintError as error:
        raise _StoredBefore from error


def _append(tx: Tx, append: Append) -> None:
    # The lock comes first: what is read after it cannot change any more.
    rows(tx, "MERGE (i:KtIncident {id: $id}) SET i.locked = true", id=append.incident)
    before = _load(tx, append.incident)
    if len(before) != append.expected:
        raise VersionConflict(f"incident {append.incident} stands at {len(before)}, not at {append.expected}")
    links, records = forge(append.incident, before, append.events)
    entry = describe([*before, *records])
    signals = [signal for event in append.events if isinstance(event, AlertsReceived) for signal in event.signals]
    rows(
        tx,
        _APPEND,
        id=append.incident,
        rows=[
            {"version": link.version, "event": link.event, "previous": link.previous, "hash": link.hash}
            for link in links
        ],
        entry={
            "version": entry.version,
            "head": links[-1].hash,
            "phase": entry.phase,
            "due_at": to_micros(entry.due_at) if entry.due_at else None,
            "opened_at": to_micros(entry.opened_at),
            "updated_at": to_micros(entry.updated_at),
            "summary": entry.summary,
        },
    )
    rows(tx, _TOUCH, id=append.incident, entities=sorted({signal.entity for signal in signals if signal.mapped}))


def _load_locked(tx: Tx, incident: str) -> list[Record]:
    rows(tx, "MATCH (i:KtIncident {id: $id}) SET i.locked = true", id=incident)
    return _load(tx, incident)


def _load(tx: Tx, incident: str) -> list[Record]:
    index = rows(tx, "MATCH (i:KtIncident {id: $id}) RETURN i.version AS version, i.head AS head", id=incident)
    version, head = (index[0]["version"] or 0, index[0]["head"] or "") if index else (0, "")
    # Neo4j reads what is committed at each statement: events that were added since the index was read stay out.
    links = [
        Link(each["version"], bytes(each["event"]), each["previous"], each["hash"])
        for each in rows(tx, _EVENTS, id=incident, version=version)
    ]
    return check(incident, links, version=version, head=head)


def _entry(node: Any) -> Entry:
    due = node.get("due_at")
    return Entry(
        incident=node["id"],
        version=node["version"],
        phase=node["phase"],
        due_at=None if due is None else from_micros(due),
        opened_at=from_micros(node["opened_at"]),
        updated_at=from_micros(node["updated_at"]),
        summary=node["summary"],
    )


_CREATE = """
UNWIND $rows AS row
CREATE (:KtNotification {id: row.id, at: row.at, body: row.body, settled: false})
"""
_RECEIVE = """
UNWIND $rows AS row
MERGE (n:KtNotification {id: row.id})
ON CREATE SET n.at = row.at, n.body = row.body, n.settled = false
"""
_UNSETTLED = """
MATCH (n:KtNotification {settled: false})
RETURN n.id AS id, n.at AS at, n.body AS body ORDER BY n.id LIMIT $limit
"""
_COUNTS = """
MATCH (n:KtNotification) WITH count(n) AS received
OPTIONAL MATCH (u:KtNotification {settled: false})
RETURN received, count(u) AS unsettled
"""
_SETTLE = """
UNWIND $ids AS id
MATCH (n:KtNotification {id: id}) SET n.locked = true
WITH n WHERE NOT n.settled
SET n.settled = true
RETURN count(n) AS count
"""
_CLAIM = "UNWIND $rows AS row CREATE (:KtSignalKey {key: row.key, incident: row.incident})"
_EVENTS = """
MATCH (e:KtEvent {incident: $id}) WHERE e.version <= $version
RETURN e.version AS version, e.event AS event, e.previous AS previous, e.hash AS hash ORDER BY e.version
"""
_APPEND = """
MATCH (i:KtIncident {id: $id}) SET i += $entry
WITH i
UNWIND $rows AS row
CREATE (e:KtEvent {incident: $id, version: row.version, event: row.event, previous: row.previous, hash: row.hash})
CREATE (i)-[:KT_EVENT]->(e)
"""
_TOUCH = """
MATCH (i:KtIncident {id: $id})
UNWIND $entities AS entity
MATCH (n:KtEntity {id: entity})
MERGE (i)-[:KT_TOUCHED]->(n)
"""
_ENTRIES = """
MATCH (i:KtIncident)
WHERE i.version IS NOT NULL AND (NOT $open_only OR i.due_at IS NOT NULL)
RETURN i ORDER BY i.opened_at DESC, i.id DESC LIMIT $limit
"""
_DUE = "MATCH (i:KtIncident) WHERE i.due_at <= $now RETURN i.id AS id ORDER BY i.due_at, i.id LIMIT $limit"
