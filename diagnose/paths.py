"""How strongly a fault of one entity shows on another, and along which way: the strongest path, found from the symptom.

The search walks from where a symptom was seen against the direction of faults. Each relation lets a share of a fault
through (the ontology's `strength`, only for the symptoms that travel there), each further step loses a little more.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from graph_schema.model import Relation, Subgraph
from graph_schema.ontology import End, Ontology

PER_STEP = 0.97
"""What each step leaves of the strength besides the relation's own share."""
WEAKEST = 0.02
"""Paths weaker than this are not followed."""
OWN = frozenset({"OWNS", "SELECTS"})
"""Relations between a thing and its own parts and face: a symptom at the other end is the thing's own symptom."""


class Reach(msgspec.Struct, frozen=True):
    """The strongest way from a cause to where a symptom was seen: entity ids, the cause first."""

    strength: float
    path: tuple[str, ...]
    own: bool
    """Whether the symptom was seen on a part or on the face of the cause."""


class Paths:
    """The relations of a piece of the graph, ready to be walked both ways."""

    def __init__(self, piece: Subgraph, ontology: Ontology) -> None:
        self._ontology = ontology
        self._by_source: dict[str, list[Relation]] = defaultdict(list)
        self._by_target: dict[str, list[Relation]] = defaultdict(list)
        for relation in sorted(piece.relations, key=lambda each: (each.source, each.kind, each.target)):
            self._by_source[relation.source].append(relation)
            self._by_target[relation.target].append(relation)

    def to(self, entity: str, symptom: str, hops: int) -> dict[str, Reach]:
        """Every entity whose fault may show as this symptom on `entity`, with its strongest way."""
        return self._search(entity, symptom, hops, backwards=True)

    def of(self, entity: str, symptom: str, hops: int) -> dict[str, Reach]:
        """Every entity on which a fault of `entity` may show as this symptom."""
        return self._search(entity, symptom, hops, backwards=False)

    def _search(self, start: str, symptom: str, hops: int, *, backwards: bool) -> dict[str, Reach]:
        best: dict[str, Reach] = {}
        seen: set[tuple[str, frozenset[str]]] = set()
        heap: list[tuple[float, int, tuple[str, ...], bool, frozenset[str]]] = [(-1.0, 0, (start,), True, frozenset())]
        while heap:
            negative, steps, path, own, turned = heapq.heappop(heap)
            here = path[-1]
            if (here, turned) in seen:
                continue
            seen.add((here, turned))
            if here not in best:
                best[here] = Reach(-negative, path[::-1] if backwards else path, own)
            if steps == hops:
                continue
            for relation, end in self._steps(here, backwards):
                kind = self._ontology.relation(relation.kind)
                # From a part to its whole and down again to a sibling is no way of a fault, nor from callee to callee.
                wrong_turn = relation.kind in turned and end == ("target" if backwards else "source")
                if wrong_turn or (end in kind.only and symptom not in kind.only[end]):
                    continue
                strength = -negative * kind.strength[end] * PER_STEP
                other = relation.target if (end == "target") == backwards else relation.source
                if strength < WEAKEST or other in path:
                    continue
                after = turned | {relation.kind} if end == ("source" if backwards else "target") else turned
                heapq.heappush(heap, (-strength, steps + 1, (*path, other), own and relation.kind in OWN, after))
        return best

    def _steps(self, entity: str, backwards: bool) -> Iterable[tuple[Relation, End]]:
        """Relations to walk and the end of each that is the cause."""
        at_source: End = "target" if backwards else "source"
        at_target: End = "source" if backwards else "target"
        for relation in self._by_source[entity]:
            if at_source in self._ontology.relation(relation.kind).strength:
                yield relation, at_source
        for relation in self._by_target[entity]:
            if at_target in self._ontology.relation(relation.kind).strength:
                yield relation, at_target
