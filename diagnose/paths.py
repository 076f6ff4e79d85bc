"""How strongly a sickness of one entity shows on another, and by which way: the strongest one, found from the symptom.

The search walks over (entity, mode) from where a symptom was seen against the direction in which sickness travels: each
relation turns modes into modes and lets a share through, each further step loses a little more. Dijkstra's algorithm on
products of shares; among equally strong ways the one of fewer steps, then of smaller identifiers, is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec
import numpy as np

from diagnose.arrays import NOBODY, Floats, Ints, spread
from diagnose.compiled import BUILT
from diagnose.moves import Moves
from diagnose.rules import SELF
from diagnose.search import Offers, Search, Ways
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
"""The entities that a way takes, the cause first (their numbers in `Moves`)."""
FIRST_TRIED = 0.4
"""In storms a search is tried first without what is weaker than this,"""
TRIED_NEXT = 0.6
"""and if too little was found, again without what is weaker than this much of that."""


def hops_around(signals: int, most: int) -> int:
    """How many steps around so many signals the piece of the graph should reach, `most` being wanted for few."""
    return most if signals < STORM else min(most, STORM_HOPS)


class Found(msgspec.Struct, frozen=True, eq=False):
    """The strongest ways to where a symptom was seen, the strongest first."""

    places: Ints
    """Place of (entity, mode) that each is from."""
    strengths: Floats
    ways: Ways

    def strength(self, place: int) -> float:
        """How strong the way from this place is; 0 when there is none."""
        return float(self.strengths[self.places == place].max(initial=0.0))

    def way(self, number: int) -> Way:
        """The entities that one takes, the cause first."""
        row: list[int] = self.ways[number].tolist()
        return tuple(row[: row.index(NOBODY)] if NOBODY in row else row)


class Shows(msgspec.Struct, frozen=True):
    """Where sick things show, all that were asked about in one: of each the strongest first."""

    asked: Ints
    """The number of the question,"""
    place: Ints
    """what shows: place of (entity, mode),"""
    strength: Floats


class Paths:
    """The ways through a piece of the graph. Answers are kept: asking again costs nothing."""

    def __init__(
        self, piece: Subgraph, ontology: Ontology, wiring: Wiring, hops: int, searches: int = 1, compiled: bool = BUILT
    ) -> None:  # fmt: skip
        self._most = max(LEAST_STATES, min(MOST_STATES, ALL_STATES // max(1, searches)))
        self._entities, self._ontology, self._wiring, self._hops = piece.entities, ontology, wiring, hops
        self._compiled = compiled
        self.moves = Moves(piece, ontology, wiring)
        self._found: dict[tuple[str, str], Found] = {}

    def to(self, entity: str, symptom: str) -> Found:
        """Every (entity, mode), by its place, that may show as this symptom on `entity`.

        The modes `self` and `beside` stand for an own symptom of the entity and for one of what rests on it.
        """
        return self.to_all([(entity, symptom)])[0]

    def to_all(self, wanted: Sequence[tuple[str, str]]) -> list[Found]:
        """The same for many (entity, symptom)."""
        new = [each for each in dict.fromkeys(wanted) if each not in self._found]
        search = Search(self.moves.back, self.moves.span, self._hops, self._most, self._compiled)
        size = search.at_once
        # What is found has much the same strength for all signals of a storm: what is weaker need not be offered. The
        # compiled search knows by itself what it need not wait for.
        tried = FIRST_TRIED if self._most == LEAST_STATES and not search.compiled else WEAKEST
        for start in range(0, len(new), size):
            left = new[start : start + size]
            begun = weakest = tried
            while left:
                again: list[tuple[str, str]] = []
                for key, (found, complete) in zip(left, self._search(search, left, weakest), strict=True):
                    if complete or weakest <= WEAKEST:
                        self._found[key] = found
                    else:
                        again.append(key)
                if weakest == begun and 2 * len(again) > len(left):
                    # What most of these have too little of, most of the next ones will, too.
                    tried = max(WEAKEST, tried * TRIED_NEXT)
                left = again
                weakest = max(WEAKEST, weakest * TRIED_NEXT)
        return [self._found[each] for each in wanted]

    def _search(self, search: Search, wanted: Sequence[tuple[str, str]], weakest: float) -> list[tuple[Found, bool]]:
        """(what is found of each, whether as much as is looked for)."""
        starts, onward = self._starts(wanted)
        many = len(wanted)
        settled = search.run(starts, many, np.full(many, weakest), onward)
        # What it began with may be weaker than what was left out, and does not count.
        count = np.bincount(settled.search[settled.strength >= weakest], minlength=many)
        once = settled.once
        place, strengths, ways = settled.state[once] >> 1, settled.strength[once], settled.ways[once]
        at = np.searchsorted(settled.search[once], np.arange(many + 1)).tolist()
        return [
            (Found(place[begin:end], strengths[begin:end], ways[begin:end]), size >= self._most)
            for begin, end, size in zip(at, at[1:], count.tolist(), strict=False)
        ]

    def _starts(self, wanted: Sequence[tuple[str, str]]) -> tuple[Offers, Ints]:
        """What shows as this symptom there at once, for each of these, and what the way of each start goes on to."""
        number, base, steps, onward, shape = [], [], [], [], []
        shapes: dict[tuple[str, str, float], int] = {}
        tables: list[list[tuple[float, int]]] = []

        def start(place: int, entity: str, symptom: str, factor: float, end: int) -> None:
            key = self._entities[entity].kind, symptom, factor
            if key not in shapes:
                shapes[key] = len(tables)
                tables.append([(factor * share, turn) for share, turn in self._shown(key[0], symptom)])
            number.append(place)
            base.append(self.moves.number[entity])
            steps.append(0 if end == NOBODY else 1)
            onward.append(end)
            shape.append(shapes[key])

        for place, (entity, symptom) in enumerate(wanted):
            start(place, entity, symptom, 1.0, NOBODY)
            if symptom in ASKED and self._ontology.workload(self._entities[entity].kind):
                for face in self._wiring.faces(entity)[:1]:
                    start(place, face, symptom, FACE, base[-1])
        count = np.array([len(table) for table in tables], int)
        strength, turn = (np.array(column) for column in zip(*chain.from_iterable(tables), strict=True))
        which, row = spread((np.cumsum(count) - count)[shape], count[shape])
        # Only the thing itself shows its own symptom surely, not what stands before it.
        kept = np.flatnonzero((np.array(onward)[which] == NOBODY) | (turn[row] != 2 * self.moves.mode[SELF]))
        which, row = which[kept], row[kept]
        states = np.array(base)[which] * self.moves.span + turn[row]
        nothing = np.full(len(which), NOBODY)
        starts = Offers(
            np.array(number)[which], states, strength[row], np.array(steps)[which], np.arange(len(which)), nothing
        )
        return starts, np.array(onward)[which]

    def _shown(self, kind: str, symptom: str) -> Iterable[tuple[float, int]]:
        """(share, place in the span) of each mode in which such a thing shows this symptom, itself first."""
        yield 1.0, 2 * self.moves.mode[SELF]
        for mode, row in self._ontology.shown(kind).items():
            if symptom in row:
                yield row[symptom], 2 * self.moves.mode[mode]

    def place(self, entity: str, mode: str) -> int:
        """Where the ways of an entity in a mode are in what is found."""
        return self.moves.number[entity] * len(self.moves.modes) + self.moves.mode[mode]

    def of(self, sick: Sequence[tuple[str, str, float]]) -> Shows:
        """Where each of these (entity, mode, the weakest that counts) shows."""
        search = Search(self.moves.forth, self.moves.span, self._hops, self._most, self._compiled)
        size = search.at_once
        parts = [Shows(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
        for start in range(0, len(sick), size):
            asked = sick[start : start + size]
            many = len(asked)
            state = np.array([2 * self.place(entity, mode) for entity, mode, _ in asked])
            nothing, none = np.zeros(many, int), np.full(many, NOBODY)
            starts = Offers(np.arange(many), state, np.ones(many), nothing, none, none)
            settled = search.run(starts, many, np.array([weakest for _, _, weakest in asked]), None)
            once = settled.once
            parts.append(Shows(start + settled.search[once], settled.state[once] >> 1, settled.strength[once]))
        return Shows(*[np.concatenate([getattr(each, name) for each in parts]) for name in Shows.__struct_fields__])
