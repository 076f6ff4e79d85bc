"""What new pods answer is not measured at once: a Service that was rolled out just now may fail without showing it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from diagnose.attribution import attribute
from diagnose.renewed import renewed, telling
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Burden, Change, Entity, ProbeAnswer, Relation, Subgraph
from graph_schema.ontology import load_ontology

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ABOUT_CART = 'kt:error_ratio{namespace="shop",service="cart"}'
ABOUT_FRONT = 'kt:error_ratio{namespace="shop",service="front"}'


def piece(rolled_out: timedelta) -> Subgraph:
    """front calls cart, a Service before a Deployment that was rolled out so long ago."""
    kinds = ("Service", "Deployment", "ReplicaSet", "Pod")
    names = [f"{kind}/shop/{name}" for name in ("front", "cart") for kind in kinds]
    entities = {}
    for name in names:
        kind, namespace, last = name.split("/")
        entities[name] = Entity(id=name, kind=kind, namespace=namespace, name=last)
    relations = [Relation("Service/shop/front", "Service/shop/cart", "CALLS")]
    for name in ("front", "cart"):
        relations += [
            Relation(f"Service/shop/{name}", f"Pod/shop/{name}", "SELECTS"),
            Relation(f"ReplicaSet/shop/{name}", f"Pod/shop/{name}", "OWNS"),
            Relation(f"Deployment/shop/{name}", f"ReplicaSet/shop/{name}", "OWNS"),
        ]
    change = Change(entity="Deployment/shop/cart", at=NOW - rolled_out, kind="rollout", detail="v1 → v2", id="c")
    return Subgraph(entities=entities, relations=tuple(relations), changes=(change,))


def burden(name: str, amount: float, calls_after: float, step_s: float = 1.0) -> Burden:
    return Burden(
        entity=f"Service/shop/{name}", symptom="errors", amount=amount, strength=1.0 if amount else 0.0, before=0.0,
        after=amount / 30, calls_before=30.0, calls_after=calls_after, step_s=step_s,
    )  # fmt: skip


HALF_SEEN = (burden("front", 7.0, 30.0), burden("cart", 0.0, 15.0))


@pytest.mark.parametrize(
    ("ago_s", "step_s", "expected"), [(8, 1, True), (14, 1, True), (16, 1, False), (100, 30, True), (170, 30, False)]
)
def test_a_service_is_new_until_prometheus_can_have_seen_its_pods(ago_s: float, step_s: float, expected: bool) -> None:
    known = [burden("cart", 0.0, 15.0, step_s)]
    found = renewed(piece(timedelta(seconds=ago_s)), known, NOW)
    assert (found == {"Service/shop/cart": {"ReplicaSet/shop/cart", "Deployment/shop/cart"}}) is expected
    assert bool(found) is expected


def test_calls_that_new_pods_got_may_be_those_that_fail() -> None:
    cluster = piece(timedelta(seconds=5))
    showing = {("Service/shop/front", "errors")}
    blamed = attribute(HALF_SEEN, cluster.relations, showing, renewed(cluster, HALF_SEEN, NOW))
    assert blamed["Service/shop/cart", "errors"][0] > 0.9
    # Without a rollout fewer calls say nothing: who fails before it calls leaves its callees less to do.
    assert attribute(HALF_SEEN, cluster.relations, showing).keys() == {("Service/shop/front", "errors")}


def test_what_its_old_pods_answer_does_not_speak_for_it() -> None:
    ontology = load_ontology()
    catalogue, cluster = load_catalogue(ontology=ontology), piece(timedelta(seconds=5))
    answers = [
        ProbeAnswer(question=each, confirms="> 0.05", confirmed=False, saw="= 0") for each in (ABOUT_CART, ABOUT_FRONT)
    ]
    anew = renewed(cluster, HALF_SEEN, NOW)
    assert telling(answers, anew, HALF_SEEN, cluster, catalogue) == (answers[1],)
    whole = (burden("front", 7.0, 30.0), burden("cart", 0.0, 30.0))
    assert telling(answers, anew, whole, cluster, catalogue) == tuple(answers)
