"""Negative evidence: what should be sick by a hypothesis, is watched, and shows nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import msgspec
import numpy as np

from diagnose.arrays import NOBODY, Floats, Ints, firsts, firsts_by, spread
from diagnose.evidence import Unit
from diagnose.paths import ASKED
from diagnose.score import Scored, Weighing
from diagnose.siblings import told_apart
from graph_schema.catalogue import FaultMode
from graph_schema.model import Entity, Evidence

NODE, POD = "Node", "Pod"
AKIN = 0.7
"""How far a symptom of the same class stands for a sure one."""
MOST_MISSED = 400
"""So many things that are missed count: what comes after that weighs less than nothing that is told."""
LEAST_TOLD = -0.02
"""Log-odds from which on what is missed is told."""
COMPLAINING = frozenset({"Service", "Ingress", "Gateway", NODE})


DOWN = frozenset({"node_not_ready", "node_unreachable"})
MISSING = "replicas_mismatch"
Loss = tuple[float, str, str]
"""(log-odds lost, entity, what is missed: a symptom, or words)"""


class Showing(msgspec.Struct, frozen=True):
    """What shows where when entities are in modes: rows for each question, side by side."""

    begins: Ints
    count: Ints
    """By the number of the question."""
    number: Ints
    """Of what shows something,"""
    share: Floats
    """how surely it shows anything,"""
    symptom: Ints
    """the number of its surest symptom that is watched for,"""
    symptoms: Sequence[str]
    """which of these it is,"""
    unheard: Floats
    """and how surely that would have been heard and was not."""


class Missed(msgspec.Struct, frozen=True):
    """What each hypothesis makes expect elsewhere: rows for each, side by side."""

    begins: Sequence[int]
    expected: Sequence[tuple[int, float, int]]
    """(number of what should show something, how surely, the number of the symptom)"""
    silent: Sequence[float]
    """For each hypothesis how many things should complain, each as surely as it should, and do not."""


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
        self._kinds: dict[str, int] = {}

    def count_missing(self, found: Sequence[Sequence[Scored]]) -> None:
        """Take off for what should be sick by these hypotheses of each entity, is watched, and shows nothing."""
        sick: dict[tuple[str, str], float] = {}
        for faults in found:
            for scored in faults:
                for mode, effect in scored.fault.effects.items():
                    key = scored.entity.id, mode
                    sick[key] = max(sick.get(key, 0.0), effect)
        shown = self._expected(sick)
        every = [scored for faults in found for scored in faults]
        least = self._settings.expected if self._rules is None else self._settings.expected_by_rule
        missed = _missed(every, {key: place for place, key in enumerate(sick)}, shown, least)
        self._narrow(every, np.array(missed.silent))
        spans = [missed.expected[start:end] for start, end in pairwise(missed.begins)]
        faces: dict[str, Collection[str]] = {}
        for scored, expected in zip(every, spans, strict=True):
            entity = scored.entity
            if entity.id not in faces:
                faces[entity.id] = set(self._wiring.faces(entity.id)) if self._ontology.workload(entity.kind) else ()
            self._count_missing(scored, expected, shown.symptoms, faces[entity.id])

    def _count_missing(
        self, scored: Scored, expected: Iterable[tuple[int, float, int]], symptoms: Sequence[str],
        faces: Collection[str],
    ) -> None:  # fmt: skip
        own = [self._weighing.columns.units[column] for column in scored.own.nonzero()[0].tolist()]
        elsewhere = self._elsewhere(scored, own, expected, symptoms, faces)
        losses = [*self._itself(scored, own), *elsewhere, *self._siblings(scored, own)]
        losses.sort()
        for (weight, name, missed), lasting in zip(losses, self._lasting, strict=False):
            lost = weight * lasting
            scored.missing += lost
            if lost < LEAST_TOLD:
                text = missed if " " in missed else f"{name} shows no {missed}"
                scored.evidence_against.append(Evidence(text=text, weight=lost, entity=name))

    def _narrow(self, every: Sequence[Scored], silent: Floats) -> None:
        """A fault that leaves far more things in peace than it makes sick explains each of those less: it would be
        chance that just these complain. Else what stands above everything (a zone) would explain whatever goes astray.

        `silent`: how many things should have complained and do not.
        """
        settings, columns = self._settings, self._weighing.columns
        explained = np.array([np.count_nonzero(each.weights >= settings.explained) for each in every])
        reach = (explained + settings.narrow) / (explained + np.maximum(silent, settings.narrow))
        narrowed = np.flatnonzero(reach < 1).tolist()
        if not narrowed:
            return
        weights = np.array([every[place].weights for place in narrowed])
        own = np.array([every[place].own for place in narrowed])
        weights = np.where(own, weights, weights * reach[narrowed, None])
        gains = columns.gained(weights, columns.leak, settings.same_entity).tolist()
        for place, row, gain in zip(narrowed, weights, gains, strict=True):
            every[place].weights, every[place].gain = row, gain

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
        self, scored: Scored, own: Sequence[Unit], expected: Iterable[tuple[int, float, int]],
        symptoms: Sequence[str], faces: Collection[str],
    ) -> list[Loss]:  # fmt: skip
        """What should show on other things."""
        settings = self._settings
        own_shown = max((unit.confidence for unit in own), default=0.0)
        learned = self._weighing.shown
        at = learned.disturbed(scored.entity.id) if learned else ""
        losses = []
        for number, seen, place in expected:
            symptom = symptoms[place]
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
            found = max(found, self._spoken_for.get(self._weighing.paths.moves.number[entity], 0.0))
        elif self._ontology.workload(self._piece.entities[entity].kind):
            front = self._wiring.parts(entity)
            for part in (*front, *(below for each in front for below in self._wiring.parts(each))):
                found = max(found, max(self._seen.showing.get(part, {}).values(), default=0.0))
        return found

    @cached_property
    def _spoken_for(self) -> dict[int, float]:
        """Entity, by number → how surely the Services before it, or what is behind it, complain of requests."""
        number, shows = self._weighing.paths.moves.number, np.zeros(len(self._names))
        for entity, shown in self._seen.showing.items():
            shows[number[entity]] = max((shown[each] for each in shown if each in ASKED), default=0.0)
        found = np.zeros(len(self._names))
        for each in self._wiring.behind_services:
            np.maximum.at(found, each.cause, shows[each.service])
            if each.owns:
                np.maximum.at(found, each.service, shows[each.cause])
        return {place: float(found[place]) for place in found.nonzero()[0].tolist()}

    def _siblings(self, scored: Scored, own: Sequence[Unit]) -> list[tuple[float, str, str]]:
        """Pods that should be as sick as those that complain, or are sick by the API's word, when the fault is the
        workload's."""
        entities = self._piece.entities
        if scored.entity.kind == POD:
            return self._spared(self._sick_beside(scored.entity.id), 1.0, "is not ready either, and is made like it")
        if not self._ontology.workload(scored.entity.kind):
            return []
        complaining: dict[str, float] = {}
        for unit in own:
            if entities[unit.entity].kind == POD:
                complaining[unit.entity] = max(complaining.get(unit.entity, 0.0), unit.confidence)
        if complaining:
            front = self._wiring.parts(scored.entity.id)
            pods = {*front, *(part for each in front for part in self._wiring.parts(each))}
            silent = sorted(pod for pod in pods - complaining.keys() if entities[pod].kind == POD)
            return self._spared(silent, max(complaining.values()), "does not complain")
        _, well = told_apart(scored.entity.id, self._wiring, entities)
        return self._spared(well, 1.0, "is well, and another one made like it is not")

    def _sick_beside(self, pod: str) -> list[str]:
        """Pods of the same owner that are sick by the API's word: what only this pod has does not explain them."""
        beside = {part for owner in self._wiring.owners(pod) for part in self._wiring.parts(owner)} - {pod}
        return sorted(each for each in beside if self._is_sick(each))

    def _is_sick(self, pod: str) -> bool:
        known = self._piece.entities.get(pod)
        return known is not None and known.kind == POD and known.properties.get("ready") is False

    def _spared(self, pods: Sequence[str], surely: float, words: str) -> list[tuple[float, str, str]]:
        weight = math.log(1 - self._settings.sibling) * surely
        return [
            (weight * self._settings.sibling_next**place, pod, f"{pod} {words}") for place, pod in enumerate(pods[:10])
        ]

    def _expected(self, sick: Mapping[tuple[str, str], float]) -> Showing:
        """What else shows when entities are in modes, for effects up to this one in each."""
        least, modes = self._settings.faint, len(self._modes)
        # What arrives more weakly than this is not expected even where it shows most surely.
        weakest = [least / (effect * self._most_shown) for effect in sick.values()]
        shows = self._weighing.paths.of([(*key, each) for key, each in zip(sick, weakest, strict=True)])
        number, arrived = np.divmod(shows.place, modes)
        group = self._groups(number)
        rows = [self._surest(kind) for kind in self._kinds]
        shares = np.array([[share for share, _ in row] for row in rows] or np.zeros((1, modes)))
        share = shows.strength * shares[group, arrived]
        mine = np.array([self._weighing.paths.moves.number[entity] for entity, _ in sick], int)
        told = np.flatnonzero((group != NOBODY) & (share > least) & (number != mine[shows.asked]))
        # Of each entity what it shows most surely, and of these the surest first.
        told = told[firsts_by(shows.asked[told], number[told], share[told])]
        told = told[np.lexsort((-number[told], -share[told], shows.asked[told]))]
        asked, number, share = shows.asked[told], number[told], share[told]
        # What is watched for, and whether it is silent, is the same for all that arrives in one mode.
        pair = number * (modes * max(1, len(rows))) + group[told] * modes + arrived[told]
        once = firsts(pair)
        names: dict[str, int] = {}
        symptom, quiet = np.zeros(len(once), int), np.zeros(len(once))
        for place, (which, kind, mode) in enumerate(
            zip(number[once].tolist(), group[told[once]].tolist(), arrived[told[once]].tolist(), strict=True)
        ):
            name = rows[kind][mode][1]
            symptom[place] = names.setdefault(name, len(names))
            quiet[place] = math.prod(self._silence_of(which, name))
        order = np.argsort(pair[once])
        of = order[np.searchsorted(pair[once[order]], pair)]
        begins = np.searchsorted(asked, np.arange(len(sick) + 1))
        return Showing(begins[:-1], np.diff(begins), number, share, symptom[of], list(names), share * quiet[of])

    def _groups(self, numbers: Ints) -> Ints:
        """For each entity, by number, which of the kinds it is of; `NOBODY` where alerts about it are not usual."""
        found = np.full(len(self._names), NOBODY)
        kinds = self._kinds
        for number in numbers[firsts(numbers)].tolist():
            known = self._piece.entities.get(self._names[number])
            if known is not None and (known.kind in COMPLAINING or self._ontology.workload(known.kind)):
                found[number] = kinds.setdefault(known.kind, len(kinds))
        return found[numbers]

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


def _missed(
    every: Sequence[Scored], questions: Mapping[tuple[str, str], int], shown: Showing, expected: float
) -> Missed:
    """`questions`: (entity, mode) → its number in `shown`. `expected`: how much of a fault must arrive at least."""
    effects = [
        (row, questions[scored.entity.id, mode], effect)
        for row, scored in enumerate(every)
        for mode, effect in scored.fault.effects.items()
    ]
    row, question = np.array([each[:2] for each in effects], int).reshape(-1, 2).T
    effect = np.array([each[2] for each in effects], float)
    which, place = spread(shown.begins[question], shown.count[question])
    row, effect = row[which], effect[which]
    numbers = np.sort(shown.number[firsts(shown.number)])
    size = max(1, len(numbers))
    cell = row * size + np.searchsorted(numbers, shown.number[place])
    peace = np.zeros(len(every) * size)
    np.maximum.at(peace, cell, effect * shown.unheard[place])
    arrives = np.flatnonzero(shown.share[place] > expected / effect)
    cell, seen, place = cell[arrives], (effect * shown.share[place])[arrives], place[arrives]
    most = np.zeros(len(every) * size)
    np.maximum.at(most, cell, seen)
    surest = np.flatnonzero(seen == most[cell])
    surest = surest[firsts(cell[surest])]
    surest = surest[np.argsort(cell[surest], kind="stable")]
    begins = np.searchsorted(cell[surest], size * np.arange(len(every) + 1))
    rows = [column[surest].tolist() for column in (shown.number[place], seen, shown.symptom[place])]
    return Missed(begins.tolist(), list(zip(*rows, strict=True)), peace.reshape(len(every), size).sum(axis=1).tolist())
