"""Candidates, ranking, and explaining away: the best cause takes what it explains, the rest is looked at again."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from diagnose.absent import with_absent
from diagnose.evidence import BLIND, Seen, Unit, gather
from diagnose.paths import Paths, Reach
from diagnose.probes import answered, next_probe
from diagnose.score import Scored, Weighing, Where
from diagnose.settings import Settings
from diagnose.wiring import SELF, Wiring
from graph_schema.catalogue import Catalogue, FaultMode
from graph_schema.model import Change, Diagnosis, Entity, Evidence, Hypothesis, ProbeAnswer, Signal, Subgraph
from graph_schema.ontology import Ontology

DEFAULTS = Settings()


class Candidate(msgspec.Struct, kw_only=True):
    """An entity with its possible faults, the likeliest first, while causes are chosen."""

    entity: Entity
    faults: list[Scored]
    odds: float
    """Log-odds that it has one of the faults."""
    probability: float = 0.0


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was weighed: for the answer, and for telling why something is not in it."""

    piece: Subgraph
    seen: Seen
    ranked: tuple[Candidate, ...]
    """Causes first, then the rest, best first."""
    causes: int
    unexplained: tuple[str, ...]
    unmapped: tuple[str, ...]


def diagnose(
    piece: Subgraph,
    signals: Iterable[Signal],
    catalogue: Catalogue,
    ontology: Ontology,
    *,
    now: datetime,
    settings: Settings = DEFAULTS,
    rules: Collection[str] | None = None,
    answers: Collection[ProbeAnswer] = (),
) -> Diagnosis:
    """Rank what may be behind these signals. `now` is the onset when no signal is firing on a known entity.

    `rules`: the symptoms that the alert rules in use watch for, if known; only those are missed when they are silent.
    `answers`: what came of probes.
    """
    found = consider(piece, signals, catalogue, ontology, now=now, settings=settings, rules=rules, answers=answers)
    shown = found.ranked[: settings.most_hypotheses]
    hypotheses = tuple(_hypothesis(each, found, settings) for each in shown)
    enough = bool(hypotheses) and hypotheses[0].probability >= settings.enough
    return Diagnosis(
        hypotheses=hypotheses,
        causes=tuple(range(found.causes)),
        unexplained=found.unexplained,
        unmapped=found.unmapped,
        warnings=_warnings(piece, ontology),
        enough=enough or not found.seen.units,
        next_probe=next_probe(
            hypotheses, found.piece.entities, catalogue, asked={(each.question, each.confirms) for each in answers}
        ),
    )


def consider(
    piece: Subgraph,
    signals: Iterable[Signal],
    catalogue: Catalogue,
    ontology: Ontology,
    *,
    now: datetime,
    settings: Settings = DEFAULTS,
    rules: Collection[str] | None = None,
    answers: Collection[ProbeAnswer] = (),
) -> Considered:
    """Weigh every fault of every entity that could have brought about at least one of the signals."""
    piece = with_absent(piece, ontology)
    firing = sorted((each for each in signals if each.firing), key=lambda each: (each.starts_at, each.fingerprint))
    usable = [signal for signal in firing if signal.mapped and signal.entity in piece.entities]
    unmapped = tuple(dict.fromkeys(signal.fingerprint for signal in firing if signal not in usable))
    seen = gather(usable, now)
    if seen.blind:
        seen = msgspec.structs.replace(seen, units=tuple(_less(unit, settings.seen_blind) for unit in seen.units))
    wiring = Wiring(piece, ontology)
    weighing = Weighing(
        piece=piece, seen=seen, ontology=ontology, wiring=wiring, settings=settings, rules=rules,
        paths=Paths(piece, ontology, wiring, settings.hops), changes=_changes(piece, wiring),
    )  # fmt: skip
    candidates = _candidates(weighing, catalogue, answers)
    ranked, causes, taken = _explain(candidates, seen.units, settings)
    unexplained = tuple(
        signal.fingerprint
        for unit in seen.units
        if taken[unit.key] < settings.explained * unit.confidence
        for signal in unit.signals
    )
    return Considered(
        piece=piece, seen=seen, ranked=tuple(ranked), causes=causes, unexplained=unexplained, unmapped=unmapped
    )


def faults_of(entity: Entity, catalogue: Catalogue, ontology: Ontology, wiring: Wiring) -> tuple[FaultMode, ...]:
    """The faults that an entity can have: those of its kind, and those of what it is for."""
    kind = entity.kind if catalogue.known(entity.kind) else ontology.known_kind(entity.kind) or entity.kind
    faults = catalogue.on(kind) if kind not in SILENT else ()
    # A Service is only the face of what is behind it; it has the faults of its role when nothing is known to be there.
    works = ontology.workload(entity.kind) or (entity.kind == "Service" and not wiring.fronted(entity.id))
    role = ontology.role(entity.name) if works else None
    return (*faults, *catalogue.on(role)) if role and catalogue.known(role) and role != kind else faults


SILENT = frozenset({"ReplicaSet", "Revision", "EndpointSlice", "Unmapped"})
"""Kinds that are parts of others' working; their faults are those of what owns them."""


def _candidates(weighing: Weighing, catalogue: Catalogue, answers: Collection[ProbeAnswer]) -> list[Candidate]:
    reaches: dict[str, dict[Where, dict[str, Reach]]] = defaultdict(lambda: defaultdict(dict))
    entities, settings = weighing.piece.entities, weighing.settings
    for unit in weighing.seen.units:
        for (entity, mode), reach in weighing.paths.to(*unit.key).items():
            reaches[entity][unit.key][mode] = reach
    weighing = msgspec.structs.replace(weighing, carried=_carried(weighing))
    leaks = _leaks(weighing.seen.units, settings)
    found: list[Candidate] = []
    for name in sorted(reaches):
        faults = faults_of(entities[name], catalogue, weighing.ontology, weighing.wiring)
        scored = weighing.weigh(entities[name], faults, reaches[name])
        _count_answers(scored, answers)
        if scored:
            found.append(_candidate(scored, leaks, settings))
    found.sort(key=_order)
    # The rest can only be worse: what is missing takes off, so nothing that is left out could have come before these.
    found = found[: settings.looked_at_closely]
    for each in found:
        odds = [fault.log_odds(leaks, settings.same_entity) for fault in each.faults]
        each.faults = [
            fault for fault, value in zip(each.faults, odds, strict=True) if value >= max(odds) - settings.faults_within
        ]
        for scored_fault in each.faults:
            weighing.count_missing(scored_fault)
    found = [_candidate(each.faults, leaks, settings) for each in found]
    found.sort(key=_order)
    return found


def _count_answers(scored: Iterable[Scored], answers: Collection[ProbeAnswer]) -> None:
    """What probes answered moves the odds of the faults that they were about."""
    known = {(each.question, each.confirms): each for each in answers}
    for each in scored if known else ():
        for weight, text in answered(each.entity, each.fault, known):
            each.prior += weight
            found = Evidence(text=text, weight=weight, entity=each.entity.id)
            (each.evidence_for if weight > 0 else each.evidence_against).append(found)


def _carried(weighing: Weighing) -> dict[Where, list[tuple[Where, float, Reach]]]:
    """Which symptom may have brought about which other one, how surely, and by which way.

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
                if share > leads.get((earlier.key, unit.key), (weighing.settings.leak, reach))[0]:
                    leads[earlier.key, unit.key] = share, reach
    found: dict[Where, list[tuple[Where, float, Reach]]] = defaultdict(list)
    for (first, then), (share, reach) in sorted(leads.items(), key=lambda item: item[0]):
        back = leads.get((then, first), (0.0, reach))[0]
        both_own = (first[0], then[0]) in own and (then[0], first[0]) in own
        if share > back * SURER and not both_own:
            found[then].append((first, share, reach))
    return found


SURER = 1.2
"""By how much one direction must be surer than the other to count."""


def _leaks(units: Iterable[Unit], settings: Settings) -> dict[Where, float]:
    return {unit.key: settings.leak for unit in units}


def _candidate(faults: Sequence[Scored], seen: Mapping[Where, float], settings: Settings) -> Candidate:
    odds = [(each.log_odds(seen, settings.same_entity), each) for each in faults]
    odds.sort(key=lambda pair: (-round(pair[0], 9), -pair[1].fault.prior, pair[1].fault.name))
    return Candidate(
        entity=odds[0][1].entity, faults=[each for _, each in odds], odds=_log_sum([value for value, _ in odds])
    )


def _order(each: Candidate) -> tuple[float, int, float, str]:
    """The declared rule of ties: odds, signals explained, prior of the likeliest fault, then the identifier."""
    return -round(each.odds, 9), -len(each.faults[0].weights), -each.faults[0].fault.prior, each.entity.id


def _explain(
    candidates: Sequence[Candidate], units: Sequence[Unit], settings: Settings
) -> tuple[list[Candidate], int, dict[Where, float]]:
    """(causes and then the rest with probabilities, how many are causes, how probable each unit is under them)."""
    seen = _leaks(units, settings)
    taken = dict.fromkeys(seen, 0.0)
    for each, probability in zip(candidates, _shares([each.odds for each in candidates]), strict=True):
        each.probability = _calibrated(probability, settings)
    chosen: list[Candidate] = []
    remaining = list(candidates)
    while remaining and len(chosen) < settings.most_causes:
        best = remaining[0]
        probability = _calibrated(_against(best, remaining, seen, settings), settings)
        news = max(best.faults[0].gains(seen).values(), default=0.0) >= settings.news
        if chosen and (probability < settings.next_cause or not news):
            break
        best.probability = max(probability, best.probability) if not chosen else probability
        chosen.append(best)
        for key in seen:
            weight = max((each.weights.get(key, 0.0) for each in best.faults[:3]), default=0.0)
            seen[key] = 1 - (1 - seen[key]) * (1 - weight * probability)
            taken[key] = max(taken[key], weight)
        remaining = [_candidate(each.faults, seen, settings) for each in remaining[1:]]
        remaining.sort(key=_order)
    chosen.sort(key=lambda each: (-round(each.probability, 9), *_order(each)))
    picked = {each.entity.id for each in chosen}
    return [*chosen, *(each for each in candidates if each.entity.id not in picked)], len(chosen), taken


def _against(best: Candidate, others: Sequence[Candidate], seen: Mapping[Where, float], settings: Settings) -> float:
    """How probable the best is against those that would explain the same signals; "none of these" has odds 1.

    What others explain besides is no argument against it: there may be two faults at once.
    """
    top = best.faults[0].weights
    same = {key: value for key, value in seen.items() if top.get(key, 0.0) >= settings.explained} or dict(seen)
    odds = [_candidate(each.faults, same, settings).odds for each in others]
    return _shares(odds)[0]


def _shares(odds: Sequence[float]) -> list[float]:
    """Each one's share of the odds of all, "none of these" having odds 1."""
    total = _log_sum([0.0, *odds])
    return [math.exp(each - total) for each in odds]


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(each - top) for each in values))


def _calibrated(probability: float, settings: Settings) -> float:
    """The monotone map from what the score says to how often it is right, linear between its points."""
    points = settings.calibration
    place = min(max(bisect_right([raw for raw, _ in points], probability), 1), len(points) - 1)
    (left, low), (right, high) = points[place - 1], points[place]
    return low + (high - low) * (min(max(probability, left), right) - left) / (right - left)


def _hypothesis(each: Candidate, found: Considered, settings: Settings) -> Hypothesis:
    best = each.faults[0]
    leaks = _leaks(found.seen.units, settings)
    shares = _shares_of([fault.log_odds(leaks, settings.same_entity) for fault in each.faults])
    explained = [
        (signal, unit)
        for unit in found.seen.units
        if best.weights.get(unit.key, 0.0) >= settings.explained * unit.confidence and unit.key in best.reaches
        for signal in unit.signals
    ]
    explained.sort(key=lambda pair: (pair[0].starts_at, pair[0].fingerprint))
    seen = [
        Evidence(
            text=f"{signal.symptom} on {signal.entity} ({signal.name})",
            weight=round(math.log(1 + best.weights[unit.key] / settings.leak), 6),
            entity=signal.entity,
            fingerprint=signal.fingerprint,
        )
        for signal, unit in explained
    ]
    taught = [Evidence(text=best.fault.learned)] if best.fault.learned else []
    return Hypothesis(
        entity=each.entity.id,
        fault=best.fault.name,
        probability=round(min(max(each.probability, 0.0), 1.0), 6),
        fault_probability=round(shares[0], 6),
        other_faults=tuple(
            (fault.fault.name, round(part, 6)) for fault, part in zip(each.faults[1:6], shares[1:6], strict=True)
        ),
        explains=tuple(signal.fingerprint for signal, _ in explained),
        paths=tuple(best.reaches[unit.key].path for _, unit in explained),
        evidence_for=tuple(
            sorted([*seen, *best.evidence_for, *taught], key=lambda evidence: (-evidence.weight, evidence.text))
        ),
        evidence_against=tuple(sorted(best.evidence_against, key=lambda evidence: (evidence.weight, evidence.text))),
        change=best.change,
    )


def _shares_of(odds: Sequence[float]) -> list[float]:
    total = _log_sum(odds)
    return [math.exp(each - total) for each in odds]


def _less(unit: Unit, factor: float) -> Unit:
    """What sick monitoring says counts less; that it is sick does not."""
    return unit if unit.symptom == BLIND else msgspec.structs.replace(unit, confidence=unit.confidence * factor)


def _changes(piece: Subgraph, wiring: Wiring) -> dict[str, list[Change]]:
    """Entity → changes of it and of the revisions that it owns, oldest first."""
    found: dict[str, list[Change]] = defaultdict(list)
    for change in sorted(piece.changes, key=lambda each: (each.at, each.entity, each.kind, each.detail)):
        found[change.entity].append(change)
        for owner in wiring.owners(change.entity) if change.kind != "delete" else ():
            found[owner].append(change)
    return found


def _warnings(piece: Subgraph, ontology: Ontology) -> tuple[str, ...]:
    kinds = sorted({entity.kind for entity in piece.entities.values()} - set(ontology.entities))
    relations = sorted({relation.kind for relation in piece.relations} - set(ontology.relations))
    told = [f"entity kind {kind} is not known to the ontology; {_as(kind, ontology)}" for kind in kinds]
    told += [f"relation kind {kind} is not known to the ontology; it counts as DEPENDS_ON" for kind in relations]
    return tuple(told)


def _as(kind: str, ontology: Ontology) -> str:
    known = ontology.known_kind(kind)
    return f"it counts as {known}" if known else "only general fault modes are known for it"
