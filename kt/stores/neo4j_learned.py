"""Counts of confirmed causes in Neo4j. See `kt.learned.Learned`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TypeVar

import neo4j

from diagnose.learning import Counts
from graph_schema.stores.neo4j_session import rows
from kt.stores.learned_rows import counts_of, rows_of
from kt.stores.neo4j_store import Neo4jStore

T = TypeVar("T")


class Neo4jLearned(Neo4jStore):
    def site(self) -> str:
        return self._write(_site)

    def counts(self) -> Counts:
        found = self._read(lambda tx: rows(tx, _COUNTS))
        return counts_of((each["part"], each["key"], each["site"], each["count"]) for each in found)

    def learn(self, claim: str, seen: Mapping[str, int], forgotten: Mapping[str, int]) -> bool:
        def work(tx: neo4j.ManagedTransaction) -> bool:
            # The one that makes the node has the claim; its lock holds the others back until it has committed.
            token = uuid.uuid4().hex
            if rows(tx, _CLAIM, claim=claim, token=token)[0]["token"] != token:
                return False
            here = _site(tx)
            added = [
                {"id": f"{part}|{here}|{key}", "part": part, "key": key, "site": here, "count": count}
                for part, counts in (("seen", seen), ("forgotten", forgotten))
                for key, count in sorted(counts.items())
            ]
            rows(tx, _ADD, rows=added)
            return True

        return self._write(work)

    def claimed(self, claims: Sequence[str]) -> set[str]:
        found = self._read(lambda tx: rows(tx, _CLAIMED, claims=list(claims)))
        return {each["claim"] for each in found}

    def merge(self, counts: Counts) -> None:
        larger = [
            {"id": f"{part}|{site}|{key}", "part": part, "key": key, "site": site, "count": count}
            for part, key, site, count in rows_of(counts)
        ]
        self._write(lambda tx: rows(tx, _MERGE, rows=larger))


def _site(tx: neo4j.ManagedTransaction) -> str:
    return str(rows(tx, _SITE, made=uuid.uuid4().hex)[0]["site"])


_SITE = "MERGE (s:KtLearnedSite {name: 'site'}) ON CREATE SET s.site = $made RETURN s.site AS site"
_COUNTS = "MATCH (l:KtLearned) RETURN l.part AS part, l.key AS key, l.site AS site, l.count AS count"
_CLAIM = "MERGE (c:KtLearnedClaim {claim: $claim}) ON CREATE SET c.token = $token RETURN c.token AS token"
_CLAIMED = "MATCH (c:KtLearnedClaim) WHERE c.claim IN $claims RETURN c.claim AS claim"
_ADD = """
UNWIND $rows AS row
MERGE (l:KtLearned {id: row.id})
ON CREATE SET l.part = row.part, l.key = row.key, l.site = row.site, l.count = row.count
ON MATCH SET l.count = l.count + row.count
"""
_MERGE = """
UNWIND $rows AS row
MERGE (l:KtLearned {id: row.id})
ON CREATE SET l.part = row.part, l.key = row.key, l.site = row.site, l.count = row.count
ON MATCH SET l.count = CASE WHEN row.count > l.count THEN row.count ELSE l.count END
"""
