"""Answers for a person: what separates two hypotheses, and why an entity is not named. Nothing is weighed here."""

from __future__ import annotations

from diagnose.engine import Considered
from graph_schema.catalogue import Catalogue
from graph_schema.model import Hypothesis
from graph_schema.ontology import Ontology


def separates(first: Hypothesis, other: Hypothesis) -> list[str]:
    """What speaks for the first hypothesis and not for the other one, and the other way round."""
    lines = []
    for better, worse, who in ((first, other, first.entity), (other, first, other.entity)):
        lines += [
            f"for {who}: {evidence.text}"
            for evidence in better.evidence_for
            if not evidence.fingerprint or evidence.fingerprint not in worse.explains
        ]
        lines += [f"against {worse.entity}: {evidence.text}" for evidence in worse.evidence_against]
    return list(dict.fromkeys(lines))


def why_not(entity: str, found: Considered, catalogue: Catalogue, ontology: Ontology) -> list[str]:
    """Why this entity is not held to be the cause, or that it is."""
    for place, candidate in enumerate(found.ranked):
        if candidate.entity.id != entity:
            continue
        if place < found.causes:
            return [f"{entity} is named as a cause: {candidate.faults[0].fault.name} ({candidate.probability:.0%})."]
        return _weighed(place, found)
    known = found.piece.entities.get(entity)
    if known is None:
        return [f"{entity} is not in the graph."]
    if not found.seen.units:
        return ["No alert is firing on anything that is in the graph; there is nothing to explain."]
    if not catalogue.on(known.kind):
        return [f"No fault mode is known for a {known.kind}."]
    return [
        f"No sickness of {entity} could show as any of the alerts: no way of relations leads there, it is too weak, or "
        "many others explain them better."
    ]


def _weighed(place: int, found: Considered) -> list[str]:
    mine, best = found.ranked[place], found.ranked[0]
    fault, theirs = mine.faults[0], best.faults[0]
    columns = found.weighing.columns
    lines = [
        f"{mine.entity.id} is number {place + 1}: {fault.fault.name} ({mine.probability:.1%}); "
        f"number 1 is {theirs.fault.name} of {best.entity.id} ({best.probability:.1%})."
    ]
    for unit in found.seen.units:
        column = columns.number[unit.key]
        ours, other = fault.weights[column], theirs.weights[column]
        if other > 2 * ours:
            how = "does not explain" if ours == 0 else f"explains less well ({ours:.2f} against {other:.2f})"
            lines.append(f"It {how} {unit.symptom} on {unit.entity}.")
    lines += [f"Against it: {evidence.text}." for evidence in fault.against]
    if theirs.change is not None and fault.change is None:
        lines.append(f"Number 1 was changed before: {theirs.change.kind} at {theirs.change.at:%H:%M:%S}; it was not.")
    if theirs.fault.prior > 2 * fault.fault.prior:
        lines.append(
            f"{fault.fault.name} is rarer ({fault.fault.prior:g}) than {theirs.fault.name} ({theirs.fault.prior:g})."
        )
    return lines
