"""What speaks against a rollout that was there before: more is asked, it did its work, one pod alone is sick."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from diagnose import diagnose
from diagnose.demand import with_demand
from diagnose.proven import proven
from diagnose.siblings import OOM_OF_SEVERAL, SICK_ALONE, told_apart, with_comparisons
from diagnose.wiring import Wiring
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Burden, Change, Diagnosis, Entity, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
ONSET = datetime(2026, 6, 1, 12, tzinfo=UTC)
CART, POD = "Deployment/shop/cart", "Pod/shop/cart-1-a"


def shop(ready: Sequence[bool] = (True, True), older: int = 0, **changes_s: float) -> Subgraph:
    """front calls cart; pods of cart's new revision are ready or not, others are of the old one.

    `changes_s`: kind of a change of cart → how long before the onset.
    """
    entities = [_entity(f"{kind}/shop/{name}") for name in ("front", "cart") for kind in ("Service", "Deployment")]
    relations = [Relation("Service/shop/front", "Service/shop/cart", "CALLS")]
    for name, revision, states in (("cart", 1, ready), ("cart", 0, (True,) * older), ("front", 1, (True,))):
        owned = f"ReplicaSet/shop/{name}-{revision}"
        entities.append(_entity(owned))
        relations.append(Relation(f"Deployment/shop/{name}", owned, "OWNS"))
        for letter, state in zip("abcdef", states, strict=False):
            pod = f"Pod/shop/{name}-{revision}-{letter}"
            entities.append(_entity(pod, ready=state, phase="Running"))
            relations += [Relation(owned, pod, "OWNS"), Relation(f"Service/shop/{name}", pod, "SELECTS")]
    changes = tuple(
        Change(entity=CART, at=ONSET - timedelta(seconds=before), kind=kind, id=kind)
        for kind, before in changes_s.items()
    )
    return Subgraph({each.id: each for each in entities}, tuple(relations), changes)


def _entity(name: str, **states: Any) -> Entity:
    kind, namespace, last = name.split("/")
    return Entity(id=name, kind=kind, namespace=namespace, name=last, properties=states)


def burden(name: str, before: float, after: float, failed: float | None = 0.0) -> Burden:
    return Burden(
        entity=f"Service/shop/{name}", symptom="errors", amount=5.0, strength=1.0, before=failed, after=0.5,
        calls_before=before, calls_after=after,
    )  # fmt: skip


def signal(entity: str, symptom: str) -> Signal:
    return Signal(fingerprint=f"{symptom}@{entity}", entity=entity, symptom=symptom, name=symptom, starts_at=ONSET)


def asked_for(front: float, cart: float) -> set[str]:
    """What is in demand after this many calls instead of 30."""
    found = with_demand(shop(), [burden("front", 30, front), burden("cart", 30, cart)], ONSET)
    return {each.entity for each in found.changes if each.kind == "demand"}


def test_more_calls_from_outside_are_demand_of_all_on_their_way_and_of_what_is_behind() -> None:
    assert {"Service/shop/front", "Deployment/shop/front", "Service/shop/cart", CART} <= asked_for(90, 90)
    assert not {each for each in asked_for(90, 31) if "cart" in each}


def test_calls_that_a_caller_makes_again_are_no_demand() -> None:
    assert asked_for(30, 90) == set()


def test_callers_in_a_circle_are_in_no_demand_of_each_other() -> None:
    piece = shop()
    back = Relation("Service/shop/cart", "Service/shop/front", "CALLS")
    circle = Subgraph(piece.entities, (*piece.relations, back))
    assert with_demand(circle, [burden("front", 30, 90), burden("cart", 30, 90)], ONSET).changes == ()


def test_without_an_onset_by_metrics_nothing_is_in_demand_and_nothing_proven() -> None:
    burdens = [burden("front", 30, 90), burden("cart", 30, 90)]
    assert with_demand(shop(), burdens, None) == shop()
    assert proven(shop(), burdens, None) == {}


def judged(piece: Subgraph, *signals: Signal, burdens: Sequence[Burden] = ()) -> Diagnosis:
    onset = ONSET if burdens else None
    return diagnose(
        with_demand(piece, burdens, onset), signals, CATALOGUE, ONTOLOGY, now=ONSET,
        proven=proven(piece, burdens, onset),
    )  # fmt: skip


def test_an_overload_is_told_from_a_bad_revision_by_what_is_asked() -> None:
    piece = shop(rollout=60)
    seen = [signal("Service/shop/cart", each) for each in ("saturation", "errors", "latency")]
    flat, surge = ([burden("front", 30, calls), burden("cart", 30, calls)] for calls in (30, 100))
    assert judged(piece, *seen, burdens=flat).hypotheses[0].fault == "Workload.BadRevision"
    best = judged(piece, *seen, burdens=surge).hypotheses[0]
    assert (best.entity, best.fault) == (CART, "Workload.Overload")
    assert any("demand" in each.text and "30 → 100" in each.text for each in best.evidence_for)


def revision_weight(piece: Subgraph, *burdens: Burden) -> float:
    """What the rollout of cart counts for its being bad, in log-odds."""
    answer = judged(piece, signal("Service/shop/cart", "errors"), burdens=burdens)
    best = next(each for each in answer.hypotheses if each.entity == CART)
    return next(each.weight for each in best.evidence_for if each.text.startswith("rollout"))


@pytest.mark.parametrize("failed", [0.0, None])
def test_a_rollout_after_which_calls_were_answered_counts_less_the_longer_they_were(failed: float | None) -> None:
    well = burden("cart", 30, 30, failed)
    lost = [revision_weight(shop(rollout=age)) - revision_weight(shop(rollout=age), well) for age in (10, 60, 120)]
    assert lost[0] == pytest.approx(0, abs=1e-6)
    assert 0.3 < lost[1] < lost[2]


def test_a_rollout_under_way_or_calls_that_failed_before_prove_nothing() -> None:
    for piece, failed in ((shop(older=1, rollout=120), 0.0), (shop(rollout=120), 0.2)):
        assert revision_weight(piece, burden("cart", 30, 30, failed)) == pytest.approx(revision_weight(piece))


def test_only_a_pod_whose_like_are_well_stands_alone() -> None:
    for ready, older, alone in (((False, True, True), 0, 2), ((False, False), 0, 0), ((False,), 2, 0)):
        piece = shop(ready, older)
        assert with_comparisons(piece).entities[POD].properties.get(SICK_ALONE, False) is bool(alone)
        assert len(told_apart(CART, Wiring(piece, ONTOLOGY), piece.entities)[1]) == alone
    reasoned = shop((False, True))
    reasoned.entities[POD].properties["waiting"] = "CrashLoopBackOff"
    assert SICK_ALONE not in with_comparisons(reasoned).entities[POD].properties


def test_containers_of_several_workloads_that_were_ended_for_memory_speak_for_their_node() -> None:
    piece = shop()
    piece.entities["Node/n"] = Entity(id="Node/n", kind="Node", name="n", properties={"ready": True, "pressure": []})
    there = tuple(Relation(each, "Node/n", "RUNS_ON") for each in (POD, "Pod/shop/cart-1-b", "Pod/shop/front-1-a"))
    piece = Subgraph(piece.entities, (*piece.relations, *there))
    seen = [signal(POD, "oom_killed"), signal("Service/shop/cart", "latency")]

    def share(*killed: str) -> float:
        for each in killed:
            piece.entities[each].properties["terminated"] = "OOMKilled"
        assert (OOM_OF_SEVERAL in with_comparisons(piece).entities["Node/n"].properties) is (there[2].source in killed)
        found = {each.entity: each.probability for each in judged(piece, *seen).hypotheses}
        return found["Node/n"]

    of_one = share(POD, there[1].source)
    assert share(POD, there[2].source) > 3 * of_one


def test_one_sick_pod_among_well_ones_is_blamed_rather_than_their_revision() -> None:
    seen = signal(CART, "replicas_mismatch"), signal("Service/shop/front", "errors")

    def share(ready: Sequence[bool]) -> float:
        found = {each.entity: each.probability for each in judged(shop(ready, rollout=300), *seen).hypotheses}
        return found.get(POD, 0.0) / found[CART]

    assert share((False, True, True)) > 4 * share((False, False, False))
