"""Ranks hypotheses again by where waiting and failing arise.

The walk over the graph says what may be behind the symptoms; the balance of burdens (`attribution`) says at which
entity they arise. As far as the balance is sure, its shares are handed to the hypotheses behind each such entity (it, a
part of it, what it runs on, mounts or uses) in proportion to their odds. Calls are left out here, since the balance has
followed them already. What no hypothesis accounts for stays with the entity, as a fault without a name.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec

from diagnose.attribution import NAMED, SHOWN, Shares, fault_of
from diagnose.paths import Paths
from graph_schema.model import Diagnosis, Evidence, Hypothesis, Subgraph
from graph_schema.ontology import Ontology

ELSEWHERE = 0.1
"""How much of the odds stays as it was even where the balance is sure: it may lack an entity."""
NAMELESS = 0.02
"""Probability of a fault at an entity that the catalogue does not know, beside the ones that it offers."""
HOPS = 4
CALLING = frozenset({"CALLS", "ROUTES_TO"})


def refine(answer: Diagnosis, shares: Shares, piece: Subgraph, ontology: Ontology) -> Diagnosis:
    """The same hypotheses with probabilities that heed the balance, and nameless ones where they explain nothing."""
    relations = tuple(each for each in piece.relations if each.kind not in CALLING)
    paths = Paths(Subgraph(piece.entities, relations), ontology)
    handed: dict[int, float] = defaultdict(float)
    arising: dict[int, float] = defaultdict(float)
    nameless: list[Hypothesis] = []
    certain = 0.0
    for (entity, symptom), (share, burden) in sorted(shares.items()):
        sure = share * (burden.strength if burden else 0.0) * (1 - ELSEWHERE)
        certain += sure
        sources = paths.to(entity, symptom, HOPS)
        behind = {
            number: each.probability * (1.0 if sources[each.entity].own else sources[each.entity].strength)
            for number, each in enumerate(answer.hypotheses)
            if each.entity in sources
        }
        whole = sum(behind.values()) + NAMELESS
        for number, weight in behind.items():
            handed[number] += sure * weight / whole
            arising[number] += share
        if share >= SHOWN:
            nameless.append(
                msgspec.structs.replace(
                    fault_of(entity, symptom, share, burden), probability=round(sure * NAMELESS / whole, 6)
                )
            )
    known = [
        msgspec.structs.replace(
            each,
            probability=round(min(1.0, handed[number] + (1 - certain) * each.probability), 6),
            evidence_for=(*each.evidence_for, *_words(arising[number])),
        )
        for number, each in enumerate(answer.hypotheses)
    ]
    # Sorting is stable: equals keep the engine's order, which has declared rules for ties.
    ranked = sorted([*known, *nameless], key=lambda each: -each.probability)
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


def _words(share: float) -> tuple[Evidence, ...]:
    if share < SHOWN:
        return ()
    return (Evidence(text=f"{min(1.0, share):.0%} of the waiting and failing arises at it or in front of it"),)
