"""Ranks hypotheses again by where waiting and failing arise.

The walk over the graph says what may be behind the symptoms; the balance of burdens (`attribution`) says at which
entity they arise. A hypothesis keeps its odds as far as its entity stands behind those: it is the entity itself, a part
of it, or what it runs on, mounts or uses. Calls are left out here, since the balance has followed them already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from diagnose.attribution import LEAST, NAMED, SHOWN, Shares, fault_of
from diagnose.paths import Paths
from graph_schema.model import Diagnosis, Evidence, Hypothesis, Subgraph
from graph_schema.ontology import Ontology

ELSEWHERE = 0.1
"""What is left of the odds of a hypothesis behind which nothing arises: the balance may lack an entity."""
HOPS = 4
CALLING = frozenset({"CALLS", "ROUTES_TO"})


def refine(answer: Diagnosis, shares: Shares, piece: Subgraph, ontology: Ontology) -> Diagnosis:
    """The same hypotheses with probabilities that heed the balance, and its own where the catalogue has nothing."""
    behind = _behind(shares, piece, ontology)
    kept = {
        each.entity: ELSEWHERE + (1 - ELSEWHERE) * min(1.0, behind.get(each.entity, 0.0)) for each in answer.hypotheses
    }
    weighed = [(each, each.probability * kept[each.entity]) for each in answer.hypotheses]
    before, after = (sum(each.probability for each in answer.hypotheses), sum(weight for _, weight in weighed))
    # What the balance takes from one hypothesis goes to the others, as far as it supports any of them.
    scale = before * max(kept.values()) / after if after > 0 else 0.0
    known = [
        msgspec.structs.replace(
            each,
            probability=round(min(1.0, weight * scale), 6),
            evidence_for=(*each.evidence_for, *_words(each, behind)),
        )
        for each, weight in weighed
    ]
    reached = {each.entity for each in answer.hypotheses if each.probability > LEAST}
    others = [
        fault_of(entity, symptom, share, burden)
        for (entity, symptom), (share, burden) in sorted(shares.items())
        if share >= SHOWN and not reached & _sources(entity, symptom, piece, ontology)
    ]
    place = {(each.entity, each.fault): number for number, each in enumerate(answer.hypotheses)}
    ranked = sorted(
        [*known, *others], key=lambda each: (-each.probability, place.get((each.entity, each.fault), 1 << 30))
    )
    return msgspec.structs.replace(answer, hypotheses=tuple(ranked), causes=_causes(answer, ranked))


def _causes(answer: Diagnosis, ranked: list[Hypothesis]) -> tuple[int, ...]:
    """The best one, and what was a cause before and still is about as probable as one needs to be."""
    chosen = {(each.entity, each.fault) for each in answer.selected()}
    found = [
        number
        for number, each in enumerate(ranked)
        if each.probability >= NAMED and (number == 0 or (each.entity, each.fault) in chosen)
    ]
    return tuple(found) if found or not answer.causes else (0,)


def _behind(shares: Shares, piece: Subgraph, ontology: Ontology) -> dict[str, float]:
    """Entity → how much of the whole trouble arises at it or at what it stands behind."""
    paths = _without_calls(piece, ontology)
    found: dict[str, float] = defaultdict(float)
    for (entity, symptom), (share, _) in sorted(shares.items()):
        for source, reach in paths.to(entity, symptom, HOPS).items():
            found[source] += share * (1.0 if reach.own else reach.strength)
    return found


def _sources(entity: str, symptom: str, piece: Subgraph, ontology: Ontology) -> set[str]:
    return set(_without_calls(piece, ontology).to(entity, symptom, HOPS))


def _without_calls(piece: Subgraph, ontology: Ontology) -> Paths:
    relations = tuple(each for each in piece.relations if each.kind not in CALLING)
    return Paths(Subgraph(piece.entities, relations), ontology)


def _words(each: Hypothesis, behind: Mapping[str, float]) -> tuple[Evidence, ...]:
    share = behind.get(each.entity, 0.0)
    if share < SHOWN:
        return ()
    return (Evidence(text=f"{min(1.0, share):.0%} of the waiting and failing arises at it or in front of it"),)
