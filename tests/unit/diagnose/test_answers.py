"""What the answers of probes do to a diagnosis."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose import diagnose
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Diagnosis, Entity, ProbeAnswer, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
NODE, CART = "Node/n1", "Deployment/shop/cart"
PIECE = Subgraph(
    {
        NODE: Entity(id=NODE, kind="Node", name="n1"),
        CART: Entity(id=CART, kind="Deployment", name="cart", namespace="shop"),
        "Pod/shop/cart-1": Entity(id="Pod/shop/cart-1", kind="Pod", name="cart-1", namespace="shop"),
    },
    (Relation(CART, "Pod/shop/cart-1", "OWNS"), Relation("Pod/shop/cart-1", NODE, "RUNS_ON")),
)
WEAK = [Signal(fingerprint="a", entity=CART, symptom="replicas_mismatch", name="Told", starts_at=T0, confidence=0.7)]
READY = ProbeAnswer(question="Node/n1: condition Ready", confirms="!= True", confirmed=True, saw="= Unknown")


def ask(*answers: ProbeAnswer) -> Diagnosis:
    return diagnose(PIECE, WEAK, CATALOGUE, ONTOLOGY, now=T0, answers=answers)


def share(answer: Diagnosis, entity: str) -> float:
    return next((each.probability for each in answer.hypotheses if each.entity == entity), 0.0)


def said(confirmed: bool | None) -> ProbeAnswer:
    return ProbeAnswer(question=READY.question, confirms=READY.confirms, confirmed=confirmed, saw="looked")


def test_an_answer_moves_the_fault_that_it_was_about_and_is_told() -> None:
    none, hit, missed = ask(), ask(said(True)), ask(said(False))
    assert share(missed, NODE) < share(none, NODE) < share(hit, NODE)
    assert hit.hypotheses[0].entity == NODE
    assert any("Node/n1: condition Ready: looked" in each.text for each in hit.hypotheses[0].evidence_for)


def test_no_answer_says_nothing() -> None:
    assert ask(said(None)).hypotheses == ask().hypotheses


def test_what_was_asked_is_not_asked_again() -> None:
    seen: list[ProbeAnswer] = []
    while (probe := ask(*seen).next_probe) is not None:
        assert (probe.question, probe.confirms) not in {(each.question, each.confirms) for each in seen}
        seen.append(ProbeAnswer(question=probe.question, confirms=probe.confirms, confirmed=False))
    assert len(seen) > 3


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3))
def test_the_order_of_answers_does_not_matter(chance: random.Random, verdicts: list[bool | None]) -> None:
    questions = [
        ("Node/n1: condition Ready", "!= True"), ("Deployment/cart: spec.replicas", "= 0"),
        ("Pod/cart-1: lastState.terminated.reason", "= OOMKilled"),
    ]  # fmt: skip
    answers = [
        ProbeAnswer(question=question, confirms=confirms, confirmed=verdict)
        for (question, confirms), verdict in zip(questions, verdicts, strict=True)
    ]
    mixed = chance.sample(answers, len(answers))
    one, other = ask(*answers), ask(*mixed)
    assert [(each.entity, each.fault) for each in one.hypotheses] == [
        (each.entity, each.fault) for each in other.hypotheses
    ]
    for first, second in zip(one.hypotheses, other.hypotheses, strict=True):
        assert first.probability == pytest.approx(second.probability, abs=1e-5)
