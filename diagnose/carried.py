"""What explains a symptom explains what that symptom brings about elsewhere: seen between, it is certain.

Without this a cause would be charged for every hop anew for each of many alerts that have one way in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import msgspec
import numpy as np

from diagnose.arrays import NOBODY, Bits, Flags, Floats, Ints, Words, begins, spread
from diagnose.compiled import BUILT
from diagnose.paths import Paths, Way
from diagnose.reached import MOST_CELLS, Columns, Reached, tables
from diagnose.rules import SELF
from diagnose.search import MOST_SHORT
from graph_schema.model import Entity
from graph_schema.ontology import Ontology

SURER = 1.2
"""By how much one direction must be surer than the other to count."""
Named = tuple[str, ...]
"""The entities that a way takes, the cause first."""
LEAST_MORE = 1e-9
"""A weight is raised only by more than this, or circles would never end."""


class Level(msgspec.Struct, frozen=True):
    """Steps that can be taken at once: whatever raises their first ends comes before them, but for circles."""

    earlier: Ints
    """First end of each step, in order of the other end."""
    begins: Ints
    """Where the steps to each of `onward` begin."""
    onward: Ints
    shares: Floats
    """As a column."""


class Carried:
    """Which other units a unit may have brought about, how surely, and by which way.

    Only in the direction in which it is surer; two symptoms of one thing and its parts bring about neither. `first`,
    `then`, `share` are unit, unit that it carries on to, and how surely, in order.
    `explained`: the weight from which on a unit is taken to be explained, and carries all that it can.
    """

    def __init__(
        self, columns: Columns, reached: Reached, paths: Paths, entities: Mapping[str, Entity], ontology: Ontology,
        explained: float, compiled: bool = BUILT,
    ) -> None:  # fmt: skip
        self._explained, self._reached, self._compiled = explained, reached, compiled
        self._size = len(columns)
        self.first, self.then, self.share, self._place = _leads(columns, reached, paths, entities, ontology)
        self._begins = np.searchsorted(self.first, np.arange(self._size + 1))
        self.levels = _levels(self._size, *self._needed())
        self._entity, self._entities = columns.entity, len(columns.entities)
        self._names: Callable[[Way], Named] = paths.moves.names

    def on(self, weights: Floats) -> None:
        """Raise each row of weights by what its units carry on, until nothing changes."""
        # What is carried on depends on what is not quite explained only: for most faults of an entity it is the same.
        kinds: dict[bytes, int] = {}
        row, unit = np.nonzero(weights)
        ends = np.searchsorted(row, np.arange(len(weights) + 1)).tolist()
        held = np.column_stack([unit, np.minimum(weights[row, unit], self._explained).view(int)])
        of = [kinds.setdefault(held[begin:end].tobytes(), len(kinds)) for begin, end in pairwise(ends)]
        first = dict(zip(reversed(of), range(len(of) - 1, -1, -1), strict=True))
        rows = np.minimum(weights[[first[kind] for kind in range(len(kinds))]], self._explained)
        if self._compiled:
            from diagnose.loops.weights import carry

            carry(rows, *self._steps, self._explained, LEAST_MORE)
        else:
            self._carry(rows)
        for row, kind in zip(weights, of, strict=True):
            np.maximum(row, rows[kind], out=row)

    @cached_property
    def _steps(self) -> tuple[Ints, Ints, Ints, Ints, Floats]:
        """The levels one after the other: where each ends in the units that are carried on to, these units, where the
        steps to each of them begin (and the last one's end), and of each step the other end and its share."""
        sizes = np.cumsum([len(level.earlier) for level in self.levels])
        starts = [level.begins + size - len(level.earlier) for level, size in zip(self.levels, sizes, strict=True)]
        nothing = np.zeros(0, int)
        return (
            np.cumsum([len(level.onward) for level in self.levels], dtype=int),
            np.concatenate([nothing, *(level.onward for level in self.levels)]),
            np.concatenate([nothing, *starts, sizes[-1:].astype(int) if self.levels else [0]]),
            np.concatenate([nothing, *(level.earlier for level in self.levels)]),
            np.concatenate([np.zeros(0), *(level.shares[:, 0] for level in self.levels)]),
        )

    def _carry(self, given: Floats) -> None:
        rows = np.ascontiguousarray(given.T)
        waiting: Flags = np.any(rows, axis=1)
        while any(waiting[level.earlier].any() for level in self.levels):
            self._raise(rows, waiting)
        given[:] = rows.T

    def _raise(self, rows: Floats, waiting: Flags) -> None:
        """Take the steps from all units that wait, which are those that were raised since."""
        for level in self.levels:
            if not waiting[level.earlier].any():
                continue
            waiting[level.earlier] = False
            arrived = level.shares * np.minimum(1.0, rows[level.earlier] / self._explained)
            after = np.maximum.reduceat(arrived, level.begins, axis=0)
            before = rows[level.onward]
            better = after > before + LEAST_MORE
            raised = better.any(axis=1)
            if raised.any():
                rows[level.onward] = np.where(better, after, before)
                waiting[level.onward[raised]] = True

    def ways(self, weights: Floats, direct: Ints, wanted: Sequence[Sequence[int]]) -> list[dict[int, Named]]:
        """For each cause the ways by which it reaches those of the wanted units that it reaches at all.

        `direct`: the places in what is reached of those by which it reaches units straight, else `NOBODY`; the others
        are reached from these by the fewest steps, of as many the surest. `weights`: with what is carried on. Both have
        one row for each cause.
        """
        asked = [[unit for unit in units if row[unit] > 0] for row, units in zip(weights.tolist(), wanted, strict=True)]
        step = self._steps_taken(weights, direct, [(row, unit) for row, units in enumerate(asked) for unit in units])
        led = np.flatnonzero(step != NOBODY)
        come, place = np.full(len(step), NOBODY), np.full(len(step), NOBODY)
        come[led], place[led] = self.first[step[led]], self._place[step[led]]
        columns = [np.split(column, len(weights)) for column in (direct.ravel(), come, place)]
        rows = zip(asked, *columns, strict=True)
        named: dict[int, Named] = {}
        return [self._ways_of(units, named, *(column.tolist() for column in rest)) for units, *rest in rows]

    def _steps_taken(self, weights: Floats, direct: Ints, asked: Sequence[tuple[int, int]]) -> Ints:
        """For each cause and unit, as one number, the step that it is reached by; all causes go on side by side."""
        size, weight = self._size, weights.ravel()
        step = np.full(len(weight), NOBODY)
        if self._compiled:
            from diagnose.loops.weights import steps_taken

            row, unit = (np.array(column, int) for column in (zip(*asked, strict=True) if asked else ((), ())))
            steps_taken(
                weights, direct, self._begins, self.then, self.share, row, unit, self._explained,
                step.reshape(weights.shape),
            )  # fmt: skip
            return step
        front = np.flatnonzero(direct.ravel() != NOBODY)
        met = weight <= 0
        met[front] = True
        left = np.array([row * size + unit for row, unit in asked], int)
        while len(front) and not met[left].all():
            unit = front % size
            which, steps = spread(self._begins[unit], self._begins[unit + 1] - self._begins[unit])
            come = front[which]
            to = come - come % size + self.then[steps]
            new = np.flatnonzero(~met[to])
            come, steps, to = come[new], steps[new], to[new]
            arrived = self.share[steps] * np.minimum(1.0, weight[come] / self._explained)
            order = np.lexsort((-arrived, to))
            steps, to = steps[order], to[order]
            first = begins(to)
            front = to[first]
            step[front], met[front] = steps[first], True
        return step

    def _ways_of(
        self, asked: Sequence[int], named: dict[int, Named], direct: Sequence[int], come: Sequence[int],
        place: Sequence[int],
    ) -> dict[int, Named]:  # fmt: skip
        """The ways to these units. For each unit: the place of the way straight to it, or the unit that it is carried
        on from and the place of the way from there. `named`: the ways by their places, as far as they were asked for.
        """
        found: dict[int, Named] = {}

        def way(at: int) -> Named:
            known = named.get(at)
            if known is None:
                known = named[at] = self._names(self._reached.way(at))
            return known

        for unit in asked:
            chain, at = [], unit
            while at not in found:
                if direct[at] != NOBODY:
                    found[at] = way(direct[at])
                    break
                chain.append(at)
                at = come[at]
            for each in reversed(chain):
                found[each] = found[come[each]][:-1] + way(place[each])
        return {unit: found[unit] for unit in asked}

    @cached_property
    def downstream(self) -> Bits:
        """For each unit the entities (by their numbers in the columns) that it may be carried on to, its own included;
        packed."""
        if self._compiled:
            return self._words.view(np.uint8)[:, : (self._entities + 7) // 8]
        found = np.zeros((self._size, (self._entities + 7) // 8), np.uint8)
        found[np.arange(self._size), self._entity // 8] = 128 >> (self._entity % 8)
        waiting = np.ones(self._size, bool)
        while waiting.any():
            # A unit may be carried on to by several levels: all of them take what it has before it counts as done.
            grown = np.zeros(self._size, bool)
            for level in reversed(self.levels):
                if not (waiting | grown)[level.onward].any():
                    continue
                onward = np.repeat(level.onward, np.diff(np.append(level.begins, len(level.earlier))))
                order = np.argsort(level.earlier, kind="stable")
                at = begins(level.earlier[order])
                units = level.earlier[order][at]
                before = found[units]
                after = before | np.bitwise_or.reduceat(found[onward[order]], at, axis=0)
                found[units] = after
                grown[units[(after != before).any(axis=1)]] = True
            waiting = grown
        return found

    def downstream_of(self, units: Ints, first: Ints) -> Bits:
        """The same for each of several runs of units together, given where they begin."""
        if not self._compiled:
            return np.bitwise_or.reduceat(self.downstream[units], first, axis=0)
        from diagnose.loops.weights import united

        words = np.zeros((len(first), self._words.shape[1]), np.uint64)
        united(self._words, np.append(first, len(units)), units, words)
        return words.view(np.uint8)[:, : self.downstream.shape[1]]

    @cached_property
    def _words(self) -> Words:
        """`downstream`, eight bytes to a number."""
        from diagnose.loops.weights import downstream

        found = np.zeros((self._size, (self._entities + 63) // 64), np.uint64)
        found.view(np.uint8)[np.arange(self._size), self._entity // 8] = 128 >> (self._entity % 8)
        _, onward, first, earlier, _ = self._steps
        downstream(onward, first, earlier, found)
        return found

    def _needed(self) -> tuple[Ints, Ints, Floats, Ints]:
        """(unit, unit that it carries on to, share) without shortcuts, and the rank of each unit: most onward first.

        From one unit straight to another is not needed where one between, which comes after the first and before the
        other here, is explained by the first and carries at least as much on to the other.
        """
        onward = np.diff(self._begins)
        rank = np.empty(self._size, int)
        rank[np.argsort(-onward, kind="stable")] = np.arange(self._size)
        first, then, share = self.first, self.then, self.share
        rising = rank[then] > rank[first]
        pair = first * self._size + then
        needed = np.ones(len(pair), bool)
        around = np.flatnonzero(rising & (share >= self._explained))
        parts = np.cumsum(onward[then[around]]) // MOST_CELLS
        for part in np.split(around, np.flatnonzero(np.diff(parts)) + 1):
            which, second = spread(self._begins[then[part]], onward[then[part]])
            which, second = part[which[rising[second]]], second[rising[second]]
            straight = first[which] * self._size + then[second]
            at = np.minimum(np.searchsorted(pair, straight), len(pair) - 1)
            needed[at[(pair[at] == straight) & (share[second] >= share[at])]] = False
        return first[needed], then[needed], share[needed], rank


def _levels(size: int, first: Ints, then: Ints, share: Floats, rank: Ints) -> list[Level]:
    """The steps in order of what comes before what; circles begin where most is onward."""
    starts = np.searchsorted(first, np.arange(size + 1))
    count = np.diff(starts)
    waiting = np.bincount(then, minlength=size)
    left = [unit for unit in np.argsort(rank).tolist() if count[unit]]
    done = count == 0
    levels: list[Level] = []
    front = np.flatnonzero((waiting == 0) & ~done)
    turn = 0
    while True:
        if not len(front):
            while turn < len(left) and done[left[turn]]:
                turn += 1
            if turn == len(left):
                return levels
            front = np.array([left[turn]])
        done[front] = True
        _, steps = spread(starts[front], count[front])
        steps = steps[np.argsort(then[steps], kind="stable")]
        at = begins(then[steps])
        onward = then[steps][at]
        levels.append(Level(first[steps], at, onward, share[steps, None]))
        waiting[onward] -= np.diff(np.append(at, len(steps)))
        front = onward[(waiting[onward] == 0) & ~done[onward]]


def _leads(
    columns: Columns, reached: Reached, paths: Paths, entities: Mapping[str, Entity], ontology: Ontology
) -> tuple[Ints, Ints, Floats, Ints]:
    """(unit, unit that it may have brought about, share, place of the way in `reached`), in order of the units."""
    modes, size = paths.moves.mode, len(columns)
    at = np.array([paths.moves.number[unit.entity] for unit in columns.units], int)
    # Units are in order of their entities, as the entities' numbers are.
    first = begins(at)
    complaining = at[first]
    count = np.diff(np.append(first, size))
    complains = np.zeros(len(paths.moves.entities), bool)
    complains[complaining] = True
    places = np.flatnonzero(complains[reached.entity] & (reached.entity != at[reached.unit]))
    own = reached.mode[places] == modes[SELF]
    many = len(paths.moves.entities)
    owning = reached.entity[places[own]] * many + at[reached.unit[places[own]]]
    places = places[~own]
    # Each (entity, mode) stands for every symptom that was seen there.
    which = np.searchsorted(complaining, reached.entity[places])
    repeated = count[which]
    places = np.repeat(places, repeated)
    ends = np.cumsum(repeated)
    earlier = np.arange(len(places)) - np.repeat(ends - repeated, repeated) + np.repeat(first[which], repeated)
    then = reached.unit[places]
    share = reached.strength[places] * _fits(columns, modes, entities, ontology)[earlier, reached.mode[places]]
    share = share * columns.confidence[earlier] * columns.confidence[then]
    surely = share > columns.leak[then]
    places, earlier, then, share = places[surely], earlier[surely], then[surely], share[surely]
    pair = earlier * size + then
    # Of equals the one that was found first: in this order they are.
    short = np.uint16 if size <= MOST_SHORT else int
    order = np.lexsort((-share, then.astype(short), earlier.astype(short)))
    chosen = order[begins(pair[order])]
    pair = pair[chosen]
    places, earlier, then, share = places[chosen], earlier[chosen], then[chosen], share[chosen]
    back = then * size + earlier
    there = np.minimum(np.searchsorted(pair, back), max(len(pair) - 1, 0))
    opposite = np.where(pair[there] == back, share[there], 0.0) if len(pair) else share
    both = np.isin(at[earlier] * many + at[then], owning) & np.isin(at[then] * many + at[earlier], owning)
    kept = (share > opposite * SURER) & ~both
    return earlier[kept], then[kept], share[kept], places[kept]


def _fits(columns: Columns, modes: Mapping[str, int], entities: Mapping[str, Entity], ontology: Ontology) -> Floats:
    """How well each mode goes with what was seen of each unit, against the mode that it goes with best."""
    kinds = [(entities[unit.entity].kind, unit.symptom) for unit in columns.units]
    rows = [
        {mode: row[symptom] for mode, row in ontology.shown(kind).items() if symptom in row}
        for kind, symptom in dict.fromkeys(kinds)
    ]
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    found = tables(rows, modes)[[numbers[kind] for kind in kinds]]
    best = found.max(axis=1, keepdims=True, initial=0.0)
    fits: Floats = np.divide(found, best, out=np.zeros_like(found), where=best > 0)
    return fits
