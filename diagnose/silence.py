"""What alerts that watch and stay silent say: against each hypothesis that should have made them fire."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import msgspec

from diagnose.paths import Paths
from graph_schema.catalogue import Catalogue
from graph_schema.model import Diagnosis, Evidence, Hypothesis, Signal, Subgraph, Watch
from graph_schema.ontology import Ontology

FIRES = 0.6
"""Probability that a rule fires in time when its symptom is there."""
EXPECTED = 0.45
"""A symptom is expected where at least this much of the fault arrives."""
HOPS = 4


def heed(
    answer: Diagnosis, watches: Sequence[Watch], signals: Iterable[Signal], piece: Subgraph, catalogue: Catalogue,
    ontology: Ontology,
) -> Diagnosis:  # fmt: skip
    """The same hypotheses with what the silence takes off their odds; what is taken goes to the others and to none."""
    if not watches or not answer.hypotheses:
        return answer
    paths = Paths(piece, ontology)
    showing = {(each.entity, each.symptom) for each in signals}
    silent = [_against(each, watches, showing, paths, piece, catalogue) for each in answer.hypotheses]
    kept = [
        each.probability * math.exp(sum(evidence.weight for evidence in against))
        for each, against in zip(answer.hypotheses, silent, strict=True)
    ]
    nothing = max(0.0, 1.0 - sum(each.probability for each in answer.hypotheses))
    whole = max(sum(kept) + nothing, 1.0) if nothing == 0 else sum(kept) + nothing
    heard = [
        msgspec.structs.replace(
            each,
            probability=round(weight / whole, 6),
            evidence_against=(*each.evidence_against, *against),
        )
        for each, weight, against in zip(answer.hypotheses, kept, silent, strict=True)
    ]
    order = sorted(range(len(heard)), key=lambda place: (-heard[place].probability, place))
    causes = tuple(sorted(order.index(place) for place in answer.causes))
    if causes and causes[0] != 0:
        causes = (0, *causes[1:])
    return msgspec.structs.replace(answer, hypotheses=tuple(heard[place] for place in order), causes=causes)


def _against(
    hypothesis: Hypothesis, watches: Sequence[Watch], showing: Collection[tuple[str, str]], paths: Paths,
    piece: Subgraph, catalogue: Catalogue,
) -> list[Evidence]:  # fmt: skip
    fault = catalogue.faults.get(hypothesis.fault)
    found = []
    for watch in watches if fault else ():
        seen = fault.symptoms.get(watch.symptom, 0.0) if fault else 0.0
        if seen <= 0:
            continue
        # The one place where it should have shown most: further ones would only repeat the same silence.
        reached = paths.of(hypothesis.entity, watch.symptom, HOPS)
        places = [
            (reach.strength, entity)
            for entity, reach in reached.items()
            if entity in piece.entities and piece.entities[entity].kind in watch.kinds and reach.strength >= EXPECTED
        ]
        if not places or any((entity, watch.symptom) in showing for _, entity in places):
            continue
        strength, entity = max(places, key=lambda each: (each[0], each[1]))
        weight = math.log(1 - FIRES * seen * strength * watch.confidence)
        found.append(
            Evidence(
                text=f"{watch.name} watches {entity} for {watch.symptom} and is silent", weight=weight, entity=entity
            )
        )
    return found
