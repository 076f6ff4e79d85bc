"""What reaches what, as arrays: the signals of an incident as columns, and from where each may have come.

A row of weights has one column for each unit, in the order of their keys, so that those of one entity lie side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from diagnose.arrays import NOBODY, Floats, Ints, begins, spread
from diagnose.compiled import BUILT
from diagnose.evidence import Unit
from diagnose.paths import Paths, Way
from diagnose.search import MOST_SHORT

FEW = 6
"""Units of one entity that are sorted by exchanges."""
LANES = 16
"""So many numbers are multiplied before a logarithm is taken: few enough that no leak above 1e-19 makes it infinite."""
MOST_CELLS = 2_000_000
"""Weights that are worked on at once: more would cost memory and gain no time."""


class Columns:
    """The units of an incident side by side."""

    def __init__(self, units: Sequence[Unit], storm: float = 1e15, compiled: bool = BUILT) -> None:
        self._storm, self._compiled = storm, compiled
        self.units = sorted(units, key=lambda unit: unit.key)
        begun = {unit.key: place for place, unit in enumerate(units)}
        self.begun = [begun[unit.key] for unit in self.units]
        """The place of each in the order in which they began, which `units` are in."""
        self.number = {unit.key: number for number, unit in enumerate(self.units)}
        self.confidence = np.array([unit.confidence for unit in self.units], float)
        self.leak = np.array([unit.leak for unit in self.units], float)
        """How probable each is without any cause: where noisy-OR begins."""
        symptoms = sorted({unit.symptom for unit in self.units})
        self.symptoms = {symptom: number for number, symptom in enumerate(symptoms)}
        self.symptom = np.array([self.symptoms[unit.symptom] for unit in self.units], int)
        self._sets = Sets([list(found) for _, found in groupby(range(len(units)), lambda at: self.units[at].entity)])
        self.entities = sorted({unit.entity for unit in self.units})
        """Those that complain, in order."""
        numbers = {entity: number for number, entity in enumerate(self.entities)}
        self.entity = np.array([numbers[unit.entity] for unit in self.units], int)
        """Of each unit the number of its entity."""

    def __len__(self) -> int:
        return len(self.units)

    def gains(self, weights: Floats, seen: Floats) -> Floats:
        """How much each cause raises the log-probability of each unit. `seen`: how probable each unit is by leak and
        the causes taken already (noisy-OR). `weights` and the result have one row for each cause."""
        found: Floats = np.log(1 + weights * _odds_against(seen))
        return found

    def gained(self, weights: Floats, seen: Floats, same_entity: float, rows: Ints | None = None) -> Floats:
        """The sum of the gains of each row (or of these ones, in this order), further symptoms of one
        entity counting less and less: sums of sorted numbers, so one more never lowers them.

        Symptoms of one storm are no independent witnesses: a strength that is a little wrong is wrong for all of
        them. So a sum above `storm` grows as its logarithm does (as under a strength with a gamma law).
        """
        # The logarithm of a product is taken for the sum of many logarithms.
        rows = np.arange(len(weights)) if rows is None else rows
        total = np.log(self._sets.products(weights, rows, _odds_against(seen), self._compiled))
        total *= same_entity**self._sets.rank
        return self.tempered(total.sum(axis=1))

    def tempered(self, total: Floats) -> Floats:
        """What sums of gains come to in a storm; a larger sum never comes to less."""
        above = np.maximum(total / self._storm, 1.0)
        found: Floats = np.where(total > self._storm, self._storm * (1 + np.log(above)), total)
        return found

    def gained_by_entity(self, gains: Floats, same_entity: float) -> Floats:
        """The same sum of one row, for each entity by itself."""
        order = np.lexsort((-gains, self.entity))
        place = np.arange(len(order)) - np.searchsorted(self.entity, self.entity)
        return np.bincount(self.entity, gains[order] * same_entity**place, len(self.entities)).astype(float)


def _odds_against(seen: Floats) -> Floats:
    """A unit is 1 + weight * this times as probable under a further cause (noisy-OR)."""
    found: Floats = (1 - seen) / seen
    return found


class Sets:
    """Units by the entities that they are of, in blocks of `LANES` entities that have equally many."""

    def __init__(self, together: Sequence[Sequence[int]]) -> None:
        by_size: dict[int, list[Sequence[int]]] = {}
        for places in together:
            by_size.setdefault(len(places), []).append(places)
        self._sizes = np.array(sorted(by_size), int)
        self._blocks = np.array([-(-len(by_size[size]) // LANES) for size in self._sizes.tolist()], int)
        units = [np.zeros(0, int)]
        for size, blocks in zip(self._sizes.tolist(), self._blocks.tolist(), strict=True):
            padded = np.full((blocks * LANES, size), NOBODY)
            padded[: len(by_size[size])] = by_size[size]
            units.append(padded.reshape(blocks, LANES, size).transpose(0, 2, 1).ravel())
        self._units = np.concatenate(units)
        self._nobody = self._units == NOBODY
        self._units[self._nobody] = 0
        ranks = [np.tile(np.arange(size), blocks) for size, blocks in zip(self._sizes, self._blocks, strict=True)]
        self.rank = np.concatenate([np.zeros(0, int), *ranks])
        """Of each product how many units of an entity are above those in it."""

    def products(self, weights: Floats, rows: Ints, odds: Floats, compiled: bool) -> Floats:
        """For each of these rows and each block the product of 1 + weight * odds of the largest of each entity of the
        block, then of the second largest, and so on."""
        odds = np.where(self._nobody, 0.0, odds[self._units])
        if compiled:
            from diagnose.loops.weights import products

            return products(weights, rows, odds, self._units, self._sizes, self._blocks, len(self.rank))
        times = weights[rows[:, None], self._units]
        times *= odds
        times += 1
        found, begun = [], 0
        for size, blocks in zip(self._sizes.tolist(), self._blocks.tolist(), strict=True):
            part = times[:, begun : begun + blocks * size * LANES].reshape(len(rows), blocks, size, LANES)
            begun += blocks * size * LANES
            found.append(_multiplied(_falling(part)).reshape(len(rows), blocks * size))
        return np.concatenate([np.zeros((len(rows), 0)), *found], axis=1)


def _falling(times: Floats) -> Floats:
    """In the last axis but one sorted, the largest first."""
    size = times.shape[2]
    if size > FEW:
        return np.sort(times, axis=2)[:, :, ::-1]
    # By exchanges between whole columns, since `numpy.sort` is slow on short rows.
    for top in range(size - 1):
        for place in range(size - 1, top, -1):
            one, other = times[:, :, place - 1], times[:, :, place]
            times[:, :, place - 1], times[:, :, place] = np.maximum(one, other), np.minimum(one, other)
    return times


def _multiplied(times: Floats) -> Floats:
    """The products along the last axis, one half times the other."""
    half = times.shape[-1]
    while half > 1:
        half //= 2
        times = times[..., :half] * times[..., half:]
    return times[..., 0]


class Reached:
    """For every entity that may have brought a unit about: in which mode, which unit, how strongly, by which way."""

    def __init__(self, columns: Columns, paths: Paths) -> None:
        found = paths.to_all([each.key for each in columns.units])
        at = np.concatenate([np.zeros(0, int), *(each.places for each in found)])
        strength = np.concatenate([np.zeros(0), *(each.strengths for each in found)])
        count = np.array([len(each.places) for each in found], int)
        unit = np.repeat(np.arange(len(found)), count)
        self._found, self._begins = found, np.cumsum(count) - count
        self._ways: dict[int, Way] = {}
        modes = len(paths.moves.modes)
        entity = at // modes
        # Short numbers are sorted by their digits, which takes a fraction of the time.
        short = len(paths.moves.entities) <= MOST_SHORT
        order = np.argsort(entity.astype(np.uint16) if short else entity, kind="stable")
        self.entity = entity[order]
        self.mode = at[order] - modes * self.entity
        self.unit, self.strength = unit[order], strength[order]
        self.met = order
        """In which order they were found."""
        first = begins(self.entity)
        self.count = np.diff(np.append(first, len(at)))
        """Of each entity that is there, how many (mode, unit) it reaches,"""
        self.first = first
        """and where they begin."""
        self.names = [paths.moves.entities[number] for number in self.entity[first].tolist()]

    def way(self, place: int) -> Way:
        found = self._ways.get(place)
        if found is None:
            unit = int(self.unit[place])
            found = self._ways[place] = self._found[unit].way(int(self.met[place] - self._begins[unit]))
        return found

    def of(self, row: int) -> Iterator[tuple[int, int, int]]:
        """(place, unit, mode) of everything that an entity reaches."""
        start = int(self.first[row])
        stop = start + int(self.count[row])
        places = range(start, stop)
        return zip(places, self.unit[start:stop].tolist(), self.mode[start:stop].tolist(), strict=True)

    def spread(self, rows: Ints) -> tuple[Ints, Ints]:
        """(number of the row, place) of everything that the entities of these rows reach, row after row."""
        return spread(self.first[rows], self.count[rows])


def tables(rows: Sequence[Mapping[str, float]], names: Mapping[str, int]) -> Floats:
    """One row for each mapping, one column for each name; names that nobody asks for are left out."""
    found = np.zeros((len(rows), len(names)))
    for number, row in enumerate(rows):
        for name, value in row.items():
            place = names.get(name)
            if place is not None:
                found[number, place] = value
    return found
