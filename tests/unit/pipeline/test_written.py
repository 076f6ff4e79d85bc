"""Which pods are read around an incident, and of whom their lines speak."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from graph_schema.model import Entity, Relation, Subgraph, entity_id
from graph_schema.ontology import load_ontology
from kt.pipeline import written
from sense.logs import Collecting, LogRules, Logs

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONTOLOGY = load_ontology()
SERVICE, CART, OTHER = "Service/shop/cart", "Deployment/shop/cart", "Deployment/shop/store"


def entity(kind: str, name: str, namespace: str = "shop") -> Entity:
    return Entity(id=entity_id(kind, name, namespace), kind=kind, name=name, namespace=namespace)


def shop(pods: int) -> Subgraph:
    """A Service of so many pods on one node, on which a pod of another workload runs, too."""
    names = [f"Pod/shop/cart-{number}" for number in range(pods)]
    entities = [entity("Service", "cart"), entity("Deployment", "cart"), entity("Deployment", "store")]
    entities += [entity("Pod", each.rpartition("/")[2]) for each in [*names, "Pod/shop/store-0"]]
    entities += [entity("ReplicaSet", "cart-a"), entity("Node", "n1", "")]
    relations = [Relation(CART, "ReplicaSet/shop/cart-a", "OWNS"), Relation(OTHER, "Pod/shop/store-0", "OWNS")]
    relations += [Relation("ReplicaSet/shop/cart-a", each, "OWNS") for each in names]
    relations += [Relation(SERVICE, each, "SELECTS") for each in names]
    relations += [Relation(each, "Node/n1", "RUNS_ON") for each in [*names, "Pod/shop/store-0"]]
    return Subgraph({each.id: each for each in entities}, tuple(relations))


def complaining(piece: Subgraph, *pods: str) -> Logs:
    """Every pod of the cart was read for ten minutes; these failed since the onset."""
    found, onset = Collecting(LogRules.load()), T0.timestamp()
    for each in piece.entities.values():
        if each.kind == "Pod" and each.name.startswith("cart"):
            found.watched(each.id, onset - 600, onset + 30)
    for pod in pods:
        for second in range(30):
            found.line(pod, onset + second, f"ERROR GET /{second}: 500 failed")
    return found.logs


def said(piece: Subgraph, *pods: str) -> list[tuple[str, str]]:
    found = written.told(complaining(piece, *pods), T0, piece, ONTOLOGY)
    return sorted((each.entity, each.symptom) for each in found)


def test_one_pod_that_fails_alone_speaks_for_itself() -> None:
    assert said(shop(3), "Pod/shop/cart-1") == [("Pod/shop/cart-1", "errors")]


def test_most_pods_of_a_workload_speak_for_the_workload() -> None:
    assert said(shop(3), "Pod/shop/cart-0", "Pod/shop/cart-1") == [(CART, "errors")]
    five = shop(5)
    some = ["Pod/shop/cart-0", "Pod/shop/cart-1"]
    assert said(five, *some) == [(each, "errors") for each in some]


def test_nothing_is_said_of_what_was_always_so() -> None:
    piece = shop(1)
    found, onset = Collecting(LogRules.load()), T0.timestamp()
    for second in range(-600, 30):
        found.line("Pod/shop/cart-0", onset + second, "ERROR cannot read the cache")
    assert written.told(found.logs, T0, piece, ONTOLOGY) == []


def test_the_nearest_pods_are_read_first() -> None:
    piece = shop(2)
    found = [each.id for each in written.nearest(piece, {SERVICE})]
    assert found == ["Pod/shop/cart-0", "Pod/shop/cart-1", "Pod/shop/store-0"]
    assert written.nearest(piece, {"Pod/shop/store-0"})[0].id == "Pod/shop/store-0"
    assert written.nearest(piece, {"Service/shop/unknown"}) == []


def test_a_log_signal_begins_with_its_first_line() -> None:
    piece = shop(1)
    [signal] = written.told(complaining(piece, "Pod/shop/cart-0"), T0 - timedelta(seconds=5), piece, ONTOLOGY)
    assert (signal.source, signal.starts_at) == ("log", T0)
    assert 0.5 < signal.confidence < 1
