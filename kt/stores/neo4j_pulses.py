"""Pulses in Neo4j."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.neo4j_session import Neo4jAway, Neo4jSession, rows
from kt.incident.log import LogUnavailable


class Neo4jPulses:
    """See `kt.incident.log.Pulses`."""

    def __init__(
        self, uri: str, auth: tuple[str, str] | None, clock: Callable[[], datetime], database: str = "neo4j"
    ) -> None:
        self._session = Neo4jSession(uri, auth, database)
        self._clock = clock

    def beat(self, name: str) -> None:
        at = to_micros(self._clock())
        try:
            self._session.write(lambda tx: rows(tx, "MERGE (p:KtPulse {name: $name}) SET p.at = $at", name=name, at=at))
        except Neo4jAway as error:
            raise LogUnavailable(str(error)) from error

    def last(self, name: str) -> datetime | None:
        query = "MATCH (p:KtPulse {name: $name}) RETURN p.at AS at"
        try:
            found = self._session.read(lambda tx: rows(tx, query, name=name))
        except Neo4jAway as error:
            raise LogUnavailable(str(error)) from error
        return from_micros(found[0]["at"]) if found else None

    def close(self) -> None:
        self._session.close()
