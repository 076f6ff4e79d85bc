"""Rollouts that nobody watched are read off the ReplicaSets that they left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sense.kubernetes.objects import changes, newest_rollouts


def replica_set(name: str, revision: str, before: str = "", owner: str = "cart", **marks_of_kt: str) -> dict[str, Any]:
    marks = {"deployment.kubernetes.io/revision": revision, **{f"kt.io/{k}": v for k, v in marks_of_kt.items()}}
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


def test_the_rollout_that_kts_own_change_brought_about_is_told_as_a_remedy() -> None:
    old, new = replica_set("v1", "1"), replica_set("v2", "2", action="a1")
    for told in (newest_rollouts([old, new]), newest_rollouts([new], [old])):
        assert [(each.kind, each.detail) for each in told] == [("remedy", "done by KT (template): revision 2: shop:v2")]


def test_a_rollout_of_a_persons_after_kts_carries_its_marks_and_is_a_rollout_all_the_same() -> None:
    kts, theirs = replica_set("v2", "2", action="a1"), replica_set("v3", "3", action="a1")
    assert [each.kind for each in newest_rollouts([replica_set("v1", "1"), kts, theirs])] == ["rollout"]
    assert [each.kind for each in newest_rollouts([theirs], [kts])] == ["rollout"]


def deployment(image: str, replicas: int = 2, **marks: str) -> dict[str, Any]:
    meta = {"name": "cart", "namespace": "shop", "annotations": {f"kt.io/{key}": each for key, each in marks.items()}}
    template = {"spec": {"containers": [{"image": image}]}}
    return {"kind": "Deployment", "metadata": meta, "spec": {"replicas": replicas, "template": template}}


@pytest.mark.parametrize(
    ("before", "after", "kind", "detail"),
    [
        (deployment("a"), deployment("b"), "rollout", "a → b"),
        (deployment("a"), deployment("b", action="a1"), "remedy", "done by KT (rollout): a → b"),
        (deployment("b", action="a1"), deployment("a", undone="a1"), "remedy", "taken back by KT (rollout): b → a"),
        (deployment("b", action="a1"), deployment("c", action="a1"), "rollout", "b → c"),
        (deployment("a", 2), deployment("a", 3, action="a2"), "remedy", "done by KT (scale): 2 → 3 replicas"),
        (deployment("a", 3, action="a2"), deployment("a", 0, action="a2"), "scale", "3 → 0 replicas"),
    ],
)
def test_a_change_is_kts_when_its_mark_came_with_it(
    before: dict[str, Any], after: dict[str, Any], kind: str, detail: str
) -> None:
    (found,) = changes(before, after, datetime(2026, 3, 1, tzinfo=UTC))
    assert (found.kind, found.detail) == (kind, detail)
