"""An upper bound of the odds of an entity, from the strongest that any of its faults can do: never below them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from diagnose.facts import Facts
from diagnose.reached import Flags
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
) -> tuple[list[float], Flags]:
    """For each entity (its row in what is reached, the faults that it can have): no less than the log-odds of any of
    these being there, and the units that they may explain."""
    settings, columns = weighing.settings, weighing.columns
    strongest = {id(group): _strongest(group, settings) for group in {id(each): each for each in groups}.values()}
    gained = np.zeros(len(rows))
    explains = np.zeros((len(rows), len(columns)), bool)
    for part, weights in facts.most(rows, groups) if rows else ():
        weighing.carried.on(weights)
        gained[part] = columns.gained(weights, np.full(len(columns), settings.leak), settings.same_entity)
        explains[part] = weights >= settings.explained
    found = []
    for row, group, gain in zip(rows, groups, gained.tolist(), strict=True):
        found.append(_prior(weighing.reached.names[row], strongest[id(group)], weighing) + gain)
    return found, explains


def _prior(entity: str, most: Strongest, weighing: Weighing) -> float:
    settings = weighing.settings
    prior = most.prior + settings.first + (most.changed if weighing.changes.get(entity) else 0.0)
    if most.states:
        known = weighing.states_near(entity) & most.states
        each = settings.proof_factor if known & most.proofs else settings.state_factor
        prior += math.log(each) * min(len(known), most.most_states)
    return prior + math.log(most.count)


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
