"""What depends on a target is found in the graph, in the words of a person."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from graph_schema.model import Entity, Relation
from graph_schema.ontology import load_ontology
from graph_schema.stores.sqlite import SqliteGraphStore
from kt.pipeline.dependants import dependants

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_services_and_workloads_that_a_fault_would_reach_the_nearest_first(tmp_path: Path) -> None:
    graph = SqliteGraphStore(tmp_path / "graph.db", load_ontology().fault_from)
    ids = ["Deployment/shop/cart", "ReplicaSet/shop/cart-1", "Pod/shop/cart-1-a", "Service/shop/cart",
           "Service/shop/front", "Service/shop/store", "Node/n1", "Pod/shop/other"]  # fmt: skip
    relations = [
        Relation("Deployment/shop/cart", "ReplicaSet/shop/cart-1", "OWNS"),
        Relation("ReplicaSet/shop/cart-1", "Pod/shop/cart-1-a", "OWNS"),
        Relation("Service/shop/cart", "Pod/shop/cart-1-a", "SELECTS"),
        Relation("Service/shop/front", "Service/shop/cart", "CALLS"),
        Relation("Service/shop/cart", "Service/shop/store", "CALLS"),
        Relation("Pod/shop/cart-1-a", "Node/n1", "RUNS_ON"),
        Relation("Pod/shop/other", "Node/n1", "RUNS_ON"),
    ]
    graph.upsert([_entity(each) for each in ids], relations, at=NOW)
    assert dependants(graph, ["Deployment/shop/cart"]) == ("Service/shop/cart", "Service/shop/front")
    assert dependants(graph, ["Deployment/shop/unknown"]) == ()
    graph.close()


def _entity(id_: str) -> Entity:
    kind, *middle, name = id_.split("/")
    return Entity(id=id_, kind=kind, name=name, namespace=middle[0] if middle else "")
