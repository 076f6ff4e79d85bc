"""States of a thing and of its pods as evidence: what is all but proof, and what followed pods do not show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from diagnose import diagnose
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Entity, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART = "Deployment/shop/cart"


def share(fault: str, symptom: str, deployment: dict[str, Any] | None = None, **pod: Any) -> float:
    """How probable this fault of the Deployment is when the symptom is seen on it and its pod has these states."""
    things = (
        Entity(id=CART, kind="Deployment", name="cart", namespace="shop", properties=deployment or {}),
        Entity(id="ReplicaSet/shop/cart-1", kind="ReplicaSet", name="cart-1", namespace="shop"),
        Entity(id="Pod/shop/cart-1-a", kind="Pod", name="cart-1-a", namespace="shop", properties=pod),
    )
    owned = (Relation(things[0].id, things[1].id, "OWNS"), Relation(things[1].id, things[2].id, "OWNS"))
    seen = Signal(fingerprint="f", entity=CART, symptom=symptom, name="Told", starts_at=T0)
    piece = Subgraph({each.id: each for each in things}, owned)
    answer = diagnose(piece, [seen], CATALOGUE, ONTOLOGY, now=T0)
    found = next(each for each in answer.hypotheses if each.entity == CART)
    faults = {found.fault: found.fault_probability} | dict(found.other_faults)
    return faults.get(fault, 0.0)


@pytest.mark.parametrize(
    ("fault", "symptom", "state"),
    [
        ("Workload.LimitTooLow", "restarts", {"terminated": "OOMKilled"}),
        ("Workload.CannotSchedule", "replicas_mismatch", {"unschedulable": True}),
        ("Workload.InitFails", "replicas_mismatch", {"init_failed": True}),
        ("Workload.ImageMissing", "replicas_mismatch", {"waiting": "ErrImageNeverPull"}),
    ],
)
def test_a_state_that_is_all_but_proof_decides_and_its_absence_speaks_against(
    fault: str, symptom: str, state: dict[str, Any]
) -> None:
    unknown = share(fault, symptom)
    assert share(fault, symptom, phase="Running", **state) > max(0.5, unknown)
    assert share(fault, symptom, phase="Running") <= unknown / 2


def test_replicas_that_are_there_refute_that_all_were_taken_away() -> None:
    unknown = share("Workload.ScaledToZero", "unavailable")
    assert share("Workload.ScaledToZero", "unavailable", {"replicas": 0}) > unknown
    assert share("Workload.ScaledToZero", "unavailable", {"replicas": 2}) < unknown / 5
