"""The score of one hypothesis: log-odds from what it explains, what it should have shown, changes and states."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from diagnose.evidence import Seen, Unit
from diagnose.paths import Paths, Reach
from diagnose.propagation import Shown
from diagnose.settings import Settings
from diagnose.wiring import BESIDE, SELF, Wiring
from graph_schema.catalogue import FaultMode
from graph_schema.model import Change, Entity, Evidence, Subgraph
from graph_schema.ontology import Ontology

UNKNOWN = "unknown"
UNKNOWN_SYMPTOM = 0.25
OWN = 0.45
"""From this strength on, a symptom is the entity's own: seen on it, on its parts or on its face."""
FOLLOWED = "phase"
"""A property that every pod has whose state is kept."""
MOST_PARTS = 50
"""Parts whose states are looked at."""
Where = tuple[str, str]
"""(entity, symptom)"""


class Scored(msgspec.Struct, kw_only=True):
    """A hypothesis while it is being weighed."""

    entity: Entity
    fault: FaultMode
    prior: float
    """Log-odds before any signal is looked at, state and change included."""
    weights: dict[Where, float]
    """Unit → probability that the fault, if there, brings it about."""
    reaches: dict[Where, Reach]
    own: frozenset[Where] = frozenset()
    change: Change | None = None
    evidence_for: list[Evidence] = []
    evidence_against: list[Evidence] = []
    missing: float = 0.0
    """Log-odds lost for symptoms that should be there and are not."""

    def log_odds(self, seen: Mapping[Where, float], same_entity: float) -> float:
        """`seen`: unit → how probable it is by leak and the causes taken already (noisy-OR)."""
        return self.prior + self.missing + diminished(self.gains(seen), same_entity)

    def gains(self, seen: Mapping[Where, float]) -> dict[Where, float]:
        """Unit → how much this cause raises its log-probability; only units that `seen` has."""
        return {
            key: math.log((1 - (1 - seen[key]) * (1 - weight)) / seen[key])
            for key, weight in self.weights.items()
            if key in seen
        }


def state_speaks(fault: FaultMode, name: str, settings: Settings) -> float:
    """The factor on the odds when the entity has this state of the fault's."""
    return settings.proof_factor if name in fault.proof else settings.state_factor


def fits(found: Any, wanted: Any) -> bool:
    """Whether a state is the one that a fault has: one of several where the fault has several, among those that are
    found where there are several (the pressures of a node)."""
    possible = wanted if isinstance(wanted, list) else [wanted]
    return any(each in possible for each in found) if isinstance(found, list) else found in possible


def diminished(gains: Mapping[Where, float], same_entity: float) -> float:
    """The sum, further symptoms of one entity counting less and less: a sorted sum, so one more never lowers it."""
    by_entity: dict[str, list[float]] = defaultdict(list)
    for (entity, _), gain in gains.items():
        by_entity[entity].append(gain)
    return sum(
        gain * same_entity**place
        for _, found in sorted(by_entity.items())
        for place, gain in enumerate(sorted(found, reverse=True))
    )


class Weighing(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all hypotheses of an incident."""

    piece: Subgraph
    seen: Seen
    ontology: Ontology
    wiring: Wiring
    paths: Paths
    settings: Settings
    changes: Mapping[str, Sequence[Change]]
    """Entity → what was changed about it."""
    rules: Collection[str] | None
    """Symptoms that the rules in use watch for; None: not known."""
    shown: Shown | None = None
    """How surely things show elsewhere as runs of chaos have shown it; None: nothing is known of that."""
    carried: Mapping[Where, Sequence[tuple[Where, float, Reach]]] = {}
    """Unit → units that it may have brought about: how surely, and by which way."""

    def weigh(
        self, entity: Entity, faults: Sequence[FaultMode], reaches: Mapping[Where, Mapping[str, Reach]]
    ) -> list[Scored]:
        """Hypotheses of one entity. `reaches`: unit → mode of the entity → way to the unit."""
        known = self.seen.by_key
        at = self.shown.disturbed(entity.id) if self.shown else ""
        found = []
        for fault in faults:
            weights: dict[Where, float] = {}
            ways: dict[Where, Reach] = {}
            own: set[Where] = set()
            for key, by_mode in reaches.items():
                weight, way, is_own = _weight(fault, key[1], by_mode, self.settings)
                if way is None or weight <= 0:
                    continue
                if at and self.shown and not is_own:
                    weight = self.shown.bent(at, *key, weight)
                weights[key], ways[key] = weight * known[key].confidence, way
                if is_own:
                    own.add(key)
            self.carry_on(weights, ways)
            if weights:
                scored = Scored(
                    entity=entity, fault=fault, prior=math.log(fault.prior / (1 - fault.prior)), weights=weights,
                    reaches=ways, own=frozenset(own), evidence_for=[], evidence_against=[],
                )  # fmt: skip
                self._count_changes(scored, known)
                self._count_states(scored)
                self._count_first(scored, known)
                if at and self.shown:
                    scored.evidence_for.append(self.shown.words(at))
                found.append(scored)
        return found

    def carry_on(self, weights: dict[Where, float], ways: dict[Where, Reach] | None) -> None:
        """What explains a symptom explains what that symptom brings about elsewhere: seen between, it is certain.

        Without this a cause would be charged for every hop anew for each of many alerts that have one way in common.
        """
        waiting = [key for key in weights if key in self.carried]
        while waiting:
            earlier = waiting.pop()
            known = min(1.0, weights[earlier] / self.settings.explained)
            for key, share, way in self.carried[earlier]:
                if share * known > weights.get(key, 0.0) + 1e-9:
                    weights[key] = share * known
                    if key in self.carried:
                        waiting.append(key)
                    if ways is not None and key not in ways:
                        ways[key] = way.after(ways[earlier])

    def _count_changes(self, scored: Scored, known: Mapping[Where, Unit]) -> None:
        if not scored.fault.changes:
            return
        explained = sorted(
            ((known[key], weight) for key, weight in scored.weights.items() if weight >= self.settings.explained),
            key=lambda pair: pair[0].onset,
        )
        alone = self._alone(scored.fault)
        best, factor, onset = None, alone, self.seen.onset
        for change in self.changes.get(scored.entity.id, ()):
            raised, began = self._raised(scored.fault, change, explained)
            if raised > factor:
                best, factor, onset = change, raised, began
        scored.prior += math.log(factor)
        if best is not None and factor > 1:
            scored.change = best
            age = (onset - best.at).total_seconds()
            when = f"{_span(age)} before" if age >= 0 else "as"
            text = f"{best.kind} of {best.entity} {when} the first symptom{f': {best.detail}' if best.detail else ''}"
            scored.evidence_for.append(Evidence(text=text, weight=math.log(factor), entity=best.entity))
        elif factor < 1:
            kinds = " or ".join(sorted(scored.fault.changes))
            text = f"no {kinds} of it was seen shortly before the first symptom"
            scored.evidence_against.append(Evidence(text=text, weight=math.log(factor), entity=scored.entity.id))

    def _alone(self, fault: FaultMode) -> float:
        """Factor on the odds of a fault when no change is there that may have brought it about.

        What share of its cases comes without one, and how many changes are missed: few where changes are recorded.
        """
        missed = self.settings.change_missed if self.piece.changes else self.settings.changes_unrecorded
        return fault.comes_alone + (1 - fault.comes_alone) * missed

    def _raised(
        self, fault: FaultMode, change: Change, explained: Sequence[tuple[Unit, float]]
    ) -> tuple[float, datetime]:
        """(the factor on the odds that this change brings, the beginning that it was held against).

        What began before the change counts against it: the factor shrinks with the share of what it cannot have caused,
        towards what it is without any change.
        """
        alone = self._alone(fault)
        left = total = sum(weight for _, weight in explained)
        best = alone, self.seen.onset
        for unit, weight in explained:
            raised = alone + (self._hazard(fault, change, unit) - alone) * (left / total) ** 2
            if raised > best[0]:
                best = raised, unit.onset
            left -= weight
        return best

    def _hazard(self, fault: FaultMode, change: Change, unit: Unit) -> float:
        """The factor for one symptom alone: full right after the change, decaying over minutes to hours."""
        alone = self._alone(fault)
        onset, reported = unit.onset, unit.reported
        kind = self.ontology.change_kind(change.kind)
        full = fault.changes.get(kind)
        if full is None:
            if kind in set(self.ontology.change_names.values()) or not fault.changes:
                return alone
            full = max(fault.changes.values()) ** self.settings.other_change
        if fault.detail and change.detail:
            full *= self.settings.fitting if self._fits(fault, change) else 1 / self.settings.fitting
        age, told = (onset - change.at).total_seconds(), (reported - change.at).total_seconds()
        if age > self.settings.remembered_s or told < -self.settings.skew_s:
            return alone
        if age < -self.settings.skew_s:
            full *= self.settings.within_hold
        quick = 0.5 ** (max(age, 0.0) / (self.settings.half_life_s + fault.onset_s / 2))
        slow = 0.5 ** (max(age, 0.0) / (self.settings.slow_half_life_s + fault.onset_s))
        left = (1 - self.settings.slow_part) * quick + self.settings.slow_part * slow
        return float(alone + (full - alone) * left)

    def _fits(self, fault: FaultMode, change: Change) -> bool:
        return bool(fault.detail and re.search(fault.detail, change.detail))

    def _count_states(self, scored: Scored) -> None:
        if scored.entity.properties.get("used_by") == "nobody known":
            self._add(scored, math.log(self.settings.nobody_known), "nobody is known to have used it")
        for name, value in sorted(scored.fault.states.items()):
            # The graph may have been written down before the change.
            if scored.change is not None and (name == "exists" or self._fits(scored.fault, scored.change)):
                continue
            speaks = math.log(state_speaks(scored.fault, name, self.settings))
            if name in scored.entity.properties:
                found = scored.entity.properties[name]
                self._add(scored, speaks if fits(found, value) else -speaks, f"its {name} is {found}")
                continue
            # A workload's faults show in the state of its pods.
            front = self.wiring.parts(scored.entity.id)
            pods = [*front, *(part for each in front[:MOST_PARTS] for part in self.wiring.parts(each)[:MOST_PARTS])]
            told = {pod: known.properties for pod in pods if (known := self.piece.entities.get(pod)) is not None}
            showing = next((pod for pod, states in told.items() if name in states and fits(states[name], value)), None)
            if showing is not None:
                self._add(scored, speaks, f"{name} of {showing} is {told[showing][name]}")
            elif name in scored.fault.proof and any(FOLLOWED in states for states in told.values()):
                # Of pods that are followed everything is known, also what is not the case.
                self._add(scored, -math.log(self.settings.state_factor), f"{name} of none of its pods is that")

    def states_near(self, entity: str) -> set[str]:
        """Names of the properties of the entity and of its parts."""
        front = self.wiring.parts(entity)
        near = [entity, *front, *(part for each in front[:MOST_PARTS] for part in self.wiring.parts(each)[:MOST_PARTS])]
        return {name for each in near if (known := self.piece.entities.get(each)) for name in known.properties}

    def _count_first(self, scored: Scored, known: Mapping[Where, Unit]) -> None:
        best, first = 0.0, None
        for key in sorted(scored.own):
            lag = max(0.0, (known[key].onset - self.seen.onset).total_seconds())
            weight = self.settings.first * known[key].confidence * math.exp(-lag / self.settings.first_within_s)
            if weight > best:
                best, first = weight, key
        if first is not None and len(known) > 1:
            scored.prior += best
            if best > 0.1:
                text = f"its {first[1]} was among the first symptoms"
                scored.evidence_for.append(Evidence(text=text, weight=best, entity=first[0]))

    def _add(self, scored: Scored, weight: float, text: str) -> None:
        scored.prior += weight
        found = Evidence(text=text, weight=weight, entity=scored.entity.id)
        (scored.evidence_for if weight > 0 else scored.evidence_against).append(found)


def _weight(
    fault: FaultMode, symptom: str, by_mode: Mapping[str, Reach], settings: Settings
) -> tuple[float, Reach | None, bool]:
    """(probability that the fault shows this symptom there, by which way, whether it is its own symptom)."""
    weight, way, own = 0.0, None, False
    for mode, effect in fault.effects.items():
        reach = by_mode.get(mode)
        if reach is not None and effect * reach.strength > weight:
            weight, way = effect * reach.strength, reach
    reach = by_mode.get(SELF)
    if reach is not None:
        own = reach.strength >= OWN
        if own and symptom in fault.sure:
            return settings.sure, reach, True
        seen = fault.symptoms.get(symptom, UNKNOWN_SYMPTOM if symptom == UNKNOWN else 0.0) * reach.strength
        if seen > weight:
            weight, way = seen, reach
        own = own and weight >= settings.explained
    reach = by_mode.get(BESIDE)
    if reach is not None:
        seen = fault.dependants.get(symptom, 0.0) * reach.strength
        if seen > weight:
            weight, way, own = seen, reach, False
    return weight, way, own


def _span(seconds: float) -> str:
    """90 s, 12 min, 3 h: as exact as a person needs it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
