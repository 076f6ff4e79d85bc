"""A connection to Neo4j with its schema in place: what every store kept there stands on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import resources
from typing import Any, LiteralString, TypeVar

import neo4j
from neo4j.exceptions import DriverError, Neo4jError

T = TypeVar("T")
PATIENCE_S = 8.0
"""How long a transaction is tried again over restarts of the server and deadlocks before it counts as away."""


ALREADY = "Neo.ClientError.Schema.EquivalentSchemaRuleAlreadyExists"


class Neo4jAway(Exception):
    """The server did not do it in time; each store makes its own error of it."""


class Neo4jSession:
    """`auth`: user and password, or None. Migrations run once, at first use, each in its number's order."""

    def __init__(self, uri: str, auth: tuple[str, str] | None, database: str) -> None:
        self._driver = neo4j.GraphDatabase.driver(
            uri,
            auth=auth,
            connection_timeout=3.0,
            connection_acquisition_timeout=5.0,
            max_transaction_retry_time=PATIENCE_S,
            notifications_min_severity="OFF",
        )
        self._database = database
        self._ready = False
        self._guard = threading.Lock()

    def read(self, work: Callable[[neo4j.ManagedTransaction], T]) -> T:
        return self._run(lambda session: session.execute_read(work))

    def write(self, work: Callable[[neo4j.ManagedTransaction], T]) -> T:
        """One transaction, run again when the server asks for it: `work` must be repeatable."""
        return self._run(lambda session: session.execute_write(work))

    def close(self) -> None:
        self._driver.close()

    def _run(self, work: Callable[[neo4j.Session], T]) -> T:
        try:
            with self._driver.session(database=self._database) as session:
                self._migrate(session)
                return work(session)
        except (DriverError, Neo4jError, OSError) as error:
            raise Neo4jAway(f"Neo4j: {error}") from error

    def _migrate(self, session: neo4j.Session) -> None:
        with self._guard:
            if self._ready:
                return
            done = session.execute_read(_done)
            files = resources.files("graph_schema").joinpath("migrations")
            for file in sorted(files.iterdir(), key=lambda each: each.name):
                number = int(file.name.split("_")[0]) if file.name.endswith(".cypher") else 0
                if number <= done:
                    continue
                # Statements are idempotent (IF NOT EXISTS): two processes may migrate at once, and one that is told to
                # try again does. Of two in the very same moment one is told that the other was first.
                for statement in filter(None, map(str.strip, file.read_text().split(";"))):
                    try:
                        session.execute_write(_change_schema, statement)
                    except Neo4jError as error:
                        if error.code != ALREADY:
                            raise
                session.execute_write(_note, number)
            self._ready = True


def _done(tx: neo4j.ManagedTransaction) -> int:
    record = tx.run("MATCH (m:KtMigration) RETURN coalesce(max(m.number), 0) AS done").single(strict=True)
    return int(record["done"])


def _change_schema(tx: neo4j.ManagedTransaction, statement: LiteralString) -> None:
    tx.run(statement).consume()


def _note(tx: neo4j.ManagedTransaction, number: int) -> None:
    tx.run("MERGE (m:KtMigration {number: $number})", number=number).consume()


def rows(tx: neo4j.ManagedTransaction, query: LiteralString, **parameters: Any) -> list[Any]:
    """All records of a query."""
    return list(tx.run(query, **parameters))
