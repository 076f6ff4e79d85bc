"""Leases in Neo4j. Times are those of the clock given; hosts that share a database keep theirs in step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import neo4j

from graph_schema.stores.moments import to_micros
from graph_schema.stores.neo4j_session import rows
from kt.incident.log import Grant
from kt.stores.neo4j_store import Neo4jStore


class Neo4jLeases(Neo4jStore):
    """See `kt.incident.log.Leases`. A released lease keeps its node: its token must never be granted again."""

    def __init__(
        self, uri: str, auth: tuple[str, str] | None, clock: Callable[[], datetime], database: str = "neo4j"
    ) -> None:
        super().__init__(uri, auth, database)
        self._clock = clock

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> int | None:
        tokens = self.acquire_all([name], holder, ttl_s=ttl_s)
        return tokens[name] if tokens else None

    def acquire_all(self, names: Collection[str], holder: str, *, ttl_s: float) -> dict[str, int] | None:
        def work(tx: neo4j.ManagedTransaction) -> dict[str, int] | None:
            leases = _locked(tx, names)
            now = to_micros(self._clock())
            held = {lease["name"] for lease in leases if lease["until"] > now}
            if any(lease["name"] in held and lease["holder"] != holder for lease in leases):
                return None
            tokens = {lease["name"]: int(lease["token"]) + (lease["name"] not in held) for lease in leases}
            _set(tx, tokens, holder, now + int(ttl_s * 1e6))
            return tokens

        return self._write(work)

    def held_by(self, name: str) -> Grant | None:
        found = self._read(lambda tx: rows(tx, _HELD, name=name, now=to_micros(self._clock())))
        return Grant(holder=found[0]["holder"], token=int(found[0]["token"])) if found else None

    def renew(self, name: str, holder: str, token: int, *, ttl_s: float) -> bool:
        return bool(self._change({name: token}, holder, holder, lambda: to_micros(self._clock()) + int(ttl_s * 1e6)))

    def release(self, name: str, holder: str, token: int) -> None:
        self.release_all({name: token}, holder)

    def release_all(self, tokens: Mapping[str, int], holder: str) -> None:
        self._change(tokens, holder, "", lambda: 0)

    def _change(self, tokens: Mapping[str, int], holder: str, after: str, until: Callable[[], int]) -> int:
        """Of how many of these the holder still had the right."""

        def work(tx: neo4j.ManagedTransaction) -> int:
            found = {lease["name"]: (lease["holder"], int(lease["token"])) for lease in _locked(tx, tokens)}
            mine = {name: token for name, token in tokens.items() if found[name] == (holder, token)}
            _set(tx, mine, after, until())
            return len(mine)

        return self._write(work)


def _locked(tx: neo4j.ManagedTransaction, names: Iterable[str]) -> list[dict[str, Any]]:
    """These leases, locked until the transaction ends; always in one order, so that no two wait for each other."""
    return rows(tx, _LOCK, names=sorted(set(names)))


def _set(tx: neo4j.ManagedTransaction, tokens: Mapping[str, int], holder: str, until: int) -> None:
    leases = [{"name": name, "token": token} for name, token in tokens.items()]
    rows(tx, _SET, leases=leases, holder=holder, until=until)


_LOCK = """
UNWIND $names AS name
CALL {
  WITH name
  MERGE (l:KtLease {name: name}) ON CREATE SET l.holder = '', l.token = 0, l.until = 0
  SET l.locked = true
  RETURN l
}
RETURN l.name AS name, l.holder AS holder, l.token AS token, l.until AS until
"""
_HELD = "MATCH (l:KtLease {name: $name}) WHERE l.until > $now RETURN l.holder AS holder, l.token AS token"
_SET = """
UNWIND $leases AS each
MATCH (l:KtLease {name: each.name}) SET l.holder = $holder, l.token = each.token, l.until = $until
"""
