"""Negative evidence: what should be sick by a hypothesis, is watched, and shows nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from diagnose.evidence import Unit
from diagnose.paths import ASKED
from diagnose.score import Scored, Weighing
from graph_schema.catalogue import FaultMode
from graph_schema.model import Entity, Evidence

NODE = "Node"
AKIN = 0.7
"""How far a symptom of the same class stands for a sure one."""
MOST_MISSED = 400
"""So many things that are missed count: what comes after that weighs less than nothing that is told."""
LEAST_TOLD = -0.02
"""Log-odds from which on what is missed is told."""
COMPLAINING = frozenset({"Service", "Ingress", "Gateway", NODE})


DOWN = frozenset({"node_not_ready", "node_unreachable"})
MISSING = "replicas_mismatch"
Shown = Sequence[tuple[float, int, str]]
"""(how surely it shows anything, number of an entity, its surest symptom that is watched for), the surest first."""
Loss = tuple[float, str, str]
"""(log-odds lost, entity, what is missed: a symptom, or words)"""


class Silence:
    """What is missed, for all hypotheses of one incident: what was found out for one serves the others."""

    def __init__(self, weighing: Weighing) -> None:
        self._weighing, self._settings, self._seen = weighing, weighing.settings, weighing.seen
        self._piece, self._ontology, self._wiring = weighing.piece, weighing.ontology, weighing.wiring
        self._rules = weighing.rules
        self._names, self._modes = weighing.paths.moves.entities, weighing.paths.moves.modes
        self._trust = self._settings.blind if self._seen.blind else 1.0
        self._lasting = [self._settings.silent_next**place for place in range(MOST_MISSED)]
        shows = self._ontology.shows.values()
        self._most_shown = max(share for table in shows for row in table.values() for share in row.values())
        self._complaints: dict[tuple[str, bool], float] = {}
        self._silent: dict[tuple[int, str], tuple[float, float]] = {}
        self._showing: dict[str, list[tuple[float, str]]] = {}
        self._kinds: dict[int, list[tuple[float, str]] | None] = {}

    def count_missing(self, faults: Sequence[Scored]) -> None:
        """Take off for what should be sick by these hypotheses of one entity, is watched, and shows nothing."""
        entity = faults[0].entity
        strongest: dict[str, float] = {}
        for scored in faults:
            for mode, effect in scored.fault.effects.items():
                strongest[mode] = max(strongest.get(mode, 0.0), effect)
        shown = {mode: self._expected(entity.id, mode, effect) for mode, effect in strongest.items()}
        faces = set(self._wiring.faces(entity.id)) if self._ontology.workload(entity.kind) else set()
        for scored in faults:
            own = [self._weighing.columns.units[column] for column in scored.own.nonzero()[0].tolist()]
            elsewhere = self._elsewhere(scored, own, shown, faces)
            self._narrow(scored, self._in_peace(scored.fault, shown))
            losses = [*self._itself(scored, own), *elsewhere, *self._siblings(scored, own)]
            losses.sort()
            for (weight, name, missed), lasting in zip(losses, self._lasting, strict=False):
                lost = weight * lasting
                scored.missing += lost
                if lost < LEAST_TOLD:
                    text = missed if " " in missed else f"{name} shows no {missed}"
                    scored.evidence_against.append(Evidence(text=text, weight=lost, entity=name))

    def _in_peace(self, fault: FaultMode, shown: Mapping[str, Shown]) -> float:
        """How many things should complain, each as surely as it should, and do not."""
        expected: dict[int, float] = {}
        for mode, effect in fault.effects.items():
            for share, number, symptom in shown[mode]:
                watched, silent = self._silence_of(number, symptom)
                expected[number] = max(expected.get(number, 0.0), effect * share * watched * silent)
        return sum(expected.values())

    def _narrow(self, scored: Scored, silent: float) -> None:
        """A fault that leaves far more things in peace than it makes sick explains each of those less: it would be
        chance that just these complain. Else what stands above everything (a zone) would explain whatever goes astray.

        `silent`: how many things should have complained and do not.
        """
        explained = int((scored.weights >= self._settings.explained).sum())
        reach = (explained + self._settings.narrow) / (explained + max(silent, self._settings.narrow))
        if reach < 1:
            scored.weights = np.where(scored.own, scored.weights, scored.weights * reach)
            columns = self._weighing.columns
            scored.gain = float(columns.gained(scored.weights[None], columns.leak, self._settings.same_entity)[0])

    def _itself(self, scored: Scored, own: Sequence[Unit]) -> list[Loss]:
        """What hardly any case of the fault lacks on the entity."""
        settings, fault = self._settings, scored.fault
        if not fault.sure:
            return []
        shown = max((unit.confidence * self._as_sure(unit.symptom, fault) for unit in own), default=0.0)
        if shown >= 1:
            return []
        surest = max(sorted(fault.sure), key=lambda symptom: fault.symptoms.get(symptom, 0.0))
        usual = settings.watched_node if scored.entity.kind == NODE else settings.watched_self
        watched = self._watched(surest, usual) * self._trust
        weight = math.log(1 - watched * fault.symptoms.get(surest, 0.0)) * (1 - shown)
        return [(weight, scored.entity.id, f"it shows no {surest} itself")]

    def _elsewhere(
        self, scored: Scored, own: Sequence[Unit], shown: Mapping[str, Shown], faces: Collection[str]
    ) -> list[Loss]:
        """What should show on other things."""
        settings = self._settings
        expected: dict[int, tuple[float, str]] = {}
        for mode, effect in scored.fault.effects.items():
            least = settings.expected / effect
            for share, number, symptom in shown[mode]:
                if share <= least:
                    break
                known = expected.get(number)
                if known is None or effect * share > known[0]:
                    expected[number] = effect * share, symptom
        own_shown = max((unit.confidence for unit in own), default=0.0)
        learned = self._weighing.shown
        at = learned.disturbed(scored.entity.id) if learned else ""
        losses = []
        for number, (seen, symptom) in expected.items():
            watched, silent = self._silence_of(number, symptom)
            entity = self._names[number]
            if entity in faces:
                # Its own face is silent only when nothing of its own complains.
                watched = self._watched(symptom, settings.watched_self) * self._trust
                silent *= 1 - 0.6 * own_shown
            if silent:
                heard = watched * min(seen, 0.97)
                if at and learned:
                    heard = learned.heard(at, entity, heard, self._trust)
                losses.append((math.log(1 - heard) * silent, entity, symptom))
        return losses

    def _silence_of(self, number: int, symptom: str) -> tuple[float, float]:
        """(how surely it is watched for the symptom, how far it does not complain)."""
        found = self._silent.get((number, symptom))
        if found is None:
            entity = self._names[number]
            watched = self._watched(symptom, self._usually(self._piece.entities[entity].kind, symptom)) * self._trust
            found = watched, 1 - self._shows(entity, symptom)
            if _known_well(self._piece.entities[entity], symptom):
                found = max(watched, self._settings.watched_state), 1.0
            self._silent[number, symptom] = found
        return found

    def _as_sure(self, symptom: str, fault: FaultMode) -> float:
        """How far a symptom stands for the sure ones of a fault: one of the same class says much the same."""
        if symptom in fault.sure:
            return 1.0
        of = self._ontology.symptoms[symptom].of if symptom in fault.symptoms else ""
        return AKIN if any(self._ontology.symptoms[sure].of == of for sure in fault.sure) else 0.0

    def _usually(self, kind: str, symptom: str) -> float:
        """How probable it is that somebody watches for it, when the rules are not known."""
        if kind == NODE:
            return self._settings.watched_node
        if self._ontology.workload(kind) and symptom not in ASKED:
            return self._settings.watched_workload
        return self._settings.watched

    def _shows(self, entity: str, symptom: str) -> float:
        """How surely an entity complains, about anything; of a Service and what is behind it one may speak for both."""
        key = entity, symptom in ASKED
        if key not in self._complaints:
            self._complaints[key] = self._find_complaint(entity, asked=key[1])
        return self._complaints[key]

    def _find_complaint(self, entity: str, *, asked: bool) -> float:
        found = max(self._seen.showing.get(entity, {}).values(), default=0.0)
        if asked and found < 1:
            for other in (*self._wiring.faces(entity), *self._wiring.behind(entity)):
                shown = self._seen.showing.get(other, {})
                found = max(found, max((shown[each] for each in shown if each in ASKED), default=0.0))
        elif self._ontology.workload(self._piece.entities[entity].kind):
            front = self._wiring.parts(entity)
            for part in (*front, *(below for each in front for below in self._wiring.parts(each))):
                found = max(found, max(self._seen.showing.get(part, {}).values(), default=0.0))
        return found

    def _siblings(self, scored: Scored, own: Sequence[Unit]) -> list[tuple[float, str, str]]:
        """Pods that should be as sick as those that complain, when the fault is the workload's."""
        if not self._ontology.workload(scored.entity.kind):
            return []
        complaining: dict[str, float] = {}
        for unit in own:
            if self._piece.entities[unit.entity].kind == "Pod":
                complaining[unit.entity] = max(complaining.get(unit.entity, 0.0), unit.confidence)
        if not complaining:
            return []
        front = self._wiring.parts(scored.entity.id)
        pods = {*front, *(part for each in front for part in self._wiring.parts(each))}
        silent = sorted(pod for pod in pods - complaining.keys() if self._piece.entities[pod].kind == "Pod")
        weight = math.log(1 - self._settings.sibling) * max(complaining.values())
        return [
            (weight * self._settings.sibling_next**place, pod, f"{pod} does not complain")
            for place, pod in enumerate(silent[:10])
        ]

    def _expected(self, me: str, mode: str, effect: float) -> Shown:
        """What else shows when an entity is in a mode, for effects up to this one in it."""
        least, modes = self._settings.faint, len(self._modes)
        found: dict[int, tuple[float, str]] = {}
        mine = self._weighing.paths.place(me, mode) // modes
        # What arrives more weakly than this is not expected even where it shows most surely.
        weakest = least / (effect * self._most_shown)
        for place, strength in self._weighing.paths.of(me, mode, weakest).items():
            number, arrived = divmod(place, modes)
            showing = self._shown_by(number)
            if showing is None or number == mine:
                continue
            share, symptom = showing[arrived]
            if strength * share > least:
                known = found.get(number)
                if known is None or strength * share > known[0]:
                    found[number] = strength * share, symptom
        return sorted(((share, number, symptom) for number, (share, symptom) in found.items()), reverse=True)

    def _shown_by(self, number: int) -> list[tuple[float, str]] | None:
        """For each mode the symptom that an entity shows most surely in it; None if alerts about it are not usual."""
        if number not in self._kinds:
            known = self._piece.entities.get(self._names[number])
            told = known is not None and (known.kind in COMPLAINING or self._ontology.workload(known.kind))
            self._kinds[number] = self._surest(known.kind) if told and known is not None else None
        return self._kinds[number]

    def _surest(self, kind: str) -> list[tuple[float, str]]:
        """For each mode the symptom that a thing shows most surely, of those that are watched for, and how surely."""
        if kind not in self._showing:
            shown = self._ontology.shown(kind)
            found = []
            for mode in self._modes:
                best = 0.0, ""
                for symptom, share in shown.get(mode, {}).items():
                    if share > best[0] and (self._rules is None or symptom in self._rules):
                        best = share, symptom
                found.append(best)
            self._showing[kind] = found
        return self._showing[kind]

    def _watched(self, symptom: str, usual: float) -> float:
        if self._rules is None:
            return usual
        return self._settings.watched_by_rule if symptom in self._rules else 0.0


def _known_well(entity: Entity, symptom: str) -> bool:
    """Whether the cluster's API says that a thing is free of a symptom, whoever has a rule for it."""
    states = entity.properties
    if entity.kind == NODE:
        return symptom in DOWN and states.get("ready") is True
    wanted, ready = states.get("replicas"), states.get("ready")
    if symptom != MISSING or not isinstance(wanted, int) or not isinstance(ready, int):
        return False
    return 0 < wanted <= ready
