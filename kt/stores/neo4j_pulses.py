"""Pulses in Neo4j."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.neo4j_session import rows
from kt.stores.neo4j_store import Neo4jStore


class Neo4jPulses(Neo4jStore):
    """See `kt.incident.log.Pulses`."""

    def __init__(
        self, uri: str, auth: tuple[str, str] | None, clock: Callable[[], datetime], database: str = "neo4j"
    ) -> None:
        super().__init__(uri, auth, database)
        self._clock = clock

    def beat(self, name: str) -> None:
        at = to_micros(self._clock())
        self._write(lambda tx: rows(tx, "MERGE (p:KtPulse {name: $name}) SET p.at = $at", name=name, at=at))

    def last(self, name: str) -> datetime | None:
        query = "MATCH (p:KtPulse {name: $name}) RETURN p.at AS at"
        found = self._read(lambda tx: rows(tx, query, name=name))
        return from_micros(found[0]["at"]) if found else None
