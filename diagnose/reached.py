"""What reaches what, as arrays: the signals of an incident as columns, and from where each may have come.

A row of weights has one column for each unit, in the order of their keys, so that those of one entity lie side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from diagnose.arrays import Floats, Ints, begins, spread
from diagnose.evidence import Unit
from diagnose.paths import Paths, Way

FEW = 6
"""Units of one entity that are sorted by exchanges."""
MOST_CELLS = 2_000_000
"""Weights that are worked on at once: more would cost memory and gain no time."""


class Columns:
    """The units of an incident side by side."""

    def __init__(self, units: Sequence[Unit], storm: float = 1e15) -> None:
        self._storm = storm
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
        together: dict[int, list[list[int]]] = {}
        for _, found in groupby(range(len(self.units)), lambda number: self.units[number].entity):
            places = list(found)
            together.setdefault(len(places), []).append(places)
        self._together = [np.array(places, int) for places in together.values()]
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
        found = 1 - weights
        # In place: in a storm of thousands of alerts new arrays for each operation cost more than the operations.
        found *= 1 - seen
        np.subtract(1, found, out=found)
        found /= seen
        gains: Floats = np.log(found, out=found)
        return gains

    def gained(self, weights: Floats, seen: Floats, same_entity: float) -> Floats:
        """The sum of the gains of each row, further symptoms of one entity counting less and less: sums of sorted
        numbers, so one more never lowers them.

        Symptoms of one storm are no independent witnesses: a strength that is a little wrong is wrong for all of
        them. So a sum above `storm` grows as its logarithm does (as under a strength with a gamma law).
        """
        gains = self.gains(weights, seen)
        total = np.zeros(len(weights))
        for places in self._together:
            size = places.shape[1]
            if size == 2:
                # As below, many times as fast.
                one, other = gains[:, places[:, 0]], gains[:, places[:, 1]]
                total += (np.maximum(one, other) + same_entity * np.minimum(one, other)).sum(axis=1)
                continue
            if size <= FEW:
                total += _falling(gains, places, same_entity)
                continue
            found = np.sort(gains[:, places], axis=2)
            total += (found @ same_entity ** np.arange(size - 1, -1, -1.0)).sum(axis=1)
        return self.tempered(total)

    def tempered(self, total: Floats) -> Floats:
        """What sums of gains come to in a storm; a larger sum never comes to less."""
        above = np.maximum(total / self._storm, 1.0)
        found: Floats = np.where(total > self._storm, self._storm * (1 + np.log(above)), total)
        return found

    def gained_by_entity(self, gains: Floats, same_entity: float) -> Floats:
        """The same sum of one row, for each entity by itself."""
        total = np.zeros(len(self.entities))
        for places in self._together:
            found = np.sort(gains[places], axis=1)
            total[self.entity[places[:, 0]]] = found @ same_entity ** np.arange(places.shape[1] - 1, -1, -1.0)
        return total


def _falling(gains: Floats, places: Ints, factor: float) -> Floats:
    """For each row of gains the sum over sets of few places, the largest of each set counting fully and each further
    one `factor` times as much: sorted by exchanges between whole columns, since `numpy.sort` is slow on short rows."""
    columns = [gains[:, places[:, number]] for number in range(places.shape[1])]
    total = np.zeros(len(gains))
    weight = 1.0
    while columns:
        for number in range(len(columns) - 1):
            columns[number], columns[number + 1] = (
                np.minimum(columns[number], columns[number + 1]),
                np.maximum(columns[number], columns[number + 1]),
            )
        total += weight * columns.pop().sum(axis=1)
        weight *= factor
    return total


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
        order = np.argsort(at // modes, kind="stable")
        self.entity, self.mode = at[order] // modes, at[order] % modes
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
