"""What faults do, as tables, and how probable each makes each unit: for many (entity, fault) at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from diagnose.arrays import Flags, Floats, Ints, begins
from diagnose.propagation import Shown, bent
from diagnose.reached import MOST_CELLS, Columns, Reached, tables
from diagnose.rules import BESIDE, OWN, SELF
from diagnose.settings import Settings
from graph_schema.catalogue import FaultMode

UNKNOWN = "unknown"
UNKNOWN_SYMPTOM = 0.25


class Facts:
    """One row for each fault: how strongly it leads to each mode, and shows each of the symptoms that were seen."""

    def __init__(
        self, faults: Iterable[FaultMode], columns: Columns, reached: Reached, modes: Mapping[str, int],
        settings: Settings, shown: Shown | None,
    ) -> None:  # fmt: skip
        known = list(faults)
        self._columns, self._reached, self._settings, self._shown = columns, reached, settings, shown
        self._self, self._beside = modes[SELF], modes[BESIDE]
        self.number = {fault.name: number for number, fault in enumerate(known)}
        self.log_odds = {fault.name: math.log(fault.prior / (1 - fault.prior)) for fault in known}
        """Of each before anything is known."""
        self._effects = tables([fault.effects for fault in known], modes)
        usual = {UNKNOWN: UNKNOWN_SYMPTOM}
        self._symptoms = tables([{**usual, **fault.symptoms} for fault in known], columns.symptoms)
        self._dependants = tables([fault.dependants for fault in known], columns.symptoms)
        self._sure = tables([dict.fromkeys(fault.sure, 1.0) for fault in known], columns.symptoms) > 0

    def weights(self, rows: Ints, faults: Ints) -> tuple[Floats, Flags]:
        """(how probable the fault of each pair, if there, makes each unit; which of them are its own symptoms).

        Each pair is the row of an entity in what is reached and the number of a fault.
        """
        columns = self._columns
        weights, own = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)), bool)
        cell, found, mine = self._weigh(rows, faults, self._effects, self._symptoms, self._dependants, self._sure)
        weights.ravel()[cell] = found
        own.ravel()[cell] = mine
        return weights, own

    def most(self, rows: Sequence[int], groups: Sequence[Sequence[FaultMode]]) -> Iterator[tuple[Ints, Ints, Floats]]:
        """(place in `rows`, unit, the most that any fault of the group makes it), row after row and part by part.

        `groups` are the faults that the entity of each row can have.
        """
        kinds = {id(group): group for group in groups}
        row = {name: number for number, name in enumerate(kinds)}
        numbers = [[self.number[fault.name] for fault in group] for group in kinds.values()]
        effects, symptoms, dependants, sure = (
            np.array([table[each].max(axis=0) for each in numbers])
            for table in (self._effects, self._symptoms, self._dependants, self._sure)
        )
        if UNKNOWN in self._columns.symptoms:
            column = self._columns.symptoms[UNKNOWN]
            symptoms[:, column] = np.maximum(symptoms[:, column], UNKNOWN_SYMPTOM)
        of = np.array([row[id(group)] for group in groups], int)
        size = max(1, MOST_CELLS // max(1, len(self._columns)))
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            asked = np.array(rows[part], int)
            cell, found, _ = self._weigh(asked, of[part], effects, symptoms, dependants, sure, together=True)
            place, unit = np.divmod(cell, len(self._columns))
            yield place + start, unit, found

    def _weigh(
        self, rows: Ints, faults: Ints, effects: Floats, symptoms: Floats, dependants: Floats, sure: Flags,
        *, together: bool = False,
    ) -> tuple[Ints, Floats, Flags]:  # fmt: skip
        """(cell of a row and a unit, weight, whether it is an own symptom), of those that are reached.

        `together`: a row of the tables is several faults', so what is sure of one does not rule out the others.
        """
        columns, reached, settings = self._columns, self._reached, self._settings
        which, place = reached.spread(rows)
        if not len(which):
            return which, np.zeros(0), np.zeros(0, bool)
        unit, mode, strength, fault = reached.unit[place], reached.mode[place], reached.strength[place], faults[which]
        symptom = columns.symptom[unit]
        by_itself, beside = mode == self._self, mode == self._beside
        cell = which * len(columns) + unit
        firsts = begins(cell)

        def most(values: Floats) -> Floats:
            return np.maximum.reduceat(values, firsts)

        itself = most(np.where(by_itself, strength, 0.0))
        shown = most(np.where(by_itself, symptoms[fault, symptom] * strength, effects[fault, mode] * strength))
        certain = (itself >= OWN) & sure[fault[firsts], symptom[firsts]]
        rest = most(np.where(beside, dependants[fault, symptom] * strength, 0.0))
        mine = certain | ((itself >= OWN) & (shown >= settings.explained) & (rest <= shown))
        found = np.maximum(shown, rest)
        found = np.where(certain, np.maximum(found, settings.sure) if together else settings.sure, found)
        cell = cell[firsts]
        if self._shown:
            learned = bent(found, self._shown.factors(rows).ravel()[cell])
            # Own symptoms stay as they are; of several faults together some may have it as their own, and some not.
            most_own = np.where(itself >= OWN, np.maximum(found, learned), learned)
            found = most_own if together else np.where(mine, found, learned)
        return cell, found * columns.confidence[unit[firsts]], mine
