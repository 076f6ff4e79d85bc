"""An upper bound of the odds of an entity, from the strongest that any of its faults can do: never below them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from diagnose.paths import Reach
from diagnose.score import OWN, UNKNOWN, UNKNOWN_SYMPTOM, Weighing, Where, diminished
from diagnose.wiring import BESIDE, SELF
from graph_schema.catalogue import FaultMode


class Strongest(msgspec.Struct, frozen=True):
    """What the faults that a kind of entity can have do at most, each taken by itself."""

    prior: float
    """Log-odds, with what each change and state can add."""
    changed: float
    effects: Mapping[str, float]
    symptoms: Mapping[str, float]
    dependants: Mapping[str, float]
    sure: frozenset[str]
    states: frozenset[str]
    proofs: frozenset[str]
    most_states: int
    count: int


class Bounds:
    """Bounds for the entities of one incident."""

    def __init__(self, weighing: Weighing) -> None:
        self._weighing, self._settings = weighing, weighing.settings
        self._strongest: dict[tuple[str, ...], Strongest] = {}

    def of(
        self, entity: str, faults: Sequence[FaultMode], by_unit: Mapping[Where, Mapping[str, Reach]]
    ) -> tuple[float, frozenset[Where]]:
        """(no less than the log-odds of any of the faults being there, the signals that it may explain)."""
        settings, weighing = self._settings, self._weighing
        names = tuple(fault.name for fault in faults)
        if names not in self._strongest:
            self._strongest[names] = self._find(faults)
        most = self._strongest[names]
        at = weighing.shown.disturbed(entity) if weighing.shown else ""
        weights: dict[Where, float] = {}
        for key, by_mode in by_unit.items():
            weight = 0.0
            for mode, reach in by_mode.items():
                if mode == SELF:
                    if reach.strength >= OWN and key[1] in most.sure:
                        strongest = settings.sure
                    else:
                        usual = UNKNOWN_SYMPTOM if key[1] == UNKNOWN else 0.0
                        strongest = max(most.symptoms.get(key[1], 0.0), usual) * reach.strength
                elif mode == BESIDE:
                    strongest = most.dependants.get(key[1], 0.0) * reach.strength
                else:
                    strongest = most.effects.get(mode, 0.0) * reach.strength
                weight = max(weight, strongest)
            if weight > 0:
                if at and weighing.shown:
                    weight = weighing.shown.bent(at, *key, weight)
                weights[key] = weight * weighing.seen.by_key[key].confidence
        weighing.carry_on(weights, None)
        gains = {
            key: math.log((1 - (1 - settings.leak) * (1 - weight)) / settings.leak) for key, weight in weights.items()
        }
        prior = most.prior + settings.first + (most.changed if weighing.changes.get(entity) else 0.0)
        if most.states:
            known = weighing.states_near(entity) & most.states
            each = settings.proof_factor if known & most.proofs else settings.state_factor
            prior += math.log(each) * min(len(known), most.most_states)
        explains = frozenset(key for key, weight in weights.items() if weight >= settings.explained)
        return prior + diminished(gains, settings.same_entity) + math.log(most.count), explains

    def _find(self, faults: Sequence[FaultMode]) -> Strongest:
        effects: dict[str, float] = {}
        symptoms: dict[str, float] = {}
        dependants: dict[str, float] = {}
        changed = 1.0
        for fault in faults:
            for table, most in ((fault.effects, effects), (fault.symptoms, symptoms), (fault.dependants, dependants)):
                for name, share in table.items():
                    most[name] = max(most.get(name, 0.0), share)
            fitting = self._settings.fitting if fault.detail else 1.0
            changed = max(changed, fitting * max(fault.changes.values(), default=1.0))
        return Strongest(
            prior=max(math.log(fault.prior / (1 - fault.prior)) for fault in faults), changed=math.log(changed),
            effects=effects, symptoms=symptoms, dependants=dependants,
            sure=frozenset(symptom for fault in faults for symptom in fault.sure),
            states=frozenset(name for fault in faults for name in fault.states),
            proofs=frozenset(name for fault in faults for name in fault.proof),
            most_states=max(len(fault.states) for fault in faults), count=len(faults),
        )  # fmt: skip
