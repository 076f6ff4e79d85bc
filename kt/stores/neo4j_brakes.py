"""The global stop and the account of actions in Neo4j."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import neo4j

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.neo4j_session import rows
from kt.stores.neo4j_store import Neo4jStore
from remediate.brakes import OutcomeOf, Spent, Stop, Trip

T = TypeVar("T")


class Neo4jBrakes(Neo4jStore):
    """See `remediate.brakes.Brakes`. Raises `LogUnavailable`."""

    def stopped(self) -> Stop | None:
        found = self._read(lambda tx: rows(tx, _STOPPED))
        return _stop(found)

    def stop(self, stop: Stop) -> None:
        self._write(lambda tx: rows(tx, _STOP, at=to_micros(stop.at), by=stop.by, why=stop.why))

    def resume(self) -> Stop | None:
        def work(tx: neo4j.ManagedTransaction) -> Stop | None:
            before = _stop(rows(tx, _STOPPED))
            rows(tx, _RESUME)
            return before

        return self._write(work)

    def trip(self, trip: Trip) -> None:
        at, until = to_micros(trip.at), to_micros(trip.until)
        given = {"at": at, "until": until, "why": trip.why, "closed_by": trip.closed_by}
        self._write(lambda tx: rows(tx, _TRIP, **given))

    def tripped(self) -> Trip | None:
        found = self._read(lambda tx: rows(tx, _TRIPPED))
        if not found:
            return None
        at, until = from_micros(found[0]["at"]), from_micros(found[0]["until"])
        return Trip(at=at, until=until, why=found[0]["why"], closed_by=found[0]["closed_by"])

    def spend(self, spent: Spent, since: datetime, objection: Callable[[Sequence[Spent]], str]) -> str:
        def work(tx: neo4j.ManagedTransaction) -> str:
            # One writer at a time: what another one spends meanwhile must be seen before it is counted.
            rows(tx, _LOCK)
            before = [each for each in _since(tx, since) if each.action != spent.action]
            why = objection(before)
            if not why:
                rows(
                    tx, _SPEND, action=spent.action, at=to_micros(spent.at), target=spent.target,
                    namespace=spent.namespace, playbook=spent.playbook, outcome=spent.outcome,
                )  # fmt: skip
            return why

        return self._write(work)

    def since(self, at: datetime) -> list[Spent]:
        return self._read(lambda tx: _since(tx, at))

    def conclude(self, action: str, outcome: OutcomeOf) -> None:
        self._write(lambda tx: rows(tx, _CONCLUDE, action=action, outcome=outcome))


def _stop(found: list[Any]) -> Stop | None:
    return Stop(at=from_micros(found[0]["at"]), by=found[0]["by"], why=found[0]["why"]) if found else None


def _since(tx: neo4j.ManagedTransaction, at: datetime) -> list[Spent]:
    return [
        Spent(
            action=each["action"], at=from_micros(each["at"]), target=each["target"], namespace=each["namespace"],
            playbook=each["playbook"], outcome=each["outcome"],
        )
        for each in rows(tx, _SINCE, at=to_micros(at))
    ]  # fmt: skip


_STOPPED = "MATCH (s:KtStop {name: 'stop'}) WHERE s.on RETURN s.at AS at, s.by AS by, s.why AS why"
_STOP = "MERGE (s:KtStop {name: 'stop'}) SET s.on = true, s.at = $at, s.by = $by, s.why = $why"
_RESUME = "MATCH (s:KtStop {name: 'stop'}) SET s.on = false"
_TRIP = """
MERGE (s:KtStop {name: 'breaker'}) SET s.at = $at, s.until = $until, s.why = $why, s.closed_by = $closed_by
"""
_TRIPPED = """
MATCH (s:KtStop {name: 'breaker'}) RETURN s.at AS at, s.until AS until, s.why AS why, s.closed_by AS closed_by
"""
_LOCK = "MERGE (s:KtStop {name: 'account'}) SET s.locked = true"
_SPEND = """
MERGE (s:KtSpent {action: $action})
ON CREATE SET s.at = $at, s.target = $target, s.namespace = $namespace, s.playbook = $playbook, s.outcome = $outcome
"""
_SINCE = """
MATCH (s:KtSpent) WHERE s.at >= $at
RETURN s.action AS action, s.at AS at, s.target AS target, s.namespace AS namespace, s.playbook AS playbook,
       s.outcome AS outcome
ORDER BY s.at, s.action
"""
_CONCLUDE = "MATCH (s:KtSpent {action: $action}) SET s.outcome = $outcome"
