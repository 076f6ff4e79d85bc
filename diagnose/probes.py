"""The next best probe: of the questions that the catalogue knows, the one whose answer is expected to tell most."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from graph_schema.catalogue import Catalogue, FaultMode, Probe
from graph_schema.model import Entity, Hypothesis, NextProbe, ProbeAnswer

LOOKED_AT = 5
"""Hypotheses whose probes are considered."""
FAULTS_EACH = 3
WORTH_BITS = 0.01


def anything(_: NextProbe) -> bool:
    return True


def next_probe(
    hypotheses: Sequence[Hypothesis],
    entities: Mapping[str, Entity],
    catalogue: Catalogue,
    *,
    asked: Collection[tuple[str, str]] = (),
    may: Callable[[NextProbe], bool] = anything,
) -> NextProbe | None:
    """The probe of most expected information gain; None when no answer would change anything.

    Hypotheses are taken as exclusive, with "none of these" taking the rest of the probability. `asked`: (question,
    what confirms) of those that were asked already; `may`: which ones come into question at all.
    """
    beliefs = _beliefs(hypotheses[:LOOKED_AT])
    rest = max(0.0, 1 - sum(beliefs.values()))
    best: NextProbe | None = None
    for (entity, fault), belief in beliefs.items():
        if fault not in catalogue.faults or entity not in entities:
            continue
        for probe in catalogue.faults[fault].probes:
            others = [value for key, value in beliefs.items() if key != (entity, fault)]
            gain = information(belief, [*others, rest], probe.hit, probe.otherwise)
            if gain < WORTH_BITS or (best is not None and gain <= best.gain_bits + 1e-9):
                continue
            found = _asked(entities[entity], fault, probe, gain)
            if (found.question, found.confirms) not in asked and may(found):
                best = found
    return best


def _beliefs(hypotheses: Sequence[Hypothesis]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for each in hypotheses:
        for fault, share in [(each.fault, each.fault_probability), *each.other_faults][:FAULTS_EACH]:
            found[each.entity, fault] = each.probability * share
    total = sum(found.values())
    return {key: value / total for key, value in found.items()} if total > 1 else found


def information(belief: float, others: Sequence[float], hit: float, otherwise: float) -> float:
    """Expected fall of the entropy, in bits, by a yes-or-no answer (Lindley 1956)."""
    gain = _entropy([belief, *others])
    for one, rest in ((hit, otherwise), (1 - hit, 1 - otherwise)):
        joint = [belief * one, *(other * rest for other in others)]
        total = sum(joint)
        if total > 0:
            gain -= total * _entropy([each / total for each in joint])
    return gain


def _entropy(shares: Sequence[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if share > 0)


def filled(text: str, entity: Entity) -> str:
    """A question about this entity."""
    for word, value in (("kind", entity.kind), ("name", entity.name), ("namespace", entity.namespace)):
        text = text.replace(f"{{{word}}}", value)
    return text


def _asked(entity: Entity, fault: str, probe: Probe, gain: float) -> NextProbe:
    return NextProbe(
        entity=entity.id, fault=fault, promql=filled(probe.promql, entity),
        kubernetes=filled(probe.kubernetes, entity), confirms=probe.confirms, gain_bits=round(gain, 4),
    )  # fmt: skip


Answers = Mapping[tuple[str, str], ProbeAnswer]
"""(question, what confirms) → answer."""


def spoken_for(entity: Entity, faults: Iterable[FaultMode], answers: Answers) -> float:
    """The most log-odds that answers can add to any of these faults."""
    return max(sum(max(0.0, weight) for weight, _ in answered(entity, fault, answers)) for fault in faults)


def answered(entity: Entity, fault: FaultMode, answers: Answers) -> list[tuple[float, str]]:
    """(log-likelihood ratio, in words) of each answer that speaks for or against this fault of this entity (Bayes).

    `answers`: by question and what confirms.
    """
    found = []
    for probe in fault.probes:
        answer = answers.get((filled(probe.question, entity), probe.confirms))
        if answer is None or answer.confirmed is None:
            continue
        likely, else_ = (probe.hit, probe.otherwise) if answer.confirmed else (1 - probe.hit, 1 - probe.otherwise)
        found.append((math.log(likely / else_), f"asked {answer.question}: {answer.saw or 'answered'}"))
    return found
