"""What explains a symptom explains what that symptom brings about elsewhere: seen between, it is certain.

Without this a cause would be charged for every hop anew for each of many alerts that have one way in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from diagnose.paths import Paths
from diagnose.reached import Columns, Floats, Ints, Reached, begins, tables
from diagnose.rules import SELF
from graph_schema.model import Entity
from graph_schema.ontology import Ontology

SURER = 1.2
"""By how much one direction must be surer than the other to count."""
LEAST_MORE = 1e-9
"""A weight is raised only by more than this, or circles would never end."""


class Carried:
    """Which other units a unit may have brought about, how surely, and by which way.

    Only in the direction in which it is surer; two symptoms of one thing and its parts bring about neither.
    `explained`: the weight from which on a unit is taken to be explained, and carries all that it can.
    """

    def __init__(
        self, columns: Columns, reached: Reached, paths: Paths, entities: Mapping[str, Entity], ontology: Ontology,
        explained: float,
    ) -> None:  # fmt: skip
        self._explained = explained
        self._size = len(columns)
        self._first, self._then, self._share, self._place = _leads(columns, reached, paths, entities, ontology)
        starts = np.searchsorted(self._first, np.arange(self._size + 1))
        self._spans = list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
        self._steps = self._needed()
        self._carrying = {unit for unit, _, _ in self._steps}

    def on(self, weights: Floats) -> None:
        """Raise each row of weights by what its units carry on, until nothing changes."""
        rows = np.ascontiguousarray(weights.T)
        waiting = set(self._carrying)
        while waiting:
            for unit, onward, shares in self._steps:
                if unit not in waiting:
                    continue
                waiting.discard(unit)
                known = np.minimum(1.0, rows[unit] / self._explained)
                before = rows[onward]
                after = shares * known
                better = after > before + LEAST_MORE
                if better.any():
                    rows[onward] = np.where(better, after, before)
                    waiting.update(self._carrying.intersection(onward[better.any(axis=1)].tolist()))
        weights[:] = rows.T

    def ways(self, weights: dict[int, float], ways: dict[int, tuple[int, ...]], reached: Reached) -> None:
        """Add to the ways by which one cause reaches units those to what they carry on; so to the weights."""
        waiting = [unit for unit in weights if self._onward[unit]]
        while waiting:
            earlier = waiting.pop()
            known = min(1.0, weights[earlier] / self._explained)
            for unit, share, place in self._onward[earlier]:
                if share * known > weights.get(unit, 0.0) + LEAST_MORE:
                    weights[unit] = share * known
                    if self._onward[unit]:
                        waiting.append(unit)
                    if unit not in ways:
                        ways[unit] = ways[earlier][:-1] + reached.way(place)

    @cached_property
    def _onward(self) -> list[list[tuple[int, float, int]]]:
        """Unit → (unit that it carries on to, share, place of the way)."""
        steps = list(zip(self._then.tolist(), self._share.tolist(), self._place.tolist(), strict=True))
        return [steps[start:stop] for start, stop in self._spans]

    def _needed(self) -> list[tuple[int, Ints, Floats]]:
        """(unit, units that it carries on to, shares as a column), what carries most first, without detours' shortcuts.

        From one unit straight to another is not needed where one between, which comes after the first and before the
        other here, is explained by the first and carries at least as much on to the other.
        """
        order = sorted(range(self._size), key=lambda unit: self._spans[unit][0] - self._spans[unit][1])
        rank = np.empty(self._size, int)
        rank[order] = np.arange(self._size)
        found = []
        best = np.zeros(self._size)
        for unit in order:
            start, stop = self._spans[unit]
            if start == stop:
                continue
            onward, shares = self._then[start:stop], self._share[start:stop]
            best[onward] = 0.0
            for between in onward[(shares >= self._explained) & (rank[onward] > rank[unit])].tolist():
                first, last = self._spans[between]
                later = self._then[first:last]
                after = rank[later] > rank[between]
                later = later[after]
                best[later] = np.maximum(best[later], self._share[first:last][after])
            needed = best[onward] < shares
            found.append((unit, onward[needed], shares[needed, None]))
            best[:] = 0.0
        return found


def _leads(
    columns: Columns, reached: Reached, paths: Paths, entities: Mapping[str, Entity], ontology: Ontology
) -> tuple[Ints, Ints, Floats, Ints]:
    """(unit, unit that it may have brought about, share, place of the way in `reached`), in order of the units."""
    modes, size = paths.moves.mode, len(columns)
    at = np.array([paths.moves.base[unit.entity] // paths.moves.span for unit in columns.units], int)
    # Units are in order of their entities, as the entities' numbers are.
    first = begins(at)
    complaining = at[first]
    count = np.diff(np.append(first, size))
    places = np.flatnonzero(np.isin(reached.entity, complaining) & (reached.entity != at[reached.unit]))
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
    order = np.lexsort((reached.met[places], -share, pair))
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
    rows = []
    for unit in columns.units:
        shown = ontology.shown(entities[unit.entity].kind)
        rows.append({mode: row[unit.symptom] for mode, row in shown.items() if unit.symptom in row})
    found = tables(rows, modes)
    best = found.max(axis=1, keepdims=True, initial=0.0)
    fits: Floats = np.divide(found, best, out=np.zeros_like(found), where=best > 0)
    return fits
