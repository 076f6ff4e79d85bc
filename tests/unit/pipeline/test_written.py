"""Which pods are read around an incident, and of whom their lines speak."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from graph_schema.model import Entity, Relation, Subgraph, entity_id
from graph_schema.ontology import load_ontology
from kt.pipeline import written
from sense.kubernetes.written import Run
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


@pytest.mark.parametrize("ready", [True, False])
def test_pods_on_a_node_that_does_not_answer_are_not_asked(ready: bool) -> None:
    piece = shop(2)
    piece.entities["Node/n1"] = Entity(id="Node/n1", kind="Node", name="n1", properties={"ready": ready})
    silent = set() if ready else {"Pod/shop/cart-0", "Pod/shop/cart-1", "Pod/shop/store-0"}
    assert written.out_of_reach(piece) == silent


def test_a_log_signal_begins_with_its_first_line() -> None:
    piece = shop(1)
    [signal] = written.told(complaining(piece, "Pod/shop/cart-0"), T0 - timedelta(seconds=5), piece, ONTOLOGY)
    assert (signal.source, signal.starts_at) == ("log", T0)
    assert 0.5 < signal.confidence < 1


def wrote(count: int, begin: datetime, text: str = "ERROR GET /: 500 failed") -> str:
    """So many lines, ten a second, as Kubernetes hands them out."""
    return "".join(f"{(begin + timedelta(seconds=at / 10)).isoformat()} {text}\n" for at in range(count))


RUN = Run("cart-0", "shop", "cart", False, T0 - timedelta(hours=1))


def test_a_run_is_known_from_the_time_on_that_was_asked_for() -> None:
    found = written.collected([(RUN, wrote(3, T0))], T0, T0 + timedelta(seconds=30))
    assert found.warnings == ()
    begin, end = found.logs.spans["Pod/shop/cart-0"]
    assert (begin, end) == ((T0 - written.LOOK_BACK).timestamp(), T0.timestamp() + 30)


def test_a_pod_that_began_later_is_known_from_its_beginning_on() -> None:
    new = Run("cart-0", "shop", "cart", False, T0 - timedelta(seconds=20))
    found = written.collected([(new, "")], T0, T0 + timedelta(seconds=30))
    assert found.logs.spans["Pod/shop/cart-0"][0] == T0.timestamp() - 20


def test_what_wrote_so_much_that_nothing_is_left_from_before_is_left_out_and_told() -> None:
    flood = wrote(written.MOST_LINES, T0 + timedelta(seconds=1))
    found = written.collected([(RUN, flood), (RUN, None)], T0, T0 + timedelta(minutes=3))
    assert found.logs.troubles == {}
    assert [each.split(",")[0] for each in found.warnings] == [
        "diagnosed without the logs of 1 containers", "diagnosed without the logs of 1 containers"
    ]  # fmt: skip
    much = wrote(written.MOST_LINES, T0 - timedelta(seconds=50))
    found = written.collected([(RUN, much)], T0, T0 + timedelta(minutes=3))
    assert found.logs.spans["Pod/shop/cart-0"][0] == T0.timestamp() - 50
    assert found.warnings == ()


def test_where_nothing_may_be_read_it_is_told_once_how_that_is_granted() -> None:
    found = written.collected([(RUN, None), (RUN, None)], T0, T0, forbidden={"shop"})
    [said] = found.warnings
    assert "`kt rbac --logs` and `kt rbac --logs --namespace shop`" in said
