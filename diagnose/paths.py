"""How strongly a sickness of one entity shows on another, and by which way: the strongest one, found from the symptom.

The search walks over (entity, mode) from where a symptom was seen against the direction in which sickness travels: each
relation turns modes into modes and lets a share through, each further step loses a little more. Dijkstra's algorithm on
products of shares; among equally strong ways the one of fewer steps, then of smaller identifiers, is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

import msgspec

from diagnose.moves import Moves
from diagnose.rules import SELF
from diagnose.wiring import Wiring
from graph_schema.model import Subgraph
from graph_schema.ontology import Ontology

WEAKEST = 0.05
"""Ways weaker than this are not followed."""
MOST_STATES, LEAST_STATES, ALL_STATES = 2000, 100, 10_000
"""A search ends after this many (entity, mode), in storms after fewer, so many in all: what is left is the weakest."""

STORM, STORM_HOPS = 30, 3
"""From so many signals on, searches end so near that what is further away than this changes nothing that is named."""

ASKED = frozenset({"errors", "latency", "unavailable", "traffic_drop", "traffic_surge"})
"""Symptoms of how requests fare: told of a workload they are those of the Service before it, and the reverse."""
FACE = 0.97
Way = tuple[int, ...]
"""The entities that a way takes, the cause first (their bases in `Moves`)."""
TRIED_FIRST = 0.8
"""A search is tried first without what is weaker than this much of the weakest that counted in the search before."""
TRIED_NEXT = 0.7
"""And if too little was found, again without what is weaker than this much of that."""
SETTLED = -math.inf
"""Stands for the strength of what is settled: nothing is stronger."""


def hops_around(signals: int, most: int) -> int:
    """How many steps around so many signals the piece of the graph should reach, `most` being wanted for few."""
    return most if signals < STORM else min(most, STORM_HOPS)


class Found(msgspec.Struct, frozen=True):
    """The strongest ways to where a symptom was seen, the strongest first."""

    ways: dict[int, Way]
    """Place of (entity, mode) → way from there."""
    strengths: list[float]
    """Of each of the ways."""

    def strength(self, place: int) -> float:
        """How strong the way from this place is; 0 when there is none."""
        return dict(zip(self.ways, self.strengths, strict=True)).get(place, 0.0)


class Paths:
    """The ways through a piece of the graph. Answers are kept: asking again costs nothing."""

    def __init__(self, piece: Subgraph, ontology: Ontology, wiring: Wiring, hops: int, searches: int = 1) -> None:
        self._most = max(LEAST_STATES, min(MOST_STATES, ALL_STATES // max(1, searches)))
        self._entities, self._ontology, self._wiring, self._hops = piece.entities, ontology, wiring, hops
        self.moves = Moves(piece, ontology, wiring)
        self._usual = WEAKEST
        self._found: dict[tuple[str, str], Found] = {}

    def to(self, entity: str, symptom: str) -> Found:
        """Every (entity, mode), by its place, that may show as this symptom on `entity`.

        The modes `self` and `beside` stand for an own symptom of the entity and for one of what rests on it.
        """
        if (entity, symptom) not in self._found:
            end, mode = self.moves.base[entity], self.moves.mode
            starts: list[Start] = [(1.0, 0, end + 2 * mode[SELF], (), ())]
            for name, strength in self._modes(entity, symptom):
                starts.append((strength, 0, end + 2 * mode[name], (), ()))
            if symptom in ASKED and self._ontology.workload(self._entities[entity].kind):
                for face in self._wiring.faces(entity)[:1]:
                    base = self.moves.base[face]
                    starts += [
                        (FACE * strength, 1, base + 2 * mode[name], (), (end,))
                        for name, strength in self._modes(face, symptom)
                    ]
            self._found[entity, symptom] = self._search(starts)
        return self._found[entity, symptom]

    def place(self, entity: str, mode: str) -> int:
        """Where the ways of an entity in a mode are in what is found."""
        return self.moves.base[entity] // 2 + self.moves.mode[mode]

    def _modes(self, entity: str, symptom: str) -> Iterable[tuple[str, float]]:
        shown = self._ontology.shown(self._entities[entity].kind)
        return ((mode, row[symptom]) for mode, row in shown.items() if symptom in row)

    def of(self, entity: str, mode: str, weakest: float) -> dict[int, float]:
        """Where an entity in this mode shows: place of (entity, mode) → strength, down to `weakest`."""
        first = self.moves.base[entity] + 2 * self.moves.mode[mode]
        best: dict[int, float] = {}
        offered = {first: -1.0}
        known, push, pop, hops = offered.get, heappush, heappop, self._hops
        span, most, known_targets = self.moves.span, self.moves.most_forth, self.moves.effects.get
        heap = [(-1.0, 0, first)]
        left = self._most
        while heap and left:
            strength, steps, state = pop(heap)
            if offered[state] == SETTLED:
                continue
            left -= 1
            offered[state] = SETTLED
            if state >> 1 not in best:
                best[state >> 1] = -strength
            enough = weakest / -strength
            number, turn = divmod(state, span)
            if steps == hops or most[turn >> 1] < enough:
                continue
            targets, _, patterns = known_targets(number) or self.moves.forth(number)
            for share, place, offset, more in patterns[turn] or self.moves.pattern(patterns, turn):
                if share < enough:
                    break
                arrived = strength * share
                for base in targets[place]:
                    if arrived < known(base + offset, 0.0):
                        offered[base + offset] = arrived
                        push(heap, (arrived, steps + more, base + offset))
        return best

    def _search(self, starts: Sequence[Start]) -> Found:
        """The strongest `most` states from which these can be reached, and those ways."""
        tried = self._usual
        found, weakest, complete = self._settle(starts, tried)
        while not complete and tried > WEAKEST:
            tried = max(WEAKEST, tried * TRIED_NEXT)
            found, weakest, complete = self._settle(starts, tried)
        # The weakest that counted is much the same for all signals of an incident; what is weaker need not be offered.
        self._usual = max(WEAKEST, weakest * TRIED_FIRST) if complete else WEAKEST
        return found

    def _settle(self, starts: Sequence[Start], weakest: float) -> tuple[Found, float, bool]:
        """(what is found, the weakest strength of it, whether there are as many as are looked for)."""
        ways: dict[int, Way] = {}
        strengths: list[float] = []
        hops, push, pop = self._hops, heappush, heappop
        span, most, known_targets = self.moves.span, self.moves.most_back, self.moves.causes.get
        # Strengths are negative here, as the heap has the least on top.
        offered = {state: -strength for strength, _, state, _, _ in starts}
        known = offered.get
        # The number of the offer comes before the way, so that ways are never compared.
        heap = [
            (-strength, steps, state, number, via, onward)
            for number, (strength, steps, state, via, onward) in enumerate(starts)
        ]
        heapify(heap)
        count, left, strength = len(heap), self._most, 0.0
        while heap and left:
            strength, steps, state, _, via, onward = pop(heap)
            if offered[state] == SETTLED:
                continue
            left -= 1
            offered[state] = SETTLED
            number, turn = divmod(state, span)
            way = (state - turn, *via, *onward)
            if state >> 1 not in ways:
                ways[state >> 1] = way
                strengths.append(-strength)
            enough = weakest / -strength
            if steps >= hops or most[turn >> 1] < enough:
                continue
            targets, between, patterns = known_targets(number) or self.moves.back(number)
            for share, place, offset, more in patterns[turn] or self.moves.pattern(patterns, turn):
                if share < enough:
                    break
                arrived = strength * share
                for base in targets[place]:
                    before = base + offset
                    if arrived <= known(before, 0.0) and base not in way:
                        offered[before] = arrived
                        count += 1
                        push(heap, (arrived, steps + more, before, count, between[place], way))
        return Found(ways, strengths), -strength, not left and -strength >= weakest


Start = tuple[float, int, int, tuple[int, ...], tuple[int, ...]]
"""(strength, steps, state, what lies between, the rest of the way)"""

__all__ = ["ASKED", "Found", "Paths", "Way", "hops_around"]
