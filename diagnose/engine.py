"""Candidates, ranking, and explaining away: the best cause takes what it explains, the rest is looked at again."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from diagnose.absent import with_absent
from diagnose.candidates import Candidate, candidate, candidates, leaks_of, log_sum, order
from diagnose.evidence import BLIND, Seen, Unit, gather
from diagnose.paths import Paths
from diagnose.probes import next_probe
from diagnose.propagation import Shown, Strengths
from diagnose.score import Weighing, Where
from diagnose.settings import Settings
from diagnose.wiring import Wiring
from graph_schema.catalogue import Catalogue
from graph_schema.model import Change, Diagnosis, Evidence, Hypothesis, ProbeAnswer, Signal, Subgraph
from graph_schema.ontology import Ontology

DEFAULTS = Settings()


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
    strengths: Strengths | None = None,
) -> Diagnosis:
    """Rank what may be behind these signals. `now` is the onset when no signal is firing on a known entity.

    `rules`: the symptoms that the alert rules in use watch for, if known; only those are missed when they are silent.
    `answers`: what came of probes. `strengths`: path strengths as runs of chaos have shown them.
    """
    found = consider(
        piece, signals, catalogue, ontology, now=now, settings=settings, rules=rules, answers=answers,
        strengths=strengths,
    )  # fmt: skip
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
    strengths: Strengths | None = None,
) -> Considered:
    """Weigh every fault of every entity that could have brought about at least one of the signals."""
    piece = with_absent(piece, ontology)
    firing = sorted((each for each in signals if each.firing), key=lambda each: (each.starts_at, each.fingerprint))
    usable = [signal for signal in firing if signal.mapped and signal.entity in piece.entities]
    unmapped = tuple(dict.fromkeys(signal.fingerprint for signal in firing if signal not in usable))
    seen = gather(usable, now, lambda symptom: _stray(symptom, ontology, settings))
    if seen.blind:
        seen = msgspec.structs.replace(seen, units=tuple(_less(unit, settings.seen_blind) for unit in seen.units))
    wiring = Wiring(piece, ontology)
    paths = Paths(piece, ontology, wiring, settings.hops, len(seen.units))
    sick = [unit.key for unit in seen.units]
    weighing = Weighing(
        piece=piece, seen=seen, ontology=ontology, wiring=wiring, settings=settings, rules=rules, paths=paths,
        changes=_changes(piece, wiring),
        shown=Shown(strengths, wiring, piece, ontology, paths, sick) if strengths else None,
    )  # fmt: skip
    ranked, causes, taken = _explain(candidates(weighing, catalogue, answers), seen.units, settings)
    unexplained = tuple(
        signal.fingerprint
        for unit in seen.units
        if taken[unit.key] < settings.explained * unit.confidence
        for signal in unit.signals
    )
    return Considered(
        piece=piece, seen=seen, ranked=tuple(ranked), causes=causes, unexplained=unexplained, unmapped=unmapped
    )


def _explain(
    found: Sequence[Candidate], units: Sequence[Unit], settings: Settings
) -> tuple[list[Candidate], int, dict[Where, float]]:
    """(causes and then the rest with probabilities, how many are causes, how probable each unit is under them)."""
    seen = leaks_of(units)
    taken = dict.fromkeys(seen, 0.0)
    for each, probability in zip(found, _shares([each.odds for each in found]), strict=True):
        each.probability = _calibrated(probability, settings)
    # How well each signal can be explained at all: a chance of 0.4 that is the best there is leaves nothing to explain.
    best_of: dict[Where, float] = defaultdict(float)
    for each in found:
        for fault in each.faults[:3]:
            for key, weight in fault.weights.items():
                best_of[key] = max(best_of[key], weight)
    chosen: list[Candidate] = []
    remaining = list(found)
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
            if weight > 0:
                seen[key] = 1 - (1 - seen[key]) * (1 - weight / max(best_of[key], weight) * probability)
            taken[key] = max(taken[key], weight)
        remaining = [candidate(each.faults, seen, settings) for each in remaining[1:]]
        remaining.sort(key=order)
    picked = {each.entity.id for each in chosen}
    return [*chosen, *(each for each in found if each.entity.id not in picked)], len(chosen), taken


def _against(best: Candidate, others: Sequence[Candidate], seen: Mapping[Where, float], settings: Settings) -> float:
    """How probable the best is against those that would explain the same signals; "none of these" has odds 1.

    What others explain besides is no argument against it: there may be two faults at once.
    """
    top = best.faults[0].weights
    same = {key: value for key, value in seen.items() if top.get(key, 0.0) >= settings.explained} or dict(seen)
    odds = [candidate(each.faults, same, settings).odds for each in others]
    return _shares(odds)[0]


def _shares(odds: Sequence[float]) -> list[float]:
    """Each one's share of the odds of all, "none of these" having odds 1."""
    total = log_sum([0.0, *odds])
    return [math.exp(each - total) for each in odds]


def _calibrated(probability: float, settings: Settings) -> float:
    """The monotone map from what the score says to how often it is right, linear between its points."""
    points = settings.calibration
    place = min(max(bisect_right([raw for raw, _ in points], probability), 1), len(points) - 1)
    (left, low), (right, high) = points[place - 1], points[place]
    return low + (high - low) * (min(max(probability, left), right) - left) / (right - left)


def _hypothesis(each: Candidate, found: Considered, settings: Settings) -> Hypothesis:
    best = each.faults[0]
    leaks = leaks_of(found.seen.units)
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
            weight=round(math.log(1 + best.weights[unit.key] / unit.leak), 6),
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
    total = log_sum(odds)
    return [math.exp(each - total) for each in odds]


def _stray(symptom: str, ontology: Ontology, settings: Settings) -> float:
    known = ontology.symptoms.get(symptom)
    return settings.leak if known is None or known.stray is None else known.stray


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
