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
from diagnose.settings import Settings
from diagnose.wiring import BESIDE, SELF, Wiring
from graph_schema.catalogue import FaultMode
from graph_schema.model import Change, Entity, Evidence, Subgraph
from graph_schema.ontology import Ontology

UNKNOWN = "unknown"
UNKNOWN_SYMPTOM = 0.25
OWN = 0.45
"""From this strength on, a symptom is the entity's own: seen on it, on its parts or on its face."""
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
    carried: Mapping[Where, Sequence[tuple[Where, float, Reach]]] = {}
    """Unit → units that may have brought it about: how surely, and by which way."""
    shown: dict[tuple[str, str], Mapping[str, tuple[float, str]]] = {}
    """What was found by `_expected`, kept."""

    def weigh(
        self, entity: Entity, faults: Sequence[FaultMode], reaches: Mapping[Where, Mapping[str, Reach]]
    ) -> list[Scored]:
        """Hypotheses of one entity. `reaches`: unit → mode of the entity → way to the unit."""
        known = {unit.key: unit for unit in self.seen.units}
        found = []
        for fault in faults:
            weights: dict[Where, float] = {}
            ways: dict[Where, Reach] = {}
            own: set[Where] = set()
            for key, by_mode in reaches.items():
                weight, way, is_own = _weight(fault, key[1], by_mode, self.settings)
                if way is None or weight <= 0:
                    continue
                weights[key], ways[key] = weight * known[key].confidence, way
                if is_own:
                    own.add(key)
            self._carry_on(weights, ways)
            if weights:
                scored = Scored(
                    entity=entity, fault=fault, prior=math.log(fault.prior / (1 - fault.prior)), weights=weights,
                    reaches=ways, own=frozenset(own), evidence_for=[], evidence_against=[],
                )  # fmt: skip
                self._count_changes(scored, known)
                self._count_states(scored)
                self._count_first(scored, known)
                found.append(scored)
        return found

    def _carry_on(self, weights: dict[Where, float], ways: dict[Where, Reach]) -> None:
        """What explains a symptom explains what that symptom brings about elsewhere: seen between, it is certain.

        Without this a cause would be charged for every hop anew for each of many alerts that have one way in common.
        """
        for _ in range(CHAIN):
            risen = False
            for key, before in self.carried.items():
                for earlier, share, way in before:
                    known = weights.get(earlier, 0.0)
                    weight = share * min(1.0, known / self.settings.explained)
                    if known > 0 and weight > weights.get(key, 0.0) + 1e-9:
                        weights[key], risen = weight, True
                        if key not in ways:
                            ways[key] = way.after(ways[earlier])
            if not risen:
                return

    def _count_changes(self, scored: Scored, known: Mapping[Where, Unit]) -> None:
        explained = sorted(
            ((known[key], weight) for key, weight in scored.weights.items() if weight >= self.settings.explained),
            key=lambda pair: pair[0].onset,
        )
        best, factor, onset = None, 1.0, self.seen.onset
        for change in self.changes.get(scored.entity.id, ()):
            raised, began = self._raised(scored.fault, change, explained)
            if raised > factor:
                best, factor, onset = change, raised, began
        if best is not None:
            scored.change = best
            scored.prior += math.log(factor)
            age = (onset - best.at).total_seconds()
            when = f"{_span(age)} before" if age >= 0 else "as"
            text = f"{best.kind} of {best.entity} {when} the first symptom{f': {best.detail}' if best.detail else ''}"
            scored.evidence_for.append(Evidence(text=text, weight=math.log(factor), entity=best.entity))
        elif self.piece.changes and scored.fault.changes and max(scored.fault.changes.values()) >= self.settings.mostly:
            weight = math.log(self.settings.without_change)
            scored.prior += weight
            kinds = " or ".join(sorted(scored.fault.changes))
            text = f"no {kinds} of it was seen before the first symptom"
            scored.evidence_against.append(Evidence(text=text, weight=weight, entity=scored.entity.id))

    def _raised(
        self, fault: FaultMode, change: Change, explained: Sequence[tuple[Unit, float]]
    ) -> tuple[float, datetime]:
        """(the factor on the odds that this change brings, the beginning that it was held against).

        What began before the change counts against it: the factor shrinks with the share of what it cannot have caused.
        """
        left = total = sum(weight for _, weight in explained)
        best = 1.0, self.seen.onset
        for unit, weight in explained:
            raised = 1 + (self._hazard(fault, change, unit) - 1) * (left / total) ** 2
            if raised > best[0]:
                best = raised, unit.onset
            left -= weight
        return best

    def _hazard(self, fault: FaultMode, change: Change, unit: Unit) -> float:
        """The factor for one symptom alone: full right after the change, decaying over minutes to hours."""
        onset, reported = unit.onset, unit.reported
        kind = self.ontology.change_kind(change.kind)
        full = fault.changes.get(kind)
        if full is None:
            if kind in set(self.ontology.change_names.values()) or not fault.changes:
                return 1.0
            full = max(fault.changes.values()) ** self.settings.other_change
        if fault.detail and change.detail:
            full *= self.settings.fitting if re.search(fault.detail, change.detail) else 1 / self.settings.fitting
        age, told = (onset - change.at).total_seconds(), (reported - change.at).total_seconds()
        if age > self.settings.remembered_s or told < -self.settings.skew_s:
            return 1.0
        if age < -self.settings.skew_s:
            full *= self.settings.within_hold
        quick = 0.5 ** (max(age, 0.0) / (self.settings.half_life_s + fault.onset_s / 2))
        slow = 0.5 ** (max(age, 0.0) / (self.settings.slow_half_life_s + fault.onset_s))
        left = (1 - self.settings.slow_part) * quick + self.settings.slow_part * slow
        return float(1 + (full - 1) * left)

    def _count_states(self, scored: Scored) -> None:
        if scored.entity.properties.get("used_by") == "nobody known":
            self._add(scored, math.log(self.settings.nobody_known), "nobody is known to have used it")
        for name, value in sorted(scored.fault.states.items()):
            if name == "exists" and scored.change is not None:
                continue
            if name in scored.entity.properties:
                found = scored.entity.properties[name]
                matches = fits(found, value)
                self._add(
                    scored, math.log(self.settings.state_factor) * (1 if matches else -1), f"its {name} is {found}"
                )
                continue
            # A workload's faults show in the state of its pods; a pod in another state says nothing.
            front = self.wiring.parts(scored.entity.id)
            pods = [*front, *(part for each in front[:50] for part in self.wiring.parts(each)[:50])]
            for pod in pods:
                known = self.piece.entities.get(pod)
                if known is not None and name in known.properties and fits(known.properties[name], value):
                    state = known.properties[name]
                    self._add(scored, math.log(self.settings.state_factor), f"{name} of {pod} is {state}")
                    break

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

    def count_missing(self, scored: Scored) -> None:
        """Take off for what should be sick by this hypothesis, is watched, and shows nothing."""
        settings, fault, me = self.settings, scored.fault, scored.entity.id
        trust = settings.blind if self.seen.blind else 1.0
        showing: dict[str, float] = defaultdict(float)
        for unit in self.seen.units:
            showing[unit.entity] = max(showing[unit.entity], unit.confidence)
        losses: list[tuple[float, str, str]] = []
        shown_sure = max((self._confidence(key) for key in scored.own if key[1] in fault.sure), default=0.0)
        if fault.sure and shown_sure < 1:
            surest = max(sorted(fault.sure), key=lambda symptom: fault.symptoms.get(symptom, 0.0))
            usual = settings.watched_node if scored.entity.kind == NODE else settings.watched_self
            watched = self._watched(surest, usual) * trust
            weight = math.log(1 - watched * fault.symptoms.get(surest, 0.0)) * (1 - shown_sure)
            losses.append((weight, me, f"it shows no {surest} itself"))
        own_shown = max((self._confidence(key) for key in scored.own), default=0.0)
        expected: dict[str, tuple[float, str]] = {}
        for mode, effect in fault.effects.items():
            for entity, (share, symptom) in self._expected(me, mode).items():
                if effect * share > max(settings.expected, expected.get(entity, (0.0, ""))[0]):
                    expected[entity] = effect * share, symptom
        faces = set(self.wiring.faces(me)) if self.ontology.workload(scored.entity.kind) else set()
        for entity, (seen, symptom) in expected.items():
            usual = settings.watched_node if self.piece.entities[entity].kind == NODE else settings.watched
            silent = 1 - showing[entity]
            if entity in faces:
                # Its own face is silent only when nothing of its own complains.
                usual, silent = settings.watched_self, silent * (1 - 0.6 * own_shown)
            weight = math.log(1 - self._watched(symptom, usual) * trust * min(seen, 0.97)) * silent
            losses.append((weight, entity, f"{entity} shows no {symptom}"))
        losses += self._siblings(scored)
        losses.sort()
        for place, (weight, entity, text) in enumerate(losses):
            lost = weight * settings.silent_next**place
            scored.missing += lost
            if lost < -0.02:
                scored.evidence_against.append(Evidence(text=text, weight=lost, entity=entity))

    def _siblings(self, scored: Scored) -> list[tuple[float, str, str]]:
        """Pods that should be as sick as those that complain, when the fault is the workload's."""
        if not self.ontology.workload(scored.entity.kind):
            return []
        complaining: dict[str, float] = {}
        for entity, symptom in scored.own:
            if self.piece.entities[entity].kind == "Pod":
                complaining[entity] = max(complaining.get(entity, 0.0), self._confidence((entity, symptom)))
        if not complaining:
            return []
        front = self.wiring.parts(scored.entity.id)
        pods = {*front, *(part for each in front for part in self.wiring.parts(each))}
        silent = sorted(pod for pod in pods - complaining.keys() if self.piece.entities[pod].kind == "Pod")
        weight = math.log(1 - self.settings.sibling) * max(complaining.values())
        return [
            (weight * self.settings.sibling_next**place, pod, f"{pod} does not complain")
            for place, pod in enumerate(silent[:10])
        ]

    def _expected(self, me: str, mode: str) -> Mapping[str, tuple[float, str]]:
        """What else shows when an entity is in a mode: thing → (how surely, its surest symptom that is watched for)."""
        if (me, mode) not in self.shown:
            found: dict[str, tuple[float, str]] = {}
            for (entity, arrived), (strength, _) in self.paths.of(me, {mode: 1.0}, self.settings.expected).items():
                known = self.piece.entities.get(entity)
                if known is None or not self._complains(known) or entity == me:
                    continue
                for symptom, share in self.ontology.shown(known.kind).get(arrived, {}).items():
                    seen = strength * share * (0.0 if self.rules is not None and symptom not in self.rules else 1.0)
                    if seen > found.get(entity, (self.settings.expected, ""))[0]:
                        found[entity] = seen, symptom
            self.shown[me, mode] = found
        return self.shown[me, mode]

    def _confidence(self, key: Where) -> float:
        return next((unit.confidence for unit in self.seen.units if unit.key == key), 0.0)

    def _watched(self, symptom: str, usual: float) -> float:
        if self.rules is None:
            return usual
        return self.settings.watched_by_rule if symptom in self.rules else 0.0

    def _complains(self, entity: Entity) -> bool:
        """Whether alerts about things of this kind are usual."""
        return entity.kind in COMPLAINING or self.ontology.workload(entity.kind)


CHAIN = 6
"""How often a symptom is carried on to the next."""
NODE = "Node"
COMPLAINING = frozenset({"Service", "Ingress", "Gateway", NODE})


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
