"""Negative evidence: what should be sick by a hypothesis, is watched, and shows nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping

from diagnose.paths import ASKED
from diagnose.score import Scored, Weighing, Where
from graph_schema.catalogue import FaultMode
from graph_schema.model import Entity, Evidence

NODE = "Node"
AKIN = 0.7
"""How far a symptom of the same class stands for a sure one."""
COMPLAINING = frozenset({"Service", "Ingress", "Gateway", NODE})


class Silence:
    """What is missed, for all hypotheses of one incident: what was found out for one serves the others."""

    def __init__(self, weighing: Weighing) -> None:
        self._weighing, self._settings, self._seen = weighing, weighing.settings, weighing.seen
        self._piece, self._ontology, self._wiring = weighing.piece, weighing.ontology, weighing.wiring
        self._rules = weighing.rules
        self._expecting: dict[tuple[str, str], Mapping[str, tuple[float, str]]] = {}
        self._complaints: dict[tuple[str, bool], float] = {}
        self._showing: dict[tuple[str, str], tuple[float, str]] = {}

    def count_missing(self, scored: Scored) -> None:
        """Take off for what should be sick by this hypothesis, is watched, and shows nothing."""
        settings, fault, me = self._settings, scored.fault, scored.entity.id
        trust = settings.blind if self._seen.blind else 1.0
        losses: list[tuple[float, str, str]] = []
        shown_sure = max((self._confidence(key) * self._as_sure(key[1], fault) for key in scored.own), default=0.0)
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
        shown = self._weighing.shown
        at = shown.disturbed(me) if shown else ""
        faces = set(self._wiring.faces(me)) if self._ontology.workload(scored.entity.kind) else set()
        for entity, (seen, symptom) in expected.items():
            usual = self._usually(self._piece.entities[entity].kind, symptom)
            silent = 1 - self._shows(entity, symptom)
            if entity in faces:
                # Its own face is silent only when nothing of its own complains.
                usual, silent = settings.watched_self, silent * (1 - 0.6 * own_shown)
            raises = self._watched(symptom, usual) * min(seen, 0.97)
            if at and shown:
                raises = shown.heard(at, entity, raises)
            weight = math.log(1 - raises * trust) * silent
            losses.append((weight, entity, f"{entity} shows no {symptom}"))
        losses += self._siblings(scored)
        losses.sort()
        for place, (weight, entity, text) in enumerate(losses):
            lost = weight * settings.silent_next**place
            scored.missing += lost
            if lost < -0.02:
                scored.evidence_against.append(Evidence(text=text, weight=lost, entity=entity))

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

    def _siblings(self, scored: Scored) -> list[tuple[float, str, str]]:
        """Pods that should be as sick as those that complain, when the fault is the workload's."""
        if not self._ontology.workload(scored.entity.kind):
            return []
        complaining: dict[str, float] = {}
        for entity, symptom in scored.own:
            if self._piece.entities[entity].kind == "Pod":
                complaining[entity] = max(complaining.get(entity, 0.0), self._confidence((entity, symptom)))
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

    def _expected(self, me: str, mode: str) -> Mapping[str, tuple[float, str]]:
        """What else shows when an entity is in a mode: thing → (how surely, its surest symptom that is watched for)."""
        if (me, mode) not in self._expecting:
            least = self._settings.expected
            found: dict[str, tuple[float, str]] = {}
            for (entity, arrived), (strength, _) in self._weighing.paths.of(me, {mode: 1.0}, least).items():
                known = self._piece.entities.get(entity)
                if known is None or entity == me or not self._complains(known):
                    continue
                share, symptom = self._surest(known.kind, arrived)
                if strength * share > found.get(entity, (least, ""))[0]:
                    found[entity] = strength * share, symptom
            self._expecting[me, mode] = found
        return self._expecting[me, mode]

    def _surest(self, kind: str, mode: str) -> tuple[float, str]:
        """The symptom that a thing in this mode shows most surely, of those that are watched for."""
        if (kind, mode) not in self._showing:
            best = 0.0, ""
            for symptom, share in self._ontology.shown(kind).get(mode, {}).items():
                if share > best[0] and (self._rules is None or symptom in self._rules):
                    best = share, symptom
            self._showing[kind, mode] = best
        return self._showing[kind, mode]

    def _confidence(self, key: Where) -> float:
        known = self._seen.by_key.get(key)
        return known.confidence if known else 0.0

    def _watched(self, symptom: str, usual: float) -> float:
        if self._rules is None:
            return usual
        return self._settings.watched_by_rule if symptom in self._rules else 0.0

    def _complains(self, entity: Entity) -> bool:
        """Whether alerts about things of this kind are usual."""
        return entity.kind in COMPLAINING or self._ontology.workload(entity.kind)
