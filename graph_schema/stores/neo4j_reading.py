"""Reading a piece of the graph out of Neo4j: few queries, each for many entities, and nothing is sent twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import msgspec
import neo4j

from graph_schema.model import Change, Entity, Relation, Subgraph
from graph_schema.walk import Around, FaultFrom, ended, relations_among, walk

Tx = neo4j.ManagedTransaction
Row = tuple[str, str, bool, bool, bool, list[str]]
"""(entity, kind of relation, whether it ended, whether it leaves the entity, whether the others are known, these)"""


class Reading:
    """One neighbourhood, read in one transaction: relations ring by ring as it is walked, bodies at the end."""

    def __init__(self, tx: Tx, fault_from: FaultFrom) -> None:
        self._tx = tx
        self._to: dict[str, dict[str, dict[str, None]]] = defaultdict(dict)
        self._come: dict[str, dict[str, dict[str, None]]] = defaultdict(dict)
        self._around = Around(self._to, self._come, fault_from)
        self._known: set[str] = set()
        """Those of the entities that were met that are in the graph now."""
        self._looked: set[str] = set()
        """Those whose relations were read."""
        self._once: dict[Relation, str] = {}
        """Relations that ended → the end that was met through them."""

    def neighbourhood(self, seeds: Sequence[str], hops: int, limit: int) -> Subgraph:
        """See `graph_schema.store.GraphStore.neighbourhood`."""
        self._known.update(_listed(self._tx, _KNOWN, ids=seeds))
        ids = walk(self._around, seeds, self._known.__contains__, hops=hops, limit=limit, look=self._look)
        inside = set(ids)
        rest = sorted(inside - self._looked)
        if rest:
            # What is among those that the walk ended at, and what ended.
            self._take(_listed(self._tx, _AMONG, ids=rest))
        once = {
            relation: other
            for relation, other in self._once.items()
            if other not in self._known and (relation.source in inside or relation.target in inside)
        }
        changes = changes_of(self._tx, [*ids, *sorted(set(once.values()))])
        found = bodies(self._tx, ids)
        return Subgraph(
            {each: found[each] for each in ids}, relations_among(self._around, inside), tuple(changes),
            ended(once, changes),
        )  # fmt: skip

    def _look(self, entities: Iterable[str]) -> None:
        new = sorted(set(entities) - self._looked)
        self._looked.update(new)
        if new:
            self._take(_listed(self._tx, _AROUND, ids=new))

    def _take(self, found: Iterable[Row]) -> None:
        for here, kind, gone, out, known, others in found:
            if known:
                self._known.update(others)
            for other in others:
                source, target = (here, other) if out else (other, here)
                if gone:
                    self._once[Relation(source, target, kind)] = other
                    continue
                self._to[source].setdefault(target, {})[kind] = None
                self._come[target].setdefault(source, {})[kind] = None


def bodies(tx: Tx, ids: Sequence[str]) -> dict[str, Entity]:
    """The entities of these ids that are in the graph now."""
    decode = msgspec.json.Decoder(Entity).decode
    return {here: decode(body) for here, body in _listed(tx, _BODIES, ids=ids)}


def changes_of(tx: Tx, entities: Sequence[str]) -> list[Change]:
    """The changes of these entities, oldest first."""
    found = [msgspec.json.decode(body, type=Change) for body in _listed(tx, _CHANGES_OF, entities=entities)]
    return sorted(found, key=lambda change: (change.at, change.entity, change.kind, change.id))


def changes_since(tx: Tx, at: int, entities: Sequence[str] | None) -> list[Change]:
    """Changes at or after `at` (microseconds), oldest first; of these entities only, if given."""
    if entities is None:
        found = _listed(tx, _CHANGES_SINCE, at=at)
    else:
        found = _listed(tx, _CHANGES_OF_SINCE, at=at, entities=entities)
    return [msgspec.json.decode(body, type=Change) for body in found]


def _listed(tx: Tx, query: LiteralString, **parameters: Any) -> Any:
    """The list that is all that a query answers."""
    return tx.run(query, **parameters).single(strict=True).value()


# Each answers with one record, a list: the driver takes tens of microseconds for a record, however small it is.
_KNOWN = "MATCH (n:KtEntity) WHERE n.id IN $ids AND n.body IS NOT NULL RETURN collect(n.id)"
_BODIES = "MATCH (n:KtEntity) WHERE n.id IN $ids AND n.body IS NOT NULL RETURN collect([n.id, n.body])"
_AROUND = """
MATCH (n:KtEntity)-[r:KT_RELATION]-(m:KtEntity) WHERE n.id IN $ids
WITH n, r.kind AS kind, r.gone AS gone, startNode(r) = n AS out, m.body IS NOT NULL AS known, collect(m.id) AS others
RETURN collect([n.id, kind, gone, out, known, others])
"""
_AMONG = """
MATCH (n:KtEntity)-[r:KT_RELATION]-(m:KtEntity) WHERE n.id IN $ids AND (r.gone OR startNode(r) = n AND m.id IN $ids)
WITH n, r.kind AS kind, r.gone AS gone, startNode(r) = n AS out, m.body IS NOT NULL AS known, collect(m.id) AS others
RETURN collect([n.id, kind, gone, out, known, others])
"""
_CHANGES_OF = "MATCH (c:KtChange) WHERE c.entity IN $entities RETURN collect(c.body)"
_CHANGES_SINCE = "MATCH (c:KtChange) WHERE c.at >= $at WITH c ORDER BY c.at, c.id RETURN collect(c.body)"
_CHANGES_OF_SINCE = """
MATCH (c:KtChange) WHERE c.entity IN $entities AND c.at >= $at WITH c ORDER BY c.at, c.id RETURN collect(c.body)
"""
