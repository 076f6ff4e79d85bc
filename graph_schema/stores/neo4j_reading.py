"""Reading a piece of the graph out of Neo4j: few queries, each for many entities, and nothing is sent twice.

Entities go by the numbers that Neo4j has for them, which hold within a transaction: looking them up and sending them
takes a third of what names take. Names come with the bodies, once for each entity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import msgspec
import neo4j
import numpy as np
from numpy.typing import NDArray

from graph_schema.model import Change, Entity, Relation, Subgraph
from graph_schema.stores.ordered import distinct, within
from graph_schema.walk import FaultFrom, ended

Tx = neo4j.ManagedTransaction
Numbers = NDArray[np.int64]
NONE = np.empty(0, np.int64)


class Found(msgspec.Struct, frozen=True):
    """Relations of one kind as they were read from one of their ends."""

    kind: str
    gone: bool
    out: bool
    """Whether they leave it."""
    here: Numbers
    there: Numbers

    def ends(self) -> tuple[Numbers, Numbers]:
        """Sources and targets."""
        return (self.here, self.there) if self.out else (self.there, self.here)


class Reading:
    """One neighbourhood, read in one transaction: ring by ring the relations, then the bodies of what they lead to."""

    def __init__(self, tx: Tx, fault_from: FaultFrom) -> None:
        self._tx, self._fault_from = tx, fault_from
        self._entities: dict[int, Entity] = {}
        """The walk, in its order."""
        self._looked = NONE
        """Those whose relations were read."""
        self._found: list[Found] = []

    def neighbourhood(self, seeds: Sequence[str], hops: int, limit: int) -> Subgraph:
        """See `graph_schema.store.GraphStore.neighbourhood`."""
        front = self._add(_listed(self._tx, _OF_NAMES, ids=seeds), limit)
        for _ in range(hops):
            front = self._ring(front, limit, causes=True)
            if not front:
                break
        self._ring(list(self._entities), limit, causes=False)
        inside = np.array(sorted(self._entities), np.int64)
        rest = inside[~within(inside, self._looked)]
        # What is among those that the walk ended at, and what ended.
        among = self._read(_AMONG, rest)
        once = self._once(inside, among)
        changes = changes_of(self._tx, [*(each.id for each in self._entities.values()), *sorted(set(once.values()))])
        return Subgraph(
            {each.id: each for each in self._entities.values()}, self._relations(inside, among), tuple(changes),
            ended(once, changes),
        )  # fmt: skip

    def _ring(self, near: list[int], limit: int, *, causes: bool) -> list[int]:
        """What stands beside these, as far as there is room, by name."""
        if len(self._entities) == limit:
            return []
        here = np.array(sorted(near), np.int64)
        new = here[~within(here, self._looked)]
        self._looked = distinct(np.concatenate((self._looked, new)))
        self._found += self._read(_AROUND, new)
        # What leaves an entity makes it sick if its faults come from the target; what it makes sick, the other way.
        beside = [
            each.there[within(each.here, here)]
            for each in self._found
            if not each.gone and ("target" if each.out == causes else "source") in self._fault_from(each.kind)
        ]
        others = distinct(np.concatenate([NONE, *beside]))
        others = others[~within(others, np.array(sorted(self._entities), np.int64))]
        return self._add(_listed(self._tx, _BODIES_OF, ids=others.tolist()) if len(others) else ((), ()), limit)

    def _add(self, found: tuple[Sequence[int], Sequence[str]], limit: int) -> list[int]:
        """Those of these that there is room for, by name."""
        numbers, written = found
        named = zip(numbers, _entities(f"[{','.join(written)}]"), strict=True)
        new = sorted(named, key=lambda each: each[1].id)[: limit - len(self._entities)]
        self._entities.update(new)
        return [number for number, _ in new]

    def _read(self, query: LiteralString, entities: Numbers) -> list[Found]:
        if not len(entities):
            return []
        return [
            Found(kind, gone, out, np.array(here, np.int64), np.array(there, np.int64))
            for kind, gone, out, here, there in _listed(self._tx, query, ids=entities.tolist())
        ]

    def _relations(self, inside: Numbers, among: Iterable[Found]) -> tuple[Relation, ...]:
        """In order of source, target and kind. Where both ends were looked from, the source tells of it."""
        names = [self._entities[each].id for each in inside.tolist()]
        by_name = sorted(range(len(names)), key=names.__getitem__)
        place = np.empty(len(names), np.int64)
        place[by_name] = np.arange(len(names))
        live = sorted((each for each in (*self._found, *among) if not each.gone), key=lambda each: each.kind)
        parts = []
        for order, each in enumerate(live):
            source, target = each.ends()
            kept = within(source, inside) & within(target, inside)
            if not each.out:
                kept &= ~within(source, self._looked)
            source, target = np.searchsorted(inside, source[kept]), np.searchsorted(inside, target[kept])
            parts.append((place[source], place[target], np.full(len(source), order)))
        if not parts:
            return ()
        sources, targets, kinds = (np.concatenate(each) for each in zip(*parts, strict=True))
        ordered = np.lexsort((kinds, targets, sources))
        names.sort()
        return tuple(
            map(
                Relation,
                map(names.__getitem__, sources[ordered].tolist()),
                map(names.__getitem__, targets[ordered].tolist()),
                (live[each].kind for each in kinds[ordered].tolist()),
            )
        )

    def _once(self, inside: Numbers, among: Iterable[Found]) -> dict[Relation, str]:
        """Relations of these entities that ended, and whose other end is not in the graph → that end."""
        gone = [each for each in (*self._found, *among) if each.gone]
        others = distinct(np.concatenate([NONE, *(each.there for each in gone)]))
        others = others[~within(others, inside)]
        if not len(others):
            return {}
        names = dict(zip(*_listed(self._tx, _NAMES_OF_GONE, ids=others.tolist()), strict=True))
        once: dict[Relation, str] = {}
        for each in gone:
            for here, there in zip(each.here.tolist(), each.there.tolist(), strict=True):
                if there in names:
                    me, other = self._entities[here].id, names[there]
                    source, target = (me, other) if each.out else (other, me)
                    once[Relation(source, target, each.kind)] = other
        return once


_entity = msgspec.json.Decoder(Entity).decode
_entities = msgspec.json.Decoder(list[Entity]).decode


def bodies(tx: Tx, ids: Sequence[str]) -> dict[str, Entity]:
    """The entities of these ids that are in the graph now."""
    _, written = _listed(tx, _OF_NAMES, ids=ids)
    return {each.id: each for each in map(_entity, written)}


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
_OF_NAMES = "MATCH (n:KtEntity) WHERE n.id IN $ids AND n.body IS NOT NULL RETURN [collect(id(n)), collect(n.body)]"
_BODIES_OF = "MATCH (n) WHERE id(n) IN $ids AND n.body IS NOT NULL RETURN [collect(id(n)), collect(n.body)]"
_NAMES_OF_GONE = "MATCH (n) WHERE id(n) IN $ids AND n.body IS NULL RETURN [collect(id(n)), collect(n.id)]"
_AROUND = """
MATCH (n)-[r:KT_RELATION]-(m) WHERE id(n) IN $ids
WITH r.kind AS kind, r.gone AS gone, startNode(r) = n AS out, collect(id(n)) AS here, collect(id(m)) AS there
RETURN collect([kind, gone, out, here, there])
"""
_AMONG = """
MATCH (n)-[r:KT_RELATION]-(m) WHERE id(n) IN $ids AND (r.gone OR startNode(r) = n AND id(m) IN $ids)
WITH r.kind AS kind, r.gone AS gone, startNode(r) = n AS out, collect(id(n)) AS here, collect(id(m)) AS there
RETURN collect([kind, gone, out, here, there])
"""
_CHANGES_OF = "MATCH (c:KtChange) WHERE c.entity IN $entities RETURN collect(c.body)"
_CHANGES_SINCE = "MATCH (c:KtChange) WHERE c.at >= $at WITH c ORDER BY c.at, c.id RETURN collect(c.body)"
_CHANGES_OF_SINCE = """
MATCH (c:KtChange) WHERE c.entity IN $entities AND c.at >= $at WITH c ORDER BY c.at, c.id RETURN collect(c.body)
"""
