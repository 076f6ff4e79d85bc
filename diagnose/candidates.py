"""Candidates: the entities that could have brought about a signal, each with its likeliest faults.

Most of what a walk reaches can't win. A bound of each entity's odds, made from the strongest faults that its kind can
have, is enough to leave it out: only entities whose bound comes up to the best ones are weighed fault by fault.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from diagnose.bounds import Bounds
from diagnose.evidence import Unit
from diagnose.paths import Reach
from diagnose.probes import Answers, answered, spoken_for
from diagnose.score import Scored, Weighing, Where
from diagnose.settings import Settings
from diagnose.silence import Silence
from diagnose.wiring import SELF, Wiring
from graph_schema.catalogue import Catalogue, FaultMode
from graph_schema.model import Entity, Evidence, ProbeAnswer
from graph_schema.ontology import Ontology


class Candidate(msgspec.Struct, kw_only=True):
    """An entity with its possible faults, the likeliest first, while causes are chosen."""

    entity: Entity
    faults: list[Scored]
    odds: float
    """Log-odds that it has one of the faults."""
    probability: float = 0.0


def faults_of(entity: Entity, catalogue: Catalogue, ontology: Ontology, wiring: Wiring) -> tuple[FaultMode, ...]:
    """The faults that an entity can have: those of its kind, and those of what it is for."""
    kind = entity.kind if catalogue.known(entity.kind) else ontology.known_kind(entity.kind) or entity.kind
    faults = catalogue.on(kind) if kind not in SILENT else ()
    # A Service is only the face of what is behind it; it has the faults of its role when nothing is known to be there.
    works = ontology.workload(entity.kind) or (entity.kind == "Service" and not wiring.fronted(entity.id))
    role = ontology.role(entity.name) if works else None
    found = (*faults, *catalogue.on(role)) if role and catalogue.known(role) and role != kind else faults
    if entity.properties.get("exists") is False:
        # What is not there can't be wrong, slow or full; it can only be missed.
        return tuple(fault for fault in found if fault.states.get("exists") is False or "delete" in fault.changes)
    return found


SILENT = frozenset({"ReplicaSet", "Revision", "EndpointSlice", "Unmapped"})
"""Kinds that are parts of others' working; their faults are those of what owns them."""


def candidates(weighing: Weighing, catalogue: Catalogue, answers: Iterable[ProbeAnswer] = ()) -> list[Candidate]:
    """The likeliest candidates of the incident and of each of its signals, best first, what is missing counted.

    `answers`: what came of probes.
    """
    reaches: dict[str, dict[Where, dict[str, Reach]]] = defaultdict(lambda: defaultdict(dict))
    for unit in weighing.seen.units:
        for (entity, mode), reach in weighing.paths.to(*unit.key).items():
            reaches[entity][unit.key][mode] = reach
    weighing = msgspec.structs.replace(weighing, carried=_carried(weighing))
    found = _likeliest(weighing, catalogue, reaches, {(each.question, each.confirms): each for each in answers})
    leaks, settings = leaks_of(weighing.seen.units), weighing.settings
    silence = Silence(weighing)
    for each in found:
        odds = [fault.log_odds(leaks, settings.same_entity) for fault in each.faults]
        each.faults = [
            fault for fault, value in zip(each.faults, odds, strict=True) if value >= max(odds) - settings.faults_within
        ]
        for scored_fault in each.faults:
            silence.count_missing(scored_fault)
    return sorted((candidate(each.faults, leaks, settings) for each in found), key=order)


def _likeliest(
    weighing: Weighing,
    catalogue: Catalogue,
    reaches: Mapping[str, Mapping[Where, Mapping[str, Reach]]],
    answers: Answers,
) -> list[Candidate]:
    """The best `looked_at_closely`, and of what explains each signal the best `for_each_signal`.

    Entities are weighed in order of their bounds until none that is left can come up to the last of the best.
    """
    settings, leaks = weighing.settings, leaks_of(weighing.seen.units)
    bounds = Bounds(weighing)
    waiting: list[tuple[float, str, tuple[FaultMode, ...], frozenset[Where]]] = []
    for name, by_unit in reaches.items():
        faults = faults_of(weighing.piece.entities[name], catalogue, weighing.ontology, weighing.wiring)
        if faults:
            bound, explains = bounds.of(name, faults, by_unit)
            hoped = spoken_for(weighing.piece.entities[name], faults, answers) if answers else 0.0
            waiting.append((-bound - hoped, name, faults, explains))
    waiting.sort(key=lambda each: each[:2])
    found: list[Candidate] = []
    worst = -math.inf
    best: list[float] = []
    lacking = dict.fromkeys(leaks, settings.for_each_signal)
    for negative, name, faults, explains in waiting:
        if -negative < worst and not any(lacking.get(key, 0) > 0 for key in explains):
            continue
        scored = weighing.weigh(weighing.piece.entities[name], faults, reaches[name])
        if not scored:
            continue
        if answers:
            _count_answers(scored, answers)
        made = candidate(scored, leaks, settings)
        found.append(made)
        insort(best, -made.odds)
        if len(best) >= settings.looked_at_closely:
            worst = -best[settings.looked_at_closely - 1]
        for key, weight in made.faults[0].weights.items():
            if weight >= settings.explained:
                lacking[key] -= 1
    found.sort(key=order)
    kept, lacking = [], dict.fromkeys(leaks, settings.for_each_signal)
    for place, each in enumerate(found):
        explained = [key for key, weight in each.faults[0].weights.items() if weight >= settings.explained]
        if place < settings.looked_at_closely or any(lacking[key] > 0 for key in explained):
            kept.append(each)
        for key in explained:
            lacking[key] -= 1
    return kept


def _count_answers(scored: Iterable[Scored], answers: Answers) -> None:
    """What probes answered moves the odds of the faults that they were about."""
    for each in scored:
        for weight, text in answered(each.entity, each.fault, answers):
            each.prior += weight
            found = Evidence(text=text, weight=weight, entity=each.entity.id)
            (each.evidence_for if weight > 0 else each.evidence_against).append(found)


def _carried(weighing: Weighing) -> dict[Where, list[tuple[Where, float, Reach]]]:
    """Which other symptoms a symptom may have brought about, how surely, and by which way.

    Only in the direction in which it is surer; two symptoms of one thing and its parts bring about neither.
    """
    by_entity: dict[str, list[Unit]] = defaultdict(list)
    for unit in weighing.seen.units:
        by_entity[unit.entity].append(unit)
    leads: dict[tuple[Where, Where], tuple[float, Reach]] = {}
    own: set[tuple[str, str]] = set()
    for unit in weighing.seen.units:
        for (entity, mode), reach in weighing.paths.to(*unit.key).items():
            if entity == unit.entity or entity not in by_entity:
                continue
            if mode == SELF:
                own.add((entity, unit.entity))
                continue
            shown = weighing.ontology.shown(weighing.piece.entities[entity].kind)
            for earlier in by_entity[entity]:
                best = max((row.get(earlier.symptom, 0.0) for row in shown.values()), default=0.0)
                # How well the mode goes with what was seen there, against the mode that it goes with best.
                fits = shown.get(mode, {}).get(earlier.symptom, 0.0) / best if best > 0 else 0.0
                share = reach.strength * fits * earlier.confidence * unit.confidence
                if share > leads.get((earlier.key, unit.key), (unit.leak, reach))[0]:
                    leads[earlier.key, unit.key] = share, reach
    found: dict[Where, list[tuple[Where, float, Reach]]] = defaultdict(list)
    for (first, then), (share, reach) in sorted(leads.items(), key=lambda item: item[0]):
        back = leads.get((then, first), (0.0, reach))[0]
        both_own = (first[0], then[0]) in own and (then[0], first[0]) in own
        if share > back * SURER and not both_own:
            found[first].append((then, share, reach))
    return found


SURER = 1.2
"""By how much one direction must be surer than the other to count."""


def leaks_of(units: Iterable[Unit]) -> dict[Where, float]:
    """How probable each signal is without any cause: where noisy-OR begins."""
    return {unit.key: unit.leak for unit in units}


def candidate(faults: Sequence[Scored], seen: Mapping[Where, float], settings: Settings) -> Candidate:
    odds = [(each.log_odds(seen, settings.same_entity), each) for each in faults]
    odds.sort(key=lambda pair: (-round(pair[0], 9), -pair[1].fault.prior, pair[1].fault.name))
    return Candidate(
        entity=odds[0][1].entity, faults=[each for _, each in odds], odds=log_sum([value for value, _ in odds])
    )


def order(each: Candidate) -> tuple[float, int, float, str]:
    """The declared rule of ties: odds, signals explained, prior of the likeliest fault, then the identifier."""
    return -round(each.odds, 9), -len(each.faults[0].weights), -each.faults[0].fault.prior, each.entity.id


def log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(each - top) for each in values))
