"""Candidates, ranking, and explaining away: the best cause takes what it explains, the rest is looked at again."""

from __future__ import annotations

import gc
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import compress
from operator import attrgetter
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import numpy as np

from diagnose.absent import with_absent
from diagnose.arrays import Floats, Ints
from diagnose.candidates import Candidate, candidate, candidates, log_sum, order
from diagnose.carried import Carried
from diagnose.compiled import BUILT
from diagnose.evidence import BLIND, Seen, Unit, gather
from diagnose.paths import Paths
from diagnose.probes import next_probe
from diagnose.propagation import Shown, Strengths
from diagnose.reached import Columns, Reached
from diagnose.score import Weighing
from diagnose.settings import Settings
from diagnose.siblings import COMPARED, with_comparisons
from diagnose.wiring import Wiring
from graph_schema.catalogue import Catalogue
from graph_schema.model import Change, Diagnosis, Evidence, Hypothesis, ProbeAnswer, Signal, Subgraph
from graph_schema.ontology import Ontology
from graph_schema.remedied import standing

DEFAULTS = Settings()
NOTHING: Mapping[str, datetime] = MappingProxyType({})


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was weighed: for the answer, and for telling why something is not in it."""

    piece: Subgraph
    seen: Seen
    weighing: Weighing
    ranked: tuple[Candidate, ...]
    """Causes first, then the rest, best first."""
    causes: int
    unexplained: tuple[str, ...]
    unmapped: tuple[str, ...]
    warnings: tuple[str, ...]


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
    proven: Mapping[str, datetime] = NOTHING,
) -> Diagnosis:
    """Rank what may be behind these signals. `now` is the onset when no signal is firing on a known entity.

    `rules`: the symptoms that the alert rules in use watch for, if known; only those are missed when they are silent.
    `answers`: what came of probes. `strengths`: path strengths as runs of chaos have shown them. `proven`: until when
    workloads are known to have done their work.
    """
    with _uncollected():
        found = consider(
            piece, signals, catalogue, ontology, now=now, settings=settings, rules=rules, answers=answers,
            strengths=strengths, proven=proven,
        )  # fmt: skip
        answer = _told(found, ontology, catalogue, settings, answers)
        # What was only needed for it goes before garbage is looked for again, or all of it would be gone through.
        del found
    return answer


def _told(
    found: Considered, ontology: Ontology, catalogue: Catalogue, settings: Settings, answers: Collection[ProbeAnswer]
) -> Diagnosis:
    hypotheses = _hypotheses(found, settings)
    enough = bool(hypotheses) and hypotheses[0].probability >= settings.enough
    return Diagnosis(
        hypotheses=hypotheses,
        causes=tuple(range(found.causes)),
        unexplained=found.unexplained,
        unmapped=found.unmapped,
        warnings=found.warnings,
        enough=enough or not found.seen.units,
        next_probe=next_probe(
            hypotheses, found.piece.entities, catalogue, asked={(each.question, each.confirms) for each in answers}
        ),
    )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for cycles of garbage: a diagnosis makes a million small things and no cycles, and every search
    goes through those that there are; a fifth of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


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
    proven: Mapping[str, datetime] = NOTHING,
    compiled: bool = BUILT,
) -> Considered:
    """Weigh every fault of every entity that could have brought about at least one of the signals.

    `compiled`: by the compiled loops, or by numpy; what comes of it is the same.
    """
    given, wiring = piece, Wiring(piece, ontology)
    piece = with_absent(piece, ontology, wiring.loose)
    if piece.entities is not given.entities:
        wiring = Wiring(piece, ontology)
    stated = [each for each in piece.entities.values() if each.properties]
    bare, piece = piece, with_comparisons(piece, stated)
    told = set[str]() if piece is bare else set(COMPARED)
    firing = sorted((each for each in signals if each.firing), key=lambda each: (each.starts_at, each.fingerprint))
    known = [signal.mapped and signal.entity in piece.entities for signal in firing]
    usable = list(compress(firing, known))
    unmapped = tuple(dict.fromkeys(signal.fingerprint for signal, each in zip(firing, known, strict=True) if not each))
    seen = gather(usable, now, lambda symptom: _stray(symptom, ontology, settings))
    if seen.blind:
        seen = msgspec.structs.replace(seen, units=tuple(_less(unit, settings.seen_blind) for unit in seen.units))
    warnings = _warnings(given, ontology) if wiring.strange else ()
    paths = Paths(piece, ontology, wiring, settings.hops, len(seen.units), compiled)
    columns = Columns(seen.units, settings.storm, compiled)
    reached = Reached(columns, paths)
    weighing = Weighing(
        piece=piece, seen=seen, ontology=ontology, wiring=wiring, settings=settings, rules=rules, paths=paths,
        changes=_changes(piece, wiring), columns=columns, reached=reached,
        carried=Carried(columns, reached, paths, piece.entities, ontology, settings.explained, compiled),
        proven=proven,
        shown=Shown(strengths, wiring, piece, ontology, columns, reached, paths.moves.modes) if strengths else None,
        states_told=told.union(*[each.properties for each in stated]),
    )  # fmt: skip
    ranked, causes, taken = _explain(candidates(weighing, catalogue, answers), columns, settings)
    _count_witnesses(ranked, len(seen.units), settings)
    unexplained = tuple(
        signal.fingerprint
        for unit in seen.units
        if taken[columns.number[unit.key]] < settings.explained * unit.confidence
        for signal in unit.signals
    )
    return Considered(
        piece=piece, seen=seen, weighing=weighing, ranked=tuple(ranked), causes=causes, unexplained=unexplained,
        unmapped=unmapped, warnings=warnings,
    )  # fmt: skip


def _explain(found: Sequence[Candidate], columns: Columns, settings: Settings) -> tuple[list[Candidate], int, Floats]:
    """(causes and then the rest with probabilities, how many are causes, how probable each unit is under them)."""
    seen = columns.leak.copy()
    taken = np.zeros(len(columns))
    for each, probability in zip(found, _shares([each.odds for each in found]), strict=True):
        each.probability = _calibrated(probability, settings)
    # How well each signal can be explained at all: a chance of 0.4 that is the best there is leaves nothing to explain.
    best_of = np.max([fault.weights for each in found for fault in each.faults[:3]], axis=0) if found else taken
    weights = _Weights(found)
    chosen: list[Candidate] = []
    remaining = list(found)
    while remaining and len(chosen) < settings.most_causes:
        best = remaining[0]
        probability = _calibrated(_against(best, remaining, weights, columns, seen, settings), settings)
        news = columns.gains(best.faults[0].weights, seen).max(initial=0.0) >= settings.news
        if chosen and (probability < settings.next_cause or not news):
            break
        best.probability = max(probability, best.probability) if not chosen else probability
        chosen.append(best)
        weight = np.max([fault.weights for fault in best.faults[:3]], axis=0)
        share = np.divide(weight, np.maximum(best_of, weight), out=np.zeros_like(weight), where=weight > 0)
        seen = np.where(weight > 0, 1 - (1 - seen) * (1 - share * probability), seen)
        taken = np.maximum(taken, weight)
        remaining = sorted(_weighed_again(remaining[1:], weights, columns, seen, settings), key=order)
    picked = {each.entity.id for each in chosen}
    return [*chosen, *(each for each in found if each.entity.id not in picked)], len(chosen), taken


class _Weights:
    """The weights of all faults of candidates as one array, which is looked at again for each further cause."""

    def __init__(self, found: Sequence[Candidate]) -> None:
        faults = [fault for each in found for fault in each.faults]
        self.all = np.array([fault.weights for fault in faults]) if faults else np.zeros((0, 0))
        self._row = {id(fault): row for row, fault in enumerate(faults)}

    def rows(self, found: Iterable[Candidate]) -> Ints:
        return np.array([self._row[id(fault)] for each in found for fault in each.faults], int)


def _weighed_again(
    found: Sequence[Candidate], weights: _Weights, columns: Columns, seen: Floats, settings: Settings
) -> Iterator[Candidate]:
    """The candidates as they stand when each unit is as probable as this already."""
    if not found:
        return
    gained = iter(columns.gained(weights.all, seen, settings.same_entity, weights.rows(found)).tolist())
    for each in found:
        yield candidate(each.faults, [fault.base + next(gained) for fault in each.faults])


def _against(
    best: Candidate, others: Sequence[Candidate], weights: _Weights, columns: Columns, seen: Floats,
    settings: Settings,
) -> float:  # fmt: skip
    """How probable the best is against those that would explain the same signals; "none of these" has odds 1.

    What others explain besides is no argument against it: there may be two faults at once.
    """
    same = best.faults[0].weights >= settings.explained
    # What is certain already can't be made more probable.
    left = np.where(same, seen, 1.0) if same.any() else seen
    return _shares([each.odds for each in _weighed_again(others, weights, columns, left, settings)])[0]


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


def _count_witnesses(ranked: Sequence[Candidate], witnesses: int, settings: Settings) -> None:
    """Less is told where many symptoms speak, for they are counted as independent and are not. Their order stays."""
    ratio = settings.usual_witnesses / max(1, witnesses)
    factor = min(max(ratio, 1 / settings.most_dependent), 1.0) ** settings.dependent
    for each in ranked if factor < 1 else ():
        if each.probability > 0:
            each.probability *= factor / (each.probability * factor + 1 - each.probability)


class _Heard(NamedTuple):
    """A signal as it is told of each hypothesis that explains it."""

    signal: Signal
    column: int
    leak: float
    text: str
    told: dict[float, Evidence]
    """By how surely a hypothesis explains it: most explain it as surely as others."""

    def evidence(self, weight: float) -> Evidence:
        found = self.told.get(weight)
        if found is None:
            found = self.told[weight] = Evidence(
                text=self.text, weight=round(math.log(1 + weight / self.leak), 6), entity=self.signal.entity,
                fingerprint=self.signal.fingerprint,
            )  # fmt: skip
        return found


def _hypotheses(found: Considered, settings: Settings) -> tuple[Hypothesis, ...]:
    """Those that are told, with the signals that each explains in the order of their beginning."""
    shown = found.ranked[: settings.most_hypotheses]
    columns = found.weighing.columns
    heard = [
        _Heard(signal, column, unit.leak, f"{signal.symptom} on {signal.entity} ({signal.name})", {})
        for column, unit in enumerate(columns.units)
        for signal in unit.signals
    ]
    heard.sort(key=lambda each: (each.signal.starts_at, each.signal.fingerprint))
    least = settings.explained * columns.confidence
    explained = []
    for each in shown:
        weights = each.faults[0].weights
        enough = ((weights > 0) & (weights >= least)).tolist()
        explained.append([told for told in heard if enough[told.column]])
    wanted = [list(dict.fromkeys(told.column for told in each[: settings.most_told])) for each in explained]
    ways = found.weighing.ways([(each.faults[0], units) for each, units in zip(shown, wanted, strict=True)])
    return tuple(_hypothesis(each, told, way, settings) for each, told, way in zip(shown, explained, ways, strict=True))


def _hypothesis(
    each: Candidate, explained: Sequence[_Heard], ways: Mapping[int, tuple[str, ...]], settings: Settings
) -> Hypothesis:
    """`explained`: in the order in which they are told; `ways`: to those that have a way and a weight told."""
    best = each.faults[0]
    weights = best.weights.tolist()
    shares = _shares_of([fault.log_odds for fault in each.faults])
    near = explained[: settings.most_told]
    seen = [told.evidence(weights[told.column]) for told in near]
    if len(explained) > len(near):
        seen.append(Evidence(text=f"and {len(explained) - len(near)} signals more that began later"))
    taught = [Evidence(text=best.fault.learned)] if best.fault.learned else []
    return Hypothesis(
        entity=each.entity.id,
        fault=best.fault.name,
        probability=round(min(max(each.probability, 0.0), 1.0), 6),
        fault_probability=round(shares[0], 6),
        other_faults=tuple(
            (fault.fault.name, round(part, 6)) for fault, part in zip(each.faults[1:6], shares[1:6], strict=True)
        ),
        explains=tuple([told.signal.fingerprint for told in explained]),
        paths=tuple([ways[told.column] for told in near]),
        evidence_for=tuple(
            sorted([*seen, *best.evidence_for, *taught], key=lambda evidence: (-evidence.weight, evidence.text))
        ),
        evidence_against=tuple(sorted(best.against, key=lambda evidence: (evidence.weight, evidence.text))),
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
    for change in standing(sorted(piece.changes, key=lambda each: (each.at, each.entity, each.kind, each.detail))):
        found[change.entity].append(change)
        for owner in wiring.owners(change.entity) if change.kind != "delete" else ():
            found[owner].append(change)
    return found


def _warnings(piece: Subgraph, ontology: Ontology) -> tuple[str, ...]:
    kinds = sorted(set(map(attrgetter("kind"), piece.entities.values())) - set(ontology.entities))
    relations = sorted(set(map(attrgetter("kind"), piece.relations)) - set(ontology.relations))
    told = [f"entity kind {kind} is not known to the ontology; {_as(kind, ontology)}" for kind in kinds]
    told += [f"relation kind {kind} is not known to the ontology; it counts as DEPENDS_ON" for kind in relations]
    return tuple(told)


def _as(kind: str, ontology: Ontology) -> str:
    known = ontology.known_kind(kind)
    return f"it counts as {known}" if known else "only general fault modes are known for it"
