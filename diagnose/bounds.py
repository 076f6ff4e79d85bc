"""An upper bound of the odds of an entity, from the strongest that any of its faults can do: never below them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from diagnose.arrays import Bits, Floats, begins
from diagnose.facts import Facts
from diagnose.reached import MOST_CELLS
from diagnose.score import Weighing
from diagnose.settings import Settings
from graph_schema.catalogue import FaultMode


class Strongest(msgspec.Struct, frozen=True):
    """What the faults that a kind of entity can have do at most before any signal is looked at, each by itself."""

    prior: float
    """Log-odds, with what each change and state can add."""
    changed: float
    states: frozenset[str]
    proofs: frozenset[str]
    most_states: int
    count: int


def bounds(
    weighing: Weighing, facts: Facts, rows: Sequence[int], groups: Sequence[Sequence[FaultMode]]
) -> tuple[list[float], Bits]:
    """For each entity (its row in what is reached, the faults that it can have): no less than the log-odds of any of
    these being there, and which of the complaining entities they may explain, packed.

    What is reached straight counts as the strongest fault has it; what is carried on from there counts as if all that
    carries it were certain.
    """
    settings, columns = weighing.settings, weighing.columns
    gained = np.zeros(len(rows))
    explains = np.zeros((len(rows), weighing.carried.downstream.shape[1]), np.uint8)
    carried = _carried(weighing)
    worth = _by_byte(columns.gained_by_entity(carried, settings.same_entity), explains.shape[1])
    for place, unit, weight in facts.most(rows, groups) if rows else ():
        some = weight > 0
        place, unit, weight = place[some], unit[some], weight[some]
        if not len(place):
            continue
        first = begins(place)
        here = place[first]
        explains[here] = weighing.carried.downstream_of(unit, first)
        more = np.log((1 - (1 - columns.leak[unit]) * (1 - weight)) / columns.leak[unit]) - carried[unit]
        gained[here] = np.add.reduceat(np.maximum(more, 0.0), first)
    size = max(1, MOST_CELLS // max(1, explains.shape[1]))
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        gained[part] += worth[explains[part], np.arange(explains.shape[1])].sum(axis=1)
    # Of a bound of the sum as of the sum itself, or in a storm nearly everything would have to be weighed.
    limits: list[float] = (_priors(weighing, rows, groups) + columns.tempered(gained)).tolist()
    return limits, explains


def _carried(weighing: Weighing) -> Floats:
    """How much at most what is carried on to each unit raises its log-probability."""
    columns, most = weighing.columns, np.zeros(len(weighing.columns))
    for level in weighing.carried.levels:
        most[level.onward] = np.maximum(most[level.onward], np.maximum.reduceat(level.shares[:, 0], level.begins))
    gains: Floats = columns.gains(most, columns.leak)
    return gains


def _by_byte(values: Floats, size: int) -> Floats:
    """(value of a byte, its place) → the sum of the values of its bits, the first being the highest."""
    padded = np.zeros(8 * size)
    padded[: len(values)] = values
    each: Floats = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) @ padded.reshape(size, 8).T
    return each


def _priors(weighing: Weighing, rows: Sequence[int], groups: Sequence[Sequence[FaultMode]]) -> Floats:
    """For each entity no less than the log-odds of any of its faults before any signal is looked at."""
    settings, reached, number = weighing.settings, weighing.reached, weighing.wiring.number
    strongest = [_strongest(group, settings) for group in {id(each): each for each in groups}.values()]
    places = {name: place for place, name in enumerate(dict.fromkeys(map(id, groups)))}
    of = np.fromiter(map(places.__getitem__, map(id, groups)), int, len(groups))
    changed = np.zeros(1 + len(number), bool)
    changed[[number[entity] for entity, changes in weighing.changes.items() if changes and entity in number]] = True
    entity = reached.entity[reached.first[np.array(rows, int)]]
    found: Floats = np.array([most.prior + settings.first for most in strongest] or [0.0])[of]
    found += np.where(changed[entity], np.array([most.changed for most in strongest] or [0.0])[of], 0.0)
    telling = np.array([not most.states.isdisjoint(weighing.states_told) for most in strongest] or [False])
    for place in np.flatnonzero(telling[of]).tolist():
        most = strongest[of[place]]
        known = weighing.states_near(reached.names[rows[place]]) & most.states
        each = settings.proof_factor if known & most.proofs else settings.state_factor
        found[place] += math.log(each) * min(len(known), most.most_states)
    found += np.array([math.log(most.count) for most in strongest] or [0.0])[of]
    return found


def _strongest(faults: Sequence[FaultMode], settings: Settings) -> Strongest:
    changed = 1.0
    for fault in faults:
        fitting = settings.fitting if fault.detail else 1.0
        changed = max(changed, fitting * max(fault.changes.values(), default=1.0))
    return Strongest(
        prior=max(math.log(fault.prior / (1 - fault.prior)) for fault in faults), changed=math.log(changed),
        states=frozenset(name for fault in faults for name in fault.states),
        proofs=frozenset(name for fault in faults for name in fault.proof),
        most_states=max(len(fault.states) for fault in faults), count=len(faults),
    )  # fmt: skip
