"""How strongly a sickness of one entity shows on another, and by which way: the strongest one, found from the symptom.

The search walks over (entity, mode) from where a symptom was seen against the direction in which sickness travels: each
relation turns modes into modes and lets a share through, each further step loses a little more. Dijkstra's algorithm on
products of shares; among equally strong ways the one of fewer steps, then of smaller identifiers, is taken.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from diagnose.wiring import BESIDE, SELF, Wiring
from graph_schema.model import Subgraph
from graph_schema.ontology import Ontology

WEAKEST = 0.05
"""Ways weaker than this are not followed."""
MOST_STATES, LEAST_STATES, ALL_STATES = 2000, 100, 40_000
"""A search ends after this many (entity, mode), in storms after fewer, so many in all: what is left is the weakest."""

ASKED = frozenset({"errors", "latency", "unavailable", "traffic_drop", "traffic_surge"})
"""Symptoms of how requests fare: told of a workload they are those of the Service before it, and the reverse."""
FACE = 0.97
Key = tuple[str, str]
"""(entity, mode)"""


class _Back(msgspec.Struct, frozen=True):
    """One step of a way, linked towards where the search began."""

    entity: str
    via: tuple[str, ...]
    next: _Back | None


class Reach(msgspec.Struct, frozen=True):
    """The strongest way from a cause in a mode to where a symptom was seen."""

    strength: float
    hops: int
    way: _Back
    before: Reach | None = None
    """The way that this one goes on from, to where it begins."""

    @property
    def path(self) -> tuple[str, ...]:
        """Entity ids, the cause first."""
        found: list[str] = list(self.before.path[:-1]) if self.before else []
        step: _Back | None = self.way
        while step is not None:
            found += [step.entity, *step.via]
            step = step.next
        return tuple(found)

    def after(self, first: Reach) -> Reach:
        """This way, gone after another one that ends where it begins."""
        return Reach(self.strength * first.strength, self.hops + first.hops, self.way, first)


class Paths:
    """The ways through a piece of the graph. Answers are kept: asking again costs nothing."""

    def __init__(self, piece: Subgraph, ontology: Ontology, wiring: Wiring, hops: int, searches: int = 1) -> None:
        self._most = max(LEAST_STATES, min(MOST_STATES, ALL_STATES // max(1, searches)))
        self._entities, self._ontology, self._wiring, self._hops = piece.entities, ontology, wiring, hops
        self._found: dict[Key, dict[Key, Reach]] = {}

    def to(self, entity: str, symptom: str) -> Mapping[Key, Reach]:
        """Every (entity, mode) that may show as this symptom on `entity`.

        The modes `self` and `beside` stand for an own symptom of the entity and for one of what rests on it.
        """
        if (entity, symptom) not in self._found:
            starts = [(entity, mode, strength) for mode, strength in self._modes(entity, symptom)]
            starts.append((entity, SELF, 1.0))
            if symptom in ASKED and self._ontology.workload(self._entities[entity].kind):
                for face in self._wiring.faces(entity)[:1]:
                    starts += [(face, mode, FACE * strength) for mode, strength in self._modes(face, symptom)]
            self._found[entity, symptom] = self._search(entity, starts)
        return self._found[entity, symptom]

    def _modes(self, entity: str, symptom: str) -> Iterable[tuple[str, float]]:
        shown = self._ontology.shown(self._entities[entity].kind)
        return ((mode, row[symptom]) for mode, row in shown.items() if symptom in row)

    def of(self, entity: str, effects: Mapping[str, float], weakest: float) -> dict[Key, tuple[float, int]]:
        """Where a fault with these effects shows: (entity, mode) → (strength, hops), down to `weakest`."""
        best: dict[Key, tuple[float, int]] = {}
        heap = [(-strength, 0, entity, mode, False) for mode, strength in effects.items() if strength >= weakest]
        heapq.heapify(heap)
        seen: set[tuple[str, str, bool]] = set()
        offered: dict[tuple[str, str, bool], float] = {}
        while heap and len(seen) < self._most:
            negative, steps, here, mode, up = heapq.heappop(heap)
            if (here, mode, up) in seen:
                continue
            seen.add((here, mode, up))
            best.setdefault((here, mode), (-negative, steps))
            if steps == self._hops:
                continue
            for other, out, share, whole_to_part, part_to_whole, via in self._wiring.forth(here, mode):
                strength = -negative * share
                if strength < weakest:
                    break
                if up and whole_to_part:
                    continue
                if strength > offered.get((other, out, part_to_whole), 0.0):
                    offered[other, out, part_to_whole] = strength
                    heapq.heappush(heap, (-strength, steps + 1 + len(via), other, out, part_to_whole))
        return best

    def _search(self, start: str, starts: Sequence[tuple[str, str, float]]) -> dict[Key, Reach]:
        best: dict[Key, Reach] = {}
        seen: set[tuple[str, str, bool]] = set()
        offered: dict[tuple[str, str, bool], float] = {}
        heap: list[tuple[float, int, str, str, bool, int, _Back]] = []
        count = 0
        end = _Back(start, (), None)
        for entity, mode, strength in sorted(starts):
            way = end if entity == start else _Back(entity, (), end)
            heap.append((-strength, int(entity != start), entity, mode, False, count, way))
            count += 1
        heapq.heapify(heap)
        while heap and len(seen) < self._most:
            negative, steps, here, mode, down, _, way = heapq.heappop(heap)
            if (here, mode, down) in seen:
                continue
            seen.add((here, mode, down))
            if (here, mode) not in best:
                best[here, mode] = Reach(-negative, steps, way)
            if steps >= self._hops:
                continue
            for other, before, share, whole_to_part, part_to_whole, via in self._wiring.back(here, mode):
                arrived = -negative * share
                if arrived < WEAKEST:
                    break
                # From a part to its whole and down again to another part is no way of a fault.
                if down and part_to_whole:
                    continue
                state = (other, before, whole_to_part)
                if arrived < offered.get(state, 0.0) or state in seen or _passes(way, other):
                    continue
                offered[state] = arrived
                count += 1
                step = _Back(other, via, way)
                heapq.heappush(heap, (-arrived, steps + 1 + len(via), other, before, whole_to_part, count, step))
        return best


def _passes(way: _Back | None, entity: str) -> bool:
    while way is not None:
        if way.entity == entity or entity in way.via:
            return True
        way = way.next
    return False


__all__ = ["BESIDE", "SELF", "Paths", "Reach"]
