"""Schedules and runs of chaos in Neo4j. See `kt.chaos.store.ChaosStore`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString, TypeVar

import msgspec
import neo4j
from neo4j.exceptions import ConstraintError

from graph_schema.stores.moments import to_micros
from graph_schema.stores.neo4j_session import rows
from kt.chaos.model import Record, Run, Schedule
from kt.chaos.store import JournalOf, NameTaken
from kt.incident.log import VersionConflict
from kt.stores.neo4j_store import Neo4jStore

T = TypeVar("T")
Tx = neo4j.ManagedTransaction
_encoder = msgspec.json.Encoder()
_schedules: msgspec.json.Decoder[Schedule] = msgspec.json.Decoder(Schedule)
_runs: msgspec.json.Decoder[Run] = msgspec.json.Decoder(Run)


class Neo4jChaosStore(Neo4jStore):
    def commit(self, *records: Record) -> None:
        def work(tx: Tx) -> None:
            # In one order, so that commits at once wait for each other instead of deadlocking.
            for record in sorted(records, key=lambda each: (isinstance(each, Run), each.id)):
                if isinstance(record, Schedule):
                    _put_schedule(tx, record)
                else:
                    _put_run(tx, record)

        self._write(work)

    def remove(self, schedule: str) -> bool:
        (found,) = self._write(lambda tx: rows(tx, _REMOVE, id=schedule))
        return bool(found["removed"])

    def schedule(self, id_: str) -> Schedule | None:
        return next(iter(self._schedules(_SCHEDULE, id=id_)), None)

    def schedules(self) -> list[Schedule]:
        return self._schedules(_SCHEDULES)

    def due(self, now: datetime) -> list[Schedule]:
        return self._schedules(_DUE, now=to_micros(now))

    def run(self, id_: str) -> Run | None:
        return next(iter(self._runs(_RUN, id=id_)), None)

    def runs(self, *, schedule: str | None = None, limit: int = 100) -> list[Run]:
        return self._runs(_HISTORY, schedule=schedule, limit=limit)

    def open_runs(self) -> list[Run]:
        return self._runs(_OPEN)

    def runs_during(self, since: datetime) -> list[Run]:
        return self._runs(_DURING, since=to_micros(since))

    def keep(self, run: str, of: JournalOf, journal: dict[str, Any]) -> None:
        kept = _encoder.encode(journal)
        self._write(lambda tx: rows(tx, _KEEP, run=run, kind=of, journal=kept))

    def journals(self, run: str) -> dict[str, dict[str, Any]]:
        found = self._read(lambda tx: rows(tx, _JOURNALS, run=run))
        return {each["kind"]: msgspec.json.decode(bytes(each["journal"])) for each in found}

    def _schedules(self, query: LiteralString, **parameters: Any) -> list[Schedule]:
        found = self._read(lambda tx: rows(tx, query, **parameters))
        return [_schedules.decode(bytes(each["record"])) for each in found]

    def _runs(self, query: LiteralString, **parameters: Any) -> list[Run]:
        found = self._read(lambda tx: rows(tx, query, **parameters))
        return [_runs.decode(bytes(each["record"])) for each in found]


def _put_schedule(tx: Tx, each: Schedule) -> None:
    (found,) = rows(tx, _LOCK_SCHEDULE, id=each.id)
    _expect(each, found["version"])
    try:
        rows(
            tx,
            "MATCH (s:KtChaosSchedule {id: $id}) SET s += $fields",
            id=each.id,
            fields={
                "version": each.version,
                "name": each.what.name,
                "due_at": _micros(each.due_at),
                "record": _encoder.encode(each),
            },
        )
    except ConstraintError as error:
        raise NameTaken(each.what.name) from error


def _put_run(tx: Tx, each: Run) -> None:
    (found,) = rows(tx, _LOCK_RUN, id=each.id)
    _expect(each, found["version"])
    rows(
        tx,
        "MATCH (r:KtChaosRun {id: $id}) SET r += $fields",
        id=each.id,
        fields={
            "version": each.version,
            "schedule": each.schedule,
            "open": each.open,
            "claimed_at": _micros(each.claimed_at),
            "started_at": _micros(each.started_at),
            "ended_at": _micros(each.ended_at),
            "record": _encoder.encode(each),
        },
    )


def _expect(record: Record, stands: int) -> None:
    if stands != record.version - 1:
        raise VersionConflict(f"{record.id} stands at {stands}, not at {record.version - 1}")


def _micros(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)


# The lock comes first: what is read after it cannot change any more.
_LOCK_SCHEDULE = """
MERGE (s:KtChaosSchedule {id: $id}) ON CREATE SET s.version = 0
SET s.locked = true
RETURN s.version AS version
"""
_LOCK_RUN = """
MERGE (r:KtChaosRun {id: $id}) ON CREATE SET r.version = 0
SET r.locked = true
RETURN r.version AS version
"""
_REMOVE = "OPTIONAL MATCH (s:KtChaosSchedule {id: $id}) WITH s, s IS NOT NULL AS removed DETACH DELETE s RETURN removed"
_SCHEDULE = "MATCH (s:KtChaosSchedule {id: $id}) RETURN s.record AS record"
_SCHEDULES = "MATCH (s:KtChaosSchedule) RETURN s.record AS record ORDER BY s.name"
_DUE = "MATCH (s:KtChaosSchedule) WHERE s.due_at <= $now RETURN s.record AS record ORDER BY s.due_at, s.id"
_RUN = "MATCH (r:KtChaosRun {id: $id}) RETURN r.record AS record"
_HISTORY = """
MATCH (r:KtChaosRun) WHERE $schedule IS NULL OR r.schedule = $schedule
RETURN r.record AS record ORDER BY r.claimed_at DESC, r.id DESC LIMIT $limit
"""
_OPEN = "MATCH (r:KtChaosRun {open: true}) RETURN r.record AS record ORDER BY r.claimed_at, r.id"
_DURING = """
MATCH (r:KtChaosRun) WHERE r.started_at IS NOT NULL AND (r.open OR r.ended_at >= $since)
RETURN r.record AS record ORDER BY r.started_at, r.id
"""
_KEEP = "MERGE (j:KtChaosJournal {run: $run, kind: $kind}) SET j.journal = $journal"
_JOURNALS = "MATCH (j:KtChaosJournal {run: $run}) RETURN j.kind AS kind, j.journal AS journal"
