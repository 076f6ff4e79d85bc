"""What every store of KT kept in Neo4j shares: its session, and the driver's errors as the port's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import neo4j

from graph_schema.stores.neo4j_session import Neo4jAway, Neo4jSession
from kt.incident.log import LogUnavailable

T = TypeVar("T")
Work = Callable[[neo4j.ManagedTransaction], T]


class Neo4jStore:
    """Reads and writes raise `LogUnavailable`."""

    def __init__(self, uri: str, auth: tuple[str, str] | None, database: str = "neo4j") -> None:
        self._session = Neo4jSession(uri, auth, database)

    def close(self) -> None:
        self._session.close()

    def _read(self, work: Work[T]) -> T:
        try:
            return self._session.read(work)
        except Neo4jAway as error:
            raise LogUnavailable(str(error)) from error

    def _write(self, work: Work[T]) -> T:
        try:
            return self._session.write(work)
        except Neo4jAway as error:
            raise LogUnavailable(str(error)) from error
