"""The graph in memory: networkx, and beside it arrays of what it was when they were last made.

Entities are numbered once, in the order in which they come; a name, a number or a kind is one object, however many
relations name it. Bodies stay as they were written until they are asked for: what a diagnosis gets are new objects side
by side, which it goes through faster than through those of a large graph, each in a page of memory of its own.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from datetime import timedelta

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from graph_schema.model import Relation
from graph_schema.stores.adjacency import Adjacency, Edge, Edges, Numbers, as_arrays, joined, take
from graph_schema.stores.moments import REMEMBERED
from graph_schema.walk import FaultFrom

LOOSE = 1 / 16
"""Share of the entities that may have changed beside the arrays before they are made anew,"""
FEWEST = 256
"""and how many may in any case."""
NONE = np.empty(0, np.int32)
REMEMBERED_MICROS = REMEMBERED // timedelta(microseconds=1)


class Held:
    """What one process knows of the graph; who calls sees to it that nobody else does at the same time."""

    def __init__(self, fault_from: FaultFrom) -> None:
        self._fault_from = fault_from
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._bodies: list[bytes | None] = []
        self._known = _Flags()
        self._kinds: list[str] = []
        self._kind_numbers: dict[str, int] = {}
        self._graph: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        # What networkx's views stand before; they take four times as long, and the stubs leave them out.
        self._to, self._come = self._graph._succ, self._graph._pred  # type: ignore[attr-defined]
        self._ended: dict[int, dict[Relation, int]] = defaultdict(dict)
        self._ends: deque[tuple[int, int, int, Relation]] = deque()
        """When each ended, in about that order."""
        self._arrays = Adjacency((), as_arrays(()), (), fault_from)
        self._changed = _Flags()
        """Entities whose relations are no longer those of the arrays."""
        self._changes = 0

    def put(self, name: str, body: bytes | None) -> None:
        """What this entity is now; None: it is not in the graph."""
        number = self._number(name)
        self._bodies[number] = body
        self._known.put(number, body is not None)

    def relate(self, source: str, kind: str, target: str) -> None:
        a, b, c = self._number(source), self._number(target), self._kind(kind)
        if not self._graph.has_edge(a, b, key=c):
            self._graph.add_edge(a, b, key=c)
            self._change(a, b)

    def end(self, source: str, kind: str, target: str, at: int) -> None:
        """There is no such relation any more since then (microseconds); that there was one is kept for a while."""
        a, b, c = self._number(source), self._number(target), self._kind(kind)
        if self._graph.has_edge(a, b, key=c):
            self._graph.remove_edge(a, b, key=c)
            self._change(a, b)
        relation = Relation(source, target, kind)
        self._ended[a][relation] = self._ended[b][relation] = at
        self._ends.append((at, a, b, relation))
        while self._ends[0][0] < at - REMEMBERED_MICROS:
            self._forget(*self._ends.popleft())

    def _forget(self, at: int, source: int, target: int, relation: Relation) -> None:
        """That it ended then, unless it did again later."""
        for each in (source, target):
            if self._ended[each].get(relation) == at:
                del self._ended[each][relation]
                if not self._ended[each]:
                    del self._ended[each]

    def body(self, name: str) -> bytes | None:
        number = self._numbers.get(name)
        return None if number is None else self._bodies[number]

    def bodies(self) -> Iterator[bytes]:
        """Of all entities in the graph."""
        return (each for each in self._bodies if each is not None)

    def walk(self, seeds: Iterable[str], hops: int, limit: int) -> Numbers:
        """Entities within `hops` steps of the seeds, then what those would make sick: nearest first, then by name."""
        self._make_arrays()
        numbers = (self._numbers.get(seed) for seed in seeds)
        there = np.array([each for each in numbers if each is not None and self._bodies[each] is not None], np.int32)
        front = self._in_order(there)[:limit]
        rings, room = [front], limit - len(front)
        seen = np.zeros(len(self._names), bool)
        seen[front] = True
        for _ in range(hops):
            front = self._ring(front, seen, room, causes=True)
            if not len(front):
                break
            rings.append(front)
            room -= len(front)
        rings.append(self._ring(np.concatenate(rings), seen, room, causes=False))
        return np.concatenate(rings)

    def names(self, entities: Numbers) -> list[str]:
        return [self._names[each] for each in entities.tolist()]

    def bodies_of(self, entities: Numbers) -> list[bytes]:
        return [self._bodies[each] or b"" for each in entities.tolist()]

    def relations_among(self, entities: Numbers) -> tuple[list[int], list[int], list[str]]:
        """Sources, targets (their places in `entities`) and kinds of the relations that join these entities, in order
        of source, target and kind."""
        # Zeros, since pages of memory that nothing is written to cost nothing then.
        local = np.zeros(len(self._names), np.int32)
        local[entities] = np.arange(1, len(entities) + 1, dtype=np.int32)
        ordered = self._in_order(entities)
        parts = (self._fixed(part) if fixed else self._loose(part) for fixed, part in self._runs(ordered))
        source, target, kind = joined((as_arrays(()), *parts))
        source, target = local[source] - 1, local[target] - 1
        inside = target >= 0
        kinds = self._kinds
        return source[inside].tolist(), target[inside].tolist(), [kinds[each] for each in kind[inside].tolist()]

    def once(self, entities: Numbers) -> dict[Relation, str]:
        """Relations of these entities that ended, and whose other end is not in the graph → that end."""
        if not self._ended:
            return {}
        return {
            relation: other
            for each in entities.tolist()
            for relation in self._ended.get(each, ())
            if self.body(other := relation.target if relation.source == self._names[each] else relation.source) is None
        }

    def _ring(self, near: Numbers, seen: NDArray[np.bool_], room: int, *, causes: bool) -> Numbers:
        """Those beside that were not seen yet, by name: seen from now on."""
        if not room:
            return NONE
        arrays, one = (self._arrays.causes, self._causes) if causes else (self._arrays.effects, self._effects)
        loose = self._changed.of(near)
        found = arrays.of(near[~loose])
        if loose.any():
            found = np.concatenate((found, take(one, near[loose])))
        new = self._in_order(found[self._known.of(found) & ~seen[found]])[:room]
        seen[new] = True
        return new

    def _in_order(self, entities: Numbers) -> Numbers:
        """Each of them once, by name."""
        newer = entities >= self._arrays.count
        if not newer.any():
            return self._arrays.in_order(entities)
        # Two lists, of which the longer one is in order already, are cheap to sort as one.
        both = [*self._arrays.in_order(entities[~newer]).tolist(), *set(entities[newer].tolist())]
        return np.array(sorted(both, key=self._names.__getitem__), np.int32)

    def _runs(self, entities: Numbers) -> Iterator[tuple[bool, Numbers]]:
        """These entities in runs of which the arrays tell and of which they do not."""
        loose = self._changed.of(entities)
        cuts = np.flatnonzero(loose[1:] != loose[:-1]) + 1
        for part, other in zip(np.split(entities, cuts), np.split(loose, cuts), strict=True):
            if len(part):
                yield not other[0], part

    def _fixed(self, sources: Numbers) -> Edges:
        found, arrays = self._arrays.leaving(sources), self._arrays
        return arrays.source[found], arrays.target[found], arrays.kind[found]

    def _loose(self, sources: Numbers) -> Edges:
        """The same, of networkx."""

        def name(edge: Edge) -> tuple[str, str]:
            return self._names[edge[1]], self._kinds[edge[2]]

        return as_arrays(edge for each in sources.tolist() for edge in sorted(self._leaving(each), key=name))

    def _leaving(self, source: int) -> list[Edge]:
        return [(source, target, kind) for target, kinds in self._to.get(source, {}).items() for kind in kinds]

    def _causes(self, entity: int) -> list[int]:
        return self._beside(entity, "target", "source")

    def _effects(self, entity: int) -> list[int]:
        return self._beside(entity, "source", "target")

    def _beside(self, entity: int, along: str, against: str) -> list[int]:
        """Targets of the relations whose faults come from `along`, sources of those that they come from `against`."""
        return [
            other
            for others, end in ((self._to, along), (self._come, against))
            for other, kinds in others.get(entity, {}).items()
            if any(end in self._fault_from(self._kinds[kind]) for kind in kinds)
        ]

    def _make_arrays(self) -> None:
        """Anew, if too much has changed since they were made."""
        if self._changes <= max(FEWEST, LOOSE * len(self._names)):
            return
        before = self._arrays
        kept = ~self._changed.of(before.source)
        changed = np.flatnonzero(self._changed.of(np.arange(len(self._names), dtype=np.int32)))
        new = as_arrays(edge for each in changed.tolist() for edge in self._leaving(each))
        edges = joined(((before.source[kept], before.target[kept], before.kind[kept]), new))
        self._arrays = Adjacency(self._names, edges, self._kinds, self._fault_from)
        self._changed, self._changes = _Flags(len(self._names)), 0

    def _change(self, *entities: int) -> None:
        for each in entities:
            self._changes += self._changed.put(each, True)

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
            self._bodies.append(None)
            # It is none of those that the arrays tell of.
            self._change(number)
        return number

    def _kind(self, kind: str) -> int:
        number = self._kind_numbers.get(kind)
        if number is None:
            number = self._kind_numbers[kind] = len(self._kinds)
            self._kinds.append(kind)
        return number


class _Flags:
    """One for each number, False where it was not put."""

    def __init__(self, room: int = 0) -> None:
        self._flags = np.zeros(max(room, 16), bool)

    def put(self, number: int, flag: bool) -> bool:
        """Whether it was another before."""
        if number >= len(self._flags):
            self._flags = np.concatenate((self._flags, np.zeros(max(number, len(self._flags)), bool)))
        before = bool(self._flags[number])
        self._flags[number] = flag
        return before != flag

    def of(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Numbers beyond the last that was put are asked about as well."""
        if len(numbers) and int(numbers.max()) >= len(self._flags):
            self.put(int(numbers.max()), False)
        return self._flags[numbers]
