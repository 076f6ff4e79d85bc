"""Negative evidence: what should be sick by a hypothesis, is watched, and shows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from diagnose.arrays import Flags, Floats, Ints, begins, firsts, orderly, spread
from diagnose.evidence import Unit
from diagnose.score import Scored, Weighing
from diagnose.siblings import POD, told_apart
from diagnose.watching import NODE, Watching
from graph_schema.catalogue import FaultMode
from graph_schema.ontology import Ontology

AKIN = 0.7
"""How far a symptom of the same class stands for a sure one."""
MOST_MISSED = 400
"""So many things that are missed count: what comes after that weighs less than nothing that is told."""
SUREST_HEARD = 0.97
FACE_SILENT = 0.6
"""How much less the silence of a thing's own face says when the thing complains."""
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
    watched: Floats
    """how surely it is,"""
    silent: Floats
    """and how far the thing does not complain."""


class Missed(msgspec.Struct, frozen=True):
    """What each hypothesis makes expect elsewhere, in order of the hypotheses."""

    row: Ints
    """The number of the hypothesis,"""
    number: Ints
    """that of what should show something,"""
    seen: Floats
    """how surely,"""
    place: Ints
    """and the row of `Showing` that says what."""
    silent: Floats
    """For each hypothesis how many things should complain, each as surely as it should, and do not."""


class Silence:
    """What is missed, for all hypotheses of one incident."""

    def __init__(self, weighing: Weighing) -> None:
        self._weighing, self._settings = weighing, weighing.settings
        self._piece, self._ontology, self._wiring = weighing.piece, weighing.ontology, weighing.wiring
        self._names, self._number = weighing.wiring.entities, weighing.wiring.number
        self._watching = Watching(weighing)
        self._surely: dict[tuple[str, str], float] = {}
        self._apart: dict[str, list[Loss]] = {}

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
        if not every:
            return
        least = self._settings.expected if self._weighing.rules is None else self._settings.expected_by_rule
        missed = _missed(every, {key: place for place, key in enumerate(sick)}, shown, least)
        self._narrow(every, missed.silent)
        own = np.array([scored.own for scored in every])
        row, number, weight, text = self._elsewhere(every, own, missed, shown)
        beside = [(place, *each) for place, loss in enumerate(self._beside(every, own)) for each in loss]
        texts = [*self._watching.symptoms, *dict.fromkeys(words for *_, words in beside)]
        ranks = {words: rank for rank, words in enumerate(sorted({*texts}))}
        if beside:
            rows, weights, names, words = zip(*beside, strict=True)
            row, weight = np.append(row, np.array(rows)), np.append(weight, np.array(weights))
            number = np.append(number, np.array([self._number[name] for name in names]))
            places = {words: place for place, words in enumerate(texts)}
            text = np.append(text, np.array([places[each] for each in words]))
        # The largest losses of each count most. Numbers of entities are in order of their names.
        order = orderly(number, np.array([ranks[each] for each in texts], int)[text])
        order = order[np.argsort(weight[order], kind="stable")]
        order = order[orderly(row[order])]
        self._count(every, row[order], number[order], weight[order], [texts[each] for each in text[order].tolist()])

    def _count(self, every: Sequence[Scored], row: Ints, number: Ints, weight: Floats, texts: Sequence[str]) -> None:
        count = np.bincount(row, minlength=len(every))
        begins = np.cumsum(count) - count
        place = np.arange(len(row)) - begins[row]
        kept = np.flatnonzero(place < MOST_MISSED)
        longest = min(MOST_MISSED, int(count.max(initial=0)))
        lasting = np.array([self._settings.silent_next**each for each in range(longest)])
        lost = np.zeros(len(row))
        lost[kept] = weight[kept] * lasting[place[kept]]
        # One after the other, as a sum over parts in another order would differ in the last digits.
        sums = np.zeros((len(every), 1 + longest))
        sums[row[kept], 1 + place[kept]] = lost[kept]
        names = self._names
        losses = list(zip(lost.tolist(), [names[each] for each in number.tolist()], texts, strict=True))
        totals = np.cumsum(sums, axis=1)[:, -1].tolist()
        for scored, total, (start, end) in zip(every, totals, pairwise([*begins.tolist(), len(row)]), strict=True):
            scored.missing = total
            scored.missed = losses[start : min(end, start + MOST_MISSED)]

    def _narrow(self, every: Sequence[Scored], silent: Floats) -> None:
        """A fault that leaves far more things in peace than it makes sick explains each of those less: it would be
        chance that just these complain. Else what stands above everything (a zone) would explain whatever goes astray.

        `silent`: how many things should have complained and do not.
        """
        settings, columns = self._settings, self._weighing.columns
        explained = np.count_nonzero(np.array([each.weights for each in every]) >= settings.explained, axis=1)
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

    def _elsewhere(
        self, every: Sequence[Scored], own: Flags, missed: Missed, shown: Showing
    ) -> tuple[Ints, Ints, Floats, Ints]:
        """(hypothesis, number of the entity, log-odds lost, symptom) of what should show on other things."""
        row, number, place = missed.row, missed.number, missed.place
        symptom, watched, silent = shown.symptom[place], shown.watched[place], shown.silent[place]
        faces = self._faces(every, row, number)
        if len(faces):
            # Its own face is silent only when nothing of its own complains.
            usual = [self._watching.watched(each, self._settings.watched_self) for each in self._watching.symptoms]
            own_shown = np.where(own, self._weighing.columns.confidence, 0.0).max(axis=1, initial=0.0)
            watched[faces] = np.array(usual)[symptom[faces]]
            silent[faces] *= 1 - FACE_SILENT * own_shown[row[faces]]
        some = np.flatnonzero(silent)
        row, number, symptom, silent = row[some], number[some], symptom[some], silent[some]
        heard = (watched[some] * np.minimum(missed.seen[some], SUREST_HEARD)).tolist()
        if learned := self._weighing.shown:
            for each, (which, other) in enumerate(zip(row.tolist(), number.tolist(), strict=True)):
                if at := learned.disturbed(every[which].entity.id):
                    heard[each] = learned.heard(at, self._names[other], heard[each], self._watching.trust)
        log = math.log
        return row, number, np.array([log(1 - each) for each in heard]) * silent, symptom

    def _faces(self, every: Sequence[Scored], row: Ints, number: Ints) -> Ints:
        """Which rows are of an entity that is a face of the hypothesis' own."""
        own: dict[str, list[int]] = {}
        pairs = []
        for place, scored in enumerate(every):
            entity = scored.entity
            if entity.id not in own:
                workload = self._ontology.workload(entity.kind)
                own[entity.id] = [self._number[face] for face in self._wiring.faces(entity.id)] if workload else []
            pairs += [place * len(self._names) + face for face in own[entity.id]]
        return np.flatnonzero(np.isin(row * len(self._names) + number, np.array(pairs, int)))

    def _beside(self, every: Sequence[Scored], own: Flags) -> Iterator[list[Loss]]:
        """For each hypothesis what is missed of the entity itself and of what is made like its sick parts."""
        units = self._weighing.columns.units
        for scored, columns in zip(every, own, strict=True):
            mine = [units[column] for column in columns.nonzero()[0].tolist()]
            yield [*self._itself(scored, mine), *self._siblings(scored, mine)]

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
        watched = self._watching.watched(surest, usual)
        weight = math.log(1 - watched * fault.symptoms.get(surest, 0.0)) * (1 - shown)
        return [(weight, scored.entity.id, f"it shows no {surest} itself")]

    def _as_sure(self, symptom: str, fault: FaultMode) -> float:
        """How far a symptom stands for the sure ones of a fault: one of the same class says much the same."""
        key = fault.name, symptom
        if key not in self._surely:
            of = self._ontology.symptoms[symptom].of if symptom in fault.symptoms else ""
            akin = AKIN if any(self._ontology.symptoms[sure].of == of for sure in fault.sure) else 0.0
            self._surely[key] = 1.0 if symptom in fault.sure else akin
        return self._surely[key]

    def _siblings(self, scored: Scored, own: Sequence[Unit]) -> list[Loss]:
        """Pods that should be as sick as those that complain, or are sick by the API's word, when the fault is the
        workload's."""
        entity, entities = scored.entity, self._piece.entities
        if entity.kind == POD:
            return self._spared(self._sick_beside(entity.id), 1.0, "is not ready either, and is made like it")
        if not self._ontology.workload(entity.kind):
            return []
        complaining: dict[str, float] = {}
        for unit in own:
            if entities[unit.entity].kind == POD:
                complaining[unit.entity] = max(complaining.get(unit.entity, 0.0), unit.confidence)
        if complaining:
            front = self._wiring.parts(entity.id)
            pods = {*front, *(part for each in front for part in self._wiring.parts(each))}
            silent = sorted(pod for pod in pods - complaining.keys() if entities[pod].kind == POD)
            return self._spared(silent, max(complaining.values()), "does not complain")
        if entity.id not in self._apart:
            _, well = told_apart(entity.id, self._wiring, entities)
            self._apart[entity.id] = self._spared(well, 1.0, "is well, and another one made like it is not")
        return self._apart[entity.id]

    def _sick_beside(self, pod: str) -> list[str]:
        """Pods of the same owner that are sick by the API's word: what only this pod has does not explain them."""
        beside = {part for owner in self._wiring.owners(pod) for part in self._wiring.parts(owner)} - {pod}
        return sorted(each for each in beside if self._is_sick(each))

    def _is_sick(self, pod: str) -> bool:
        known = self._piece.entities.get(pod)
        return known is not None and known.kind == POD and known.properties.get("ready") is False

    def _spared(self, pods: Sequence[str], surely: float, words: str) -> list[Loss]:
        weight = math.log(1 - self._settings.sibling) * surely
        return [
            (weight * self._settings.sibling_next**place, pod, f"{pod} {words}") for place, pod in enumerate(pods[:10])
        ]

    def _expected(self, sick: Mapping[tuple[str, str], float]) -> Showing:
        """What else shows when entities are in modes, for effects up to this one in each."""
        paths, least = self._weighing.paths, self._settings.faint
        # What arrives more weakly than this is not expected even where it shows most surely.
        most_shown = self._ontology.once(_most_shown)
        weakest = [least / (effect * most_shown) for effect in sick.values()]
        shows = paths.of([(*key, each) for key, each in zip(sick, weakest, strict=True)])
        number, arrived = np.divmod(shows.place, len(paths.moves.modes))
        share = shows.strength * self._watching.share(number, arrived)
        mine = np.array([self._number[entity] for entity, _ in sick], int)
        told = np.flatnonzero((share > least) & (number != mine[shows.asked]))
        # Of each entity what it shows most surely, and of these the surest first.
        told = told[orderly(number.max(initial=0) - number[told])]
        told = told[np.argsort(-share[told], kind="stable")]
        told = told[firsts(shows.asked[told] * len(self._names) + number[told])]
        told = told[orderly(shows.asked[told])]
        asked, number, share = shows.asked[told], number[told], share[told]
        count = np.bincount(asked, minlength=len(sick))
        return Showing(np.cumsum(count) - count, count, number, share, *self._watching.silence(number, arrived[told]))


def _most_shown(ontology: Ontology) -> float:
    return max(share for table in ontology.shows.values() for row in table.values() for share in row.values())


def _missed(
    every: Sequence[Scored], questions: Mapping[tuple[str, str], int], shown: Showing, expected: float
) -> Missed:
    """`questions`: (entity, mode) → its number in `shown`. `expected`: how much of a fault must arrive at least."""
    row = np.repeat(np.arange(len(every)), [len(scored.fault.effects) for scored in every])
    question = np.array([questions[scored.entity.id, mode] for scored in every for mode in scored.fault.effects], int)
    effect = np.array([effect for scored in every for effect in scored.fault.effects.values()], float)
    which, place = spread(shown.begins[question], shown.count[question])
    row, effect = row[which], effect[which]
    there = np.bincount(shown.number) > 0
    size = max(1, int(np.count_nonzero(there)))
    cell = row * size + (np.cumsum(there) - 1)[shown.number[place]]
    peace = np.zeros(len(every) * size)
    unheard = shown.share * (shown.watched * shown.silent)
    np.maximum.at(peace, cell, effect * unheard[place])
    arrives = np.flatnonzero(shown.share[place] > expected / effect)
    cell, seen, place = cell[arrives], (effect * shown.share[place])[arrives], place[arrives]
    most = np.zeros(len(every) * size)
    np.maximum.at(most, cell, seen)
    surest = np.flatnonzero(seen == most[cell])
    surest = surest[orderly(cell[surest])]
    surest = surest[begins(cell[surest])]
    place = place[surest]
    peace = peace.reshape(len(every), size).sum(axis=1)
    return Missed(cell[surest] // size, shown.number[place], seen[surest], place, peace)
