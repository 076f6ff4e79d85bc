"""Candidates: the entities that could have brought about a signal, each with its likeliest faults.

Most of what a walk reaches can't win. A bound of each entity's odds, made from the strongest faults that its kind can
have, is enough to leave it out: only entities whose bound comes up to the best ones are weighed fault by fault.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec
import numpy as np

from diagnose.arrays import Bits, Flags, Ints
from diagnose.bounds import bounds
from diagnose.facts import Facts
from diagnose.probes import Answers, answered, spoken_for
from diagnose.reached import Columns
from diagnose.score import Scored, Weighing
from diagnose.settings import Settings
from diagnose.silence import Silence
from diagnose.wiring import Wiring
from graph_schema.catalogue import Catalogue, FaultMode
from graph_schema.model import Entity, Evidence, ProbeAnswer
from graph_schema.ontology import Ontology

SERVICE = "Service"


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
    works = ontology.workload(entity.kind) or (entity.kind == SERVICE and not wiring.fronted(entity.id))
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
    found = _likeliest(weighing, catalogue, {(each.question, each.confirms): each for each in answers})
    settings = weighing.settings
    for each in found:
        least = max(fault.log_odds for fault in each.faults) - settings.faults_within
        each.faults = [fault for fault in each.faults if fault.log_odds >= least]
    Silence(weighing).count_missing([each.faults for each in found])
    return sorted((candidate(each.faults, [fault.log_odds for fault in each.faults]) for each in found), key=order)


def _likeliest(weighing: Weighing, catalogue: Catalogue, answers: Answers) -> list[Candidate]:
    """The best `looked_at_closely`, and of what explains each signal the best `for_each_signal`.

    Entities are weighed in order of their bounds until none that is left can come up to the last of the best.
    """
    settings, reached, entities = weighing.settings, weighing.reached, weighing.piece.entities
    able = list(_able(weighing, catalogue))
    known = {fault.name: fault for faults in {id(faults): faults for _, faults in able}.values() for fault in faults}
    facts = Facts(known.values(), weighing.columns, reached, weighing.paths.moves.mode, settings, weighing.shown)
    limits, explains = bounds(weighing, facts, [row for row, _ in able], [faults for _, faults in able])
    if answers:
        hoped = [spoken_for(entities[reached.names[row]], faults, answers) for row, faults in able]
        limits = [limit + each for limit, each in zip(limits, hoped, strict=True)]
    limit = np.array(limits)
    # What is reached is in order of its names, which ties go by.
    waiting = np.argsort(-limit, kind="stable")
    found: list[Candidate] = []
    many, room = 0, MOST_HELD
    worst = -math.inf
    best: list[float] = []
    columns, close = weighing.columns, settings.looked_at_closely
    lacking = np.full(len(columns), settings.for_each_signal)
    lacked: Bits | None = None

    def hopeful(places: Ints) -> Flags:
        nonlocal lacked
        likely = limit[places] >= worst
        if many >= MOST_WEIGHED * close or likely.all():
            return likely
        if lacked is None:
            lacked = _lacked(lacking, columns)
        return likely | (explains[places] & lacked).any(axis=1)

    def weighed() -> Iterator[list[Scored]]:
        nonlocal waiting
        while len(waiting):
            # What is hopeless now will be so later: the next ones that are not are weighed in one go.
            waiting = waiting[hopeful(waiting)]
            asked, waiting = waiting[:close], waiting[close:]
            made = weighing.weigh([able[each] for each in asked.tolist()], facts) if len(asked) else []
            for place, scored in zip(asked, made, strict=True):
                if scored and (limits[place] >= worst or hopeful(np.array([place]))[0]):
                    yield scored

    for scored in weighed():
        if answers:
            _count_answers(scored, answers)
        found.append(candidate(scored, [each.log_odds for each in scored]))
        many += 1
        insort(best, -found[-1].odds)
        if len(best) >= close:
            worst = -best[close - 1]
        lacking -= found[-1].faults[0].weights >= settings.explained
        lacked = None
        if len(found) >= room:
            found = [_by_itself(each) for each in _needed(found, columns, settings)]
            room = max(MOST_HELD, 2 * len(found))
    return list(islice(_needed(found, columns, settings), 2 * close))


def _needed(found: Iterable[Candidate], columns: Columns, settings: Settings) -> Iterator[Candidate]:
    """In their order the best that are looked at closely, and of the rest those that explain a signal of which too few
    better ones do. Who is none of these now will not be when others are found."""
    lacking = np.full(len(columns), settings.for_each_signal)
    for number, each in enumerate(sorted(found, key=order)):
        explained = each.faults[0].weights >= settings.explained
        if number < settings.looked_at_closely or (lacking[explained] > 0).any():
            yield each
        lacking -= explained


def _by_itself(each: Candidate) -> Candidate:
    """With weights of its own: else those of all that it was weighed with are kept for it."""
    for fault in each.faults:
        if fault.weights.base is not None:
            fault.weights, fault.own = fault.weights.copy(), fault.own.copy()
    return each


def _able(weighing: Weighing, catalogue: Catalogue) -> Iterator[tuple[int, tuple[FaultMode, ...]]]:
    """(row in what is reached, the faults that it can have) of each entity that can have any."""
    reached, wiring, ontology = weighing.reached, weighing.wiring, weighing.ontology
    entities, gone = weighing.piece.entities, "exists" in weighing.states_told
    by_kind: list[tuple[FaultMode, ...] | None] = [None] * len(wiring.entity_kinds)
    kinds = wiring.of_kind[reached.entity[reached.first]].tolist()
    for row, (name, kind) in enumerate(zip(reached.names, kinds, strict=True)):
        faults = by_kind[kind]
        if faults is None:
            entity = entities[name]
            faults = faults_of(entity, catalogue, ontology, wiring)
            if not gone and entity.kind != SERVICE and not ontology.workload(entity.kind):
                # Nothing but its kind counts.
                by_kind[kind] = faults
        if faults:
            yield row, faults


def _lacked(lacking: Ints, columns: Columns) -> Bits:
    """The complaining entities some of whose units lack something, packed."""
    found = np.zeros(len(columns.entities), bool)
    found[columns.entity[lacking > 0]] = True
    return np.packbits(found)


def _count_answers(scored: Iterable[Scored], answers: Answers) -> None:
    """What probes answered moves the odds of the faults that they were about."""
    for each in scored:
        for weight, text in answered(each.entity, each.fault, answers):
            each.prior += weight
            found = Evidence(text=text, weight=weight, entity=each.entity.id)
            (each.evidence_for if weight > 0 else each.evidence_against).append(found)


MOST_HELD = 256
"""Candidates that are held while others are weighed: of a storm of tens of thousands each has megabytes of weights."""
MOST_WEIGHED = 4
"""How many times as many as are looked at closely are weighed for the sake of single signals, in a storm."""


def candidate(faults: Sequence[Scored], odds: Sequence[float]) -> Candidate:
    """One entity with its faults in order of their log-odds."""
    falling = [-round(value, 9) for value in odds]
    if len({*falling}) == len(falling):
        ranked = sorted(range(len(falling)), key=falling.__getitem__)
    else:
        ties = [(-each.fault.prior, each.fault.name) for each in faults]
        ranked = sorted(range(len(falling)), key=lambda at: (falling[at], *ties[at]))
    return Candidate(
        entity=faults[0].entity, faults=[faults[place] for place in ranked],
        odds=log_sum([odds[place] for place in ranked]),
    )  # fmt: skip


def order(each: Candidate) -> tuple[float, int, float, str]:
    """The declared rule of ties: odds, signals explained, prior of the likeliest fault, then the identifier."""
    return -round(each.odds, 9), -each.faults[0].explains, -each.faults[0].fault.prior, each.entity.id


def log_sum(values: Sequence[float]) -> float:
    if len(values) == 1:
        return values[0]
    top = max(values)
    return top + math.log(sum(math.exp(each - top) for each in values))
