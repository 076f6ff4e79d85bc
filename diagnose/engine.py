"""Candidates, ranking, and explaining away: the best cause takes what it explains, the rest is looked at again."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from diagnose.paths import Paths, Reach
from diagnose.score import Scored, count_missing, weigh
from diagnose.settings import Settings
from graph_schema.catalogue import Catalogue
from graph_schema.model import Diagnosis, Evidence, Hypothesis, Signal, Subgraph
from graph_schema.ontology import Ontology

DEFAULTS = Settings()


def diagnose(
    piece: Subgraph,
    signals: Iterable[Signal],
    catalogue: Catalogue,
    ontology: Ontology,
    *,
    now: datetime,
    settings: Settings = DEFAULTS,
) -> Diagnosis:
    """Rank what may be behind these signals. `now` is the onset when no signal is firing on a known entity."""
    given = sorted(signals, key=lambda signal: (signal.starts_at, signal.fingerprint))
    firing = [signal for signal in given if signal.firing]
    usable = [signal for signal in firing if signal.mapped and signal.entity in piece.entities]
    unmapped = tuple(signal.fingerprint for signal in firing if signal not in usable)
    onset = min((signal.starts_at for signal in usable), default=now)
    paths = Paths(piece, ontology)
    candidates = _candidates(piece, usable, catalogue, paths, onset, settings)
    ranked, causes, seen = _explain(candidates, usable, settings)
    hypotheses = tuple(_hypothesis(each, probability, usable, settings) for each, probability in ranked)
    unexplained = tuple(signal.fingerprint for signal in usable if seen[signal.fingerprint] < settings.explained)
    return Diagnosis(
        hypotheses=hypotheses[: settings.most_hypotheses],
        causes=causes,
        unexplained=unexplained,
        unmapped=unmapped,
        warnings=_warnings(piece, ontology),
    )


def _candidates(
    piece: Subgraph,
    signals: Sequence[Signal],
    catalogue: Catalogue,
    paths: Paths,
    onset: datetime,
    settings: Settings,
) -> list[Scored]:
    """Every fault mode of every entity that could have brought about at least one signal, best first."""
    reaches: dict[str, dict[str, Reach]] = defaultdict(dict)
    searched: dict[tuple[str, str], dict[str, Reach]] = {}
    for signal in signals:
        key = (signal.entity, signal.symptom)
        if key not in searched:
            searched[key] = paths.to(*key, settings.hops)
        for entity, reach in searched[key].items():
            reaches[entity][signal.fingerprint] = reach
    found = [
        scored
        for entity in sorted(reaches)
        if entity in piece.entities
        for fault in catalogue.on(piece.entities[entity].kind)
        if (scored := weigh(piece.entities[entity], fault, reaches[entity], signals, piece, onset, settings)).weights
    ]
    seen = {signal.fingerprint: settings.leak for signal in signals}
    found.sort(key=lambda each: _order(each, seen))
    for scored in found[: settings.looked_at_closely]:
        count_missing(scored, paths, piece, signals, settings)
    found.sort(key=lambda each: _order(each, seen))
    return found


def _order(scored: Scored, seen: Mapping[str, float]) -> tuple[float, int, float, str, str]:
    """The declared rule of ties: score, signals explained, prior of the fault, then names."""
    odds = round(scored.log_odds(seen), 9)
    return -odds, -len(scored.weights), -scored.fault.prior, scored.entity.id, scored.fault.name


def _explain(
    candidates: Sequence[Scored], signals: Sequence[Signal], settings: Settings
) -> tuple[list[tuple[Scored, float]], tuple[int, ...], dict[str, float]]:
    """(ranked with probabilities, indexes of the causes, how probable each signal is under the causes)."""
    seen = {signal.fingerprint: settings.leak for signal in signals}
    first = _probabilities(candidates, seen)
    chosen: list[tuple[Scored, float]] = []
    remaining = list(candidates)
    while remaining and len(chosen) < settings.most_causes:
        probabilities = _probabilities(remaining, seen)
        best = min(range(len(remaining)), key=lambda index: _order(remaining[index], seen))
        scored, probability = remaining[best], probabilities[best]
        news = max(scored.gains(seen).values()) >= settings.news
        if chosen and (probability < settings.next_cause or not news):
            break
        chosen.append((scored, probability))
        for key, weight in scored.weights.items():
            seen[key] = 1 - (1 - seen[key]) * (1 - weight * probability)
        # Two faults of one entity are one finding: the next cause is somewhere else.
        remaining = [each for each in remaining if each.entity.id != scored.entity.id]
    picked = {id(scored) for scored, _ in chosen}
    others = [
        (scored, probability) for scored, probability in zip(candidates, first, strict=True) if id(scored) not in picked
    ]
    return chosen + others, tuple(range(len(chosen))), seen


def _probabilities(candidates: Sequence[Scored], seen: Mapping[str, float]) -> list[float]:
    """Each one's share of the odds of all, "none of these" having odds 1."""
    odds = [each.log_odds(seen) for each in candidates]
    top = max([0.0, *odds])
    total = math.exp(-top) + sum(math.exp(each - top) for each in odds)
    return [math.exp(each - top) / total for each in odds]


def _hypothesis(scored: Scored, probability: float, signals: Sequence[Signal], settings: Settings) -> Hypothesis:
    explained = [signal for signal in signals if scored.weights.get(signal.fingerprint, 0.0) >= settings.explained]
    seen = [
        Evidence(
            text=f"{signal.symptom} on {signal.entity} ({signal.name})",
            weight=math.log(1 + scored.weights[signal.fingerprint] / settings.leak),
            entity=signal.entity,
            fingerprint=signal.fingerprint,
        )
        for signal in explained
    ]
    heaviest = sorted([*seen, *scored.evidence_for], key=lambda each: (-each.weight, each.text))
    return Hypothesis(
        entity=scored.entity.id,
        fault=scored.fault.name,
        probability=round(min(max(probability, 0.0), 1.0), 6),
        explains=tuple(signal.fingerprint for signal in explained),
        paths=tuple(scored.reaches[signal.fingerprint].path for signal in explained),
        evidence_for=tuple(heaviest),
        evidence_against=tuple(sorted(scored.evidence_against, key=lambda each: (each.weight, each.text))),
        change=scored.change,
    )


def _warnings(piece: Subgraph, ontology: Ontology) -> tuple[str, ...]:
    kinds = sorted({entity.kind for entity in piece.entities.values()} - set(ontology.entities))
    relations = sorted({relation.kind for relation in piece.relations} - set(ontology.relations))
    return tuple(
        [f"entity kind {kind} is not known to the ontology; no fault mode is known for it" for kind in kinds]
        + [f"relation kind {kind} is not known to the ontology; it counts as DEPENDS_ON" for kind in relations]
    )
