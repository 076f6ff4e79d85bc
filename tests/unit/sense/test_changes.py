"""Rollouts that nobody watched are read off the ReplicaSets that they left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sense.kubernetes.objects import newest_rollouts


def replica_set(name: str, revision: str, before: str = "", owner: str = "cart") -> dict[str, Any]:
    marks = {"deployment.kubernetes.io/revision": revision}
    if before:
        marks["deployment.kubernetes.io/revision-history"] = before
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "annotations": marks,
            "ownerReferences": [{"kind": "Deployment", "name": owner, "uid": owner}],
            "creationTimestamp": "2026-03-01T12:00:00Z",
        },
        "spec": {"template": {"spec": {"containers": [{"image": f"shop:{name}"}]}}},
    }


def test_the_newest_revision_tells_of_a_rollout() -> None:
    (found,) = newest_rollouts([replica_set("v1", "1"), replica_set("v2", "2")])
    assert (found.entity, found.kind, found.at) == (
        "Deployment/shop/cart",
        "rollout",
        datetime(2026, 3, 1, 12, tzinfo=UTC),
    )
    assert found.detail == "revision 2: shop:v2"


def test_the_first_revision_is_no_rollout() -> None:
    assert newest_rollouts([replica_set("v1", "1")]) == []


def test_a_revision_that_was_taken_back_is_over_and_the_one_gone_back_to_does_not_tell_when() -> None:
    assert newest_rollouts([replica_set("v2", "2"), replica_set("v1", "3", before="1")]) == []


def test_each_deployment_has_a_newest_revision_of_its_own() -> None:
    found = newest_rollouts(
        [replica_set("v2", "2"), replica_set("v7", "7", owner="front"), {"kind": "Pod", "metadata": {}}]
    )
    assert {each.entity for each in found} == {"Deployment/shop/cart", "Deployment/shop/front"}
