"""Leases in Neo4j. Times are those of the clock given; hosts that share a database keep theirs in step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import neo4j

from graph_schema.stores.moments import to_micros
from graph_schema.stores.neo4j_session import rows
from kt.incident.log import Grant
from kt.stores.neo4j_store import Neo4jStore

T = TypeVar("T")


class Neo4jLeases(Neo4jStore):
    """See `kt.incident.log.Leases`. A released lease keeps its node: its token must never be granted again."""

    def __init__(
        self, uri: str, auth: tuple[str, str] | None, clock: Callable[[], datetime], database: str = "neo4j"
    ) -> None:
        super().__init__(uri, auth, database)
        self._clock = clock

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> int | None:
        def work(tx: neo4j.ManagedTransaction) -> int | None:
            (lease,) = rows(tx, _LOCK, name=name)
            now = to_micros(self._clock())
            held = lease["until"] > now
            if held and lease["holder"] != holder:
                return None
            token = int(lease["token"]) if held else int(lease["token"]) + 1
            rows(tx, _SET, name=name, holder=holder, token=token, until=now + int(ttl_s * 1e6))
            return token

        return self._write(work)

    def held_by(self, name: str) -> Grant | None:
        found = self._read(lambda tx: rows(tx, _HELD, name=name, now=to_micros(self._clock())))
        return Grant(holder=found[0]["holder"], token=int(found[0]["token"])) if found else None

    def renew(self, name: str, holder: str, token: int, *, ttl_s: float) -> bool:
        return self._change(name, holder, token, holder, lambda: to_micros(self._clock()) + int(ttl_s * 1e6))

    def release(self, name: str, holder: str, token: int) -> None:
        self._change(name, holder, token, "", lambda: 0)

    def _change(self, name: str, holder: str, token: int, after: str, until: Callable[[], int]) -> bool:
        def work(tx: neo4j.ManagedTransaction) -> bool:
            (lease,) = rows(tx, _LOCK, name=name)
            if (lease["holder"], lease["token"]) != (holder, token):
                return False
            rows(tx, _SET, name=name, holder=after, token=token, until=until())
            return True

        return self._write(work)


_LOCK = """
MERGE (l:KtLease {name: $name}) ON CREATE SET l.holder = '', l.token = 0, l.until = 0
SET l.locked = true
RETURN l.holder AS holder, l.token AS token, l.until AS until
"""
_HELD = "MATCH (l:KtLease {name: $name}) WHERE l.until > $now RETURN l.holder AS holder, l.token AS token"
_SET = "MATCH (l:KtLease {name: $name}) SET l.holder = $holder, l.token = $token, l.until = $until"
