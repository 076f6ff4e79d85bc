"""Policies, quotas, certificates and Secrets in the graph."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from graph_schema.model import Relation
from graph_schema.ontology import load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.sqlite import SqliteGraphStore
from sense.kubernetes import bearing, objects
from sense.kubernetes.follower import TopologyFollower

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART = {"app": "cart", "tier": "back"}


def thing(kind: str, name: str, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop", "labels": labels or {}, "resourceVersion": "1"}
    return {"kind": kind, "metadata": meta, **more}


def policy(**selector: Any) -> dict[str, Any]:
    return thing("NetworkPolicy", "deny", spec={"podSelector": selector})


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "cart"}}, True),
        ({"matchLabels": {"app": "mail"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["cart", "mail"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["cart"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"app": "cart"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}, False),
    ],
)
def test_a_policy_bears_on_the_pods_that_it_selects(selector: dict[str, Any], selected: bool) -> None:
    pod = thing("Pod", "cart-1", CART)
    expected = [Relation("NetworkPolicy/shop/deny", "Pod/shop/cart-1", "APPLIES_TO")] if selected else []
    assert bearing.relations_of(policy(**selector), {"Pod": {"x": pod}}) == expected
    assert bearing.relations_of(pod, {"NetworkPolicy": {"x": policy(**selector)}}) == expected


@pytest.fixture
def store(tmp_path: Path) -> GraphStore:
    return SqliteGraphStore(tmp_path / "graph.db", load_ontology().fault_from)


@pytest.fixture
def follower(store: GraphStore) -> TopologyFollower:
    times = iter(T0 + timedelta(seconds=number) for number in range(1000))
    return TopologyFollower(None, store, lambda: next(times), "cluster", secrets=True)


def related(store: GraphStore, kind: str) -> set[tuple[str, str]]:
    near = store.neighbourhood([each.id for each in store.find()], hops=2)
    return {(each.source, each.target) for each in near.relations if each.kind == kind}


def test_relations_follow_the_labels_of_pods_the_policy_and_the_certificate(
    store: GraphStore, follower: TopologyFollower
) -> None:
    deny = policy(matchLabels={"app": "cart"})
    follower.replace("Pod", [thing("Pod", "cart-1", CART, spec={})])
    follower.replace("NetworkPolicy", [deny])
    follower.replace("ResourceQuota", [thing("ResourceQuota", "quota", spec={"hard": {"pods": "4"}})])
    follower.replace("Namespace", [{"kind": "Namespace", "metadata": {"name": "shop", "resourceVersion": "1"}}])
    on_pod = ("NetworkPolicy/shop/deny", "Pod/shop/cart-1")
    assert related(store, "APPLIES_TO") == {on_pod, ("ResourceQuota/shop/quota", "Namespace/shop")}
    follower.changed("Pod", thing("Pod", "cart-1", {"app": "other"}, spec={}))
    assert on_pod not in related(store, "APPLIES_TO")
    follower.changed("Pod", thing("Pod", "cart-1", CART, spec={}))
    assert on_pod in related(store, "APPLIES_TO")
    follower.changed("NetworkPolicy", policy(matchLabels={"app": "mail"}))
    assert on_pod not in related(store, "APPLIES_TO")
    assert [(each.entity, each.kind) for each in store.changes_since(T0)] == [("NetworkPolicy/shop/deny", "policy")]

    certificate = thing("Certificate", "front", spec={"secretName": "tls"}, status={"conditions": []})
    follower.replace("Ingress", [thing("Ingress", "front", spec={"tls": [{"secretName": "tls"}]})])
    follower.replace("Certificate", [certificate])
    assert related(store, "SECURES") == {("Certificate/shop/front", "Ingress/shop/front")}
    follower.changed("Ingress", thing("Ingress", "front", spec={"tls": []}))
    assert related(store, "SECURES") == set()
    unready = {"conditions": [{"type": "Ready", "status": "False"}], "revision": 2}
    follower.changed("Certificate", {**certificate, "status": unready})
    assert store.get(["Certificate/shop/front"])["Certificate/shop/front"].properties == {"ready": False}
    assert ("Certificate/shop/front", "certificate") in {(each.entity, each.kind) for each in store.changes_since(T0)}


def secret(version: str, wrote: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    found = thing("Secret", "db", labels, data={"password": "aHVzaA=="}, stringData={"other": "hush"}, type="Opaque")
    found["metadata"] |= {
        "resourceVersion": version,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"password": "aHVzaA=="}}'},
        "managedFields": [{"manager": "kubectl", "time": wrote, "fieldsV1": {"f:data": {"f:password": {}}}}],
    }
    return found


def test_of_a_secret_nothing_is_kept_in_which_its_contents_could_stand() -> None:
    kept = bearing.metadata_only(secret("1", "2026-03-01T12:00:00Z"))
    assert set(kept) == {"kind", "metadata"}
    assert "annotations" not in kept["metadata"]
    assert "aHVzaA" not in str(kept)
    assert "hush" not in str(kept)


def test_that_a_secret_was_written_is_a_change_and_a_new_label_is_none() -> None:
    first, labelled, written = (
        bearing.metadata_only(each)
        for each in (
            secret("1", "2026-03-01T12:00:00Z"),
            secret("2", "2026-03-01T12:00:00Z", {"a": "b"}),
            secret("3", "2026-03-01T13:00:00Z", {"a": "b"}),
        )
    )
    assert objects.changes(first, labelled, T0) == []
    assert [(each.kind, each.detail) for each in objects.changes(labelled, written, T0)] == [
        ("config", "contents were written")
    ]


def test_a_policy_or_quota_that_was_not_there_is_a_change_and_one_that_was_listed_is_none(
    follower: TopologyFollower, store: GraphStore
) -> None:
    follower.replace("NetworkPolicy", [policy(matchLabels={"app": "cart"})])
    assert store.changes_since(T0) == []
    quota = thing("ResourceQuota", "pods", spec={"hard": {"pods": "1"}})
    follower.changed("ResourceQuota", quota)
    follower.changed("Pod", thing("Pod", "cart-1", CART))
    (change,) = store.changes_since(T0)
    assert (change.entity, change.kind, change.detail) == ("ResourceQuota/shop/pods", "policy", "created")


@pytest.mark.parametrize(("hard", "used", "full"), [
    ({"pods": "4"}, {"pods": "4"}, True), ({"pods": "4"}, {"pods": "3"}, False), ({"pods": "1"}, {"pods": "7"}, True),
    ({"requests.cpu": "1", "pods": "9"}, {"requests.cpu": "1000m", "pods": "3"}, True),
    ({"limits.memory": "1Gi"}, {"limits.memory": "1023Mi"}, False),
    ({"services.loadbalancers": "0"}, {"services.loadbalancers": "0"}, None), ({"pods": "4"}, {}, None),
])  # fmt: skip
def test_a_quota_is_full_when_nothing_is_left_of_what_every_pod_takes(
    hard: dict[str, str], used: dict[str, str], full: bool | None
) -> None:
    quota = thing("ResourceQuota", "quota", spec={"hard": hard}, status={"hard": hard, "used": used})
    assert objects.entity(quota).properties.get("full") is full
