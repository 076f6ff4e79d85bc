"""Ranks hypotheses again by where waiting and failing arise.

The walk over the graph says what may be behind the symptoms; the balance of burdens (`attribution`) says at which
entity they arise. As far as the balance is sure, its shares are handed to the hypotheses behind each such entity (it, a
part of it, what it runs on, mounts or uses) in proportion to their odds. Calls are left out here, since the balance has
followed them already; but where it cannot tell whether a caller failed or its callee did not answer, those behind
either have a share. What no hypothesis accounts for stays with the entity, as a fault without a name beside those that
the catalogue offers for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from diagnose.absent import with_absent
from diagnose.attribution import NAMED, SHOWN, Shares, fault_of
from diagnose.paths import Paths
from diagnose.probes import next_probe
from diagnose.rules import SELF
from diagnose.settings import Settings
from diagnose.wiring import Wiring
from graph_schema.catalogue import Catalogue
from graph_schema.model import Diagnosis, Evidence, Hypothesis, Subgraph
from graph_schema.ontology import Ontology

ELSEWHERE = 0.1
"""How much of the odds stays as it was even where the balance is sure: it may lack an entity."""
NAMELESS = 0.02
"""Probability of a fault at an entity that the catalogue does not know, beside the ones that it offers."""
NEAR = 0.5
"""From this strength on, what arises at an entity is said to arise at a hypothesis behind it or in front of it."""
EITHER = 0.5
"""How far what may arise at a callee as well as at its caller counts for who is behind the callee."""
ROUNDS = 2
"""How often shares are handed out: the second time by what the first one made of the hypotheses, since one cause behind
all that arises is likelier than one for each place."""
CALLING = frozenset({"CALLS", "ROUTES_TO"})
DEFAULTS = Settings()


def refine(
    answer: Diagnosis, shares: Shares, piece: Subgraph, catalogue: Catalogue, ontology: Ontology,
    *, settings: Settings = DEFAULTS,
) -> Diagnosis:  # fmt: skip
    """The same hypotheses with probabilities that heed the balance, and nameless faults where they explain nothing."""
    paths = _paths_without_calls(piece, ontology, settings)
    arising: dict[int, float] = defaultdict(float)
    places: list[_Place] = []
    for (entity, symptom), (share, burden, open_) in sorted(shares.items(), key=lambda each: each[0]):
        sure = share * (burden.strength if burden else 0.0) * (1 - ELSEWHERE)
        sources = _sources(paths, entity, symptom)
        for number, each in enumerate(answer.hypotheses):
            arising[number] += share if sources.get(each.entity, 0.0) >= NEAR else 0.0
        for other, part in open_.items():
            # Which of both ends it is, the graph says: by the hypotheses behind them.
            for source, strength in _sources(paths, other, symptom).items():
                sources[source] = max(sources.get(source, 0.0), EITHER * part * strength)
        behind = {
            number: sources[each.entity] for number, each in enumerate(answer.hypotheses) if each.entity in sources
        }
        nameless_fault = fault_of(entity, symptom, share, burden) if share >= SHOWN else None
        places.append(_Place(sure, behind, nameless_fault))
    certain = sum(each.sure for each in places)
    odds = {number: each.probability for number, each in enumerate(answer.hypotheses)}
    for _ in range(ROUNDS):
        handed: dict[int, float] = defaultdict(float)
        nameless: list[Hypothesis] = []
        for place in places:
            whole = NAMELESS + sum(odds[number] * strength for number, strength in place.behind.items())
            for number, strength in place.behind.items():
                handed[number] += place.sure * odds[number] * strength / whole
            if place.fault is not None:
                probability = round(place.sure * NAMELESS / whole, 6)
                nameless.append(msgspec.structs.replace(place.fault, probability=probability))
        odds = {
            number: handed[number] + (1 - certain) * each.probability for number, each in enumerate(answer.hypotheses)
        }
    ranked = {
        each.entity: msgspec.structs.replace(
            each,
            probability=round(min(1.0, odds[number]), 6),
            evidence_for=(*each.evidence_for, *_words(arising[number])),
        )
        for number, each in enumerate(answer.hypotheses)
    }
    for each in nameless:
        ranked[each.entity] = _together(ranked[each.entity], each) if each.entity in ranked else each
    # Sorting is stable: equals keep the engine's order, which has declared rules for ties.
    found = tuple(sorted(ranked.values(), key=lambda each: -each.probability))
    return msgspec.structs.replace(
        answer,
        hypotheses=found,
        causes=_causes(answer, found),
        enough=bool(found) and found[0].probability >= settings.enough,
        next_probe=next_probe(found, piece.entities, catalogue),
    )


class _Place(NamedTuple):
    """Where something arises."""

    sure: float
    """How much of the probability of all it decides about."""
    behind: dict[int, float]
    """Hypothesis → how strongly it may be behind it."""
    fault: Hypothesis | None
    """What is claimed where no hypothesis accounts for it."""


def _paths_without_calls(piece: Subgraph, ontology: Ontology, settings: Settings) -> Paths:
    whole = with_absent(piece, ontology)
    relations = tuple(each for each in whole.relations if each.kind not in CALLING)
    rest = msgspec.structs.replace(whole, relations=relations)
    return Paths(rest, ontology, Wiring(rest, ontology), settings.hops)


def _sources(paths: Paths, entity: str, symptom: str) -> dict[str, float]:
    """Who may be behind the symptom there, and how strongly at best; what is its own symptom, wholly."""
    found: dict[str, float] = {}
    own = paths.moves.mode[SELF]
    ways = paths.to(entity, symptom)
    for place, strength in zip(ways.places.tolist(), ways.strengths.tolist(), strict=True):
        source = paths.moves.at(place)
        found[source] = max(found.get(source, 0.0), 1.0 if paths.moves.mode_at(place) == own else strength)
    return found


def _together(known: Hypothesis, nameless: Hypothesis) -> Hypothesis:
    """One hypothesis for one entity: the likelier fault names it, the other one is kept beside it."""
    total = known.probability + nameless.probability
    if total <= 0:
        return known
    part = nameless.probability / total
    faults = [
        (nameless.fault, round(part, 6)),
        *((name, round(share * (1 - part), 6)) for name, share in _faults(known)),
    ]
    (fault, share), *others = sorted(faults, key=lambda pair: (-pair[1], pair[0]))
    return msgspec.structs.replace(
        known,
        fault=fault,
        probability=round(min(1.0, total), 6),
        fault_probability=share,
        other_faults=tuple(others),
        evidence_for=(*known.evidence_for, *nameless.evidence_for),
    )


def _faults(each: Hypothesis) -> tuple[tuple[str, float], ...]:
    return ((each.fault, each.fault_probability), *each.other_faults)


def _causes(answer: Diagnosis, ranked: Sequence[Hypothesis]) -> tuple[int, ...]:
    """The best one, and what was a cause before and still is about as probable as one needs to be."""
    chosen = {each.entity for each in answer.selected()}
    found = [
        number
        for number, each in enumerate(ranked)
        if each.probability >= NAMED and (number == 0 or each.entity in chosen)
    ]
    return tuple(found) if found or not answer.causes else (0,)


def _words(share: float) -> tuple[Evidence, ...]:
    if share < SHOWN:
        return ()
    return (Evidence(text=f"{min(1.0, share):.0%} of the waiting and failing arises at it or in front of it"),)
