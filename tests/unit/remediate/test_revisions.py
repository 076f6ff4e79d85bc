"""Which revision is known to have been healthy, from what the graph kept of it and from what serves now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graph_schema.model import Entity, HistoryEntry
from remediate.actions import ACTIONS
from remediate.actions.base import CannotAct
from remediate.cluster import Object
from remediate.revisions import HELD

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
REVISION = "deployment.kubernetes.io/revision"
Seen = tuple[float, int, int]
"""(seconds after T0, replicas, ready)."""


class Kept:
    """A cluster that keeps a Deployment's ReplicaSets, numbered from 1, by their image; a patch is tried only."""

    def __init__(self, *images: str, ready: dict[int, int] | None = None) -> None:
        self.sets = [self._set(number, image, (ready or {}).get(number, 0)) for number, image in enumerate(images, 1)]
        self.target: Object = {
            "kind": "Deployment",
            "metadata": {"name": "cart", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3},
            "spec": {"replicas": 2, "template": self.sets[-1]["spec"]["template"]},
        }

    def _set(self, number: int, image: str, ready: int) -> Object:
        template = {"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [{"name": "a", "image": image}]}}
        meta = {"name": f"cart-{number}", "annotations": {REVISION: str(number)}, "ownerReferences": [{"uid": "u"}]}
        return {"metadata": meta, "spec": {"template": template}, "status": {"readyReplicas": ready}}

    def list(self, kind: str, *_: Any, **__: Any) -> list[Object]:
        return self.sets if kind == "ReplicaSet" else []

    def patch(self, *_: Any, **__: Any) -> Object:
        return self.target


def plan(cluster: Any, **seen: Sequence[Seen]) -> dict[str, Any]:
    """The step of a roll-back. `seen`: what the graph kept of the ReplicaSet of that number, `r1`, `r2`, …"""

    def history(entity: str) -> list[HistoryEntry]:
        name = entity.rpartition("/")[2]
        return [
            HistoryEntry(
                at=T0 + timedelta(seconds=at),
                entity=Entity(id=entity, kind="ReplicaSet", name=name, properties={"replicas": want, "ready": ready}),
            )
            for at, want, ready in seen.get(name.replace("cart-", "r"), ())
        ]

    return ACTIONS["roll-back"].prepare(cluster, cluster.target, {"history": history}).parameters


LONG = HELD.total_seconds() + 1
HEALTHY: tuple[Seen, ...] = ((0, 2, 2), (LONG, 0, 0))


def test_the_newest_that_was_healthy_is_gone_back_to_not_the_newest_that_differs() -> None:
    step = plan(Kept("v1", "v2", "v3"), r1=HEALTHY, r2=[(100, 2, 1), (300, 0, 0)])
    assert step["to"] == 1
    assert step["known"] == "all its 2 replicas were ready from 2026-03-01 12:00:00 to 12:01:01"


def test_of_two_that_were_healthy_the_newer_one() -> None:
    assert plan(Kept("v1", "v2", "v3"), r1=HEALTHY, r2=HEALTHY)["to"] == 2


BROKEN = '{"/spec/template/spec/containers/0/image": {"set": "broken", "had": "v1"}}'
SCALED = '{"/spec/replicas": {"set": 0, "had": 2}}'


@pytest.mark.parametrize(("noted", "to"), [(BROKEN, 1), (SCALED, 2), ("somebody else's", 2)])
def test_what_an_experiment_broke_is_not_gone_back_to(noted: str, to: int) -> None:
    cluster = Kept("v1", "v2", "v3")
    cluster.sets[1]["metadata"]["annotations"]["kt.io/chaos-undo"] = noted
    assert plan(cluster)["to"] == to


def test_where_an_experiment_broke_all_there_was_nothing_is_gone_back_to() -> None:
    cluster = Kept("broken", "v2")
    cluster.sets[0]["metadata"]["annotations"]["kt.io/chaos-undo"] = BROKEN
    with pytest.raises(CannotAct, match="no revision before 2"):
        plan(cluster)


def test_where_none_is_known_it_is_the_newest_that_differs_and_the_plan_says_so() -> None:
    step = plan(Kept("v1", "v2", "v3"))
    assert step["to"] == 2
    assert "no revision is known to have been healthy" in step["known"]


def test_pods_that_serve_now_tell_most() -> None:
    step = plan(Kept("v1", "v2", "v3", ready={1: 2}))
    assert (step["to"], step["known"]) == (1, "2 of its pods serve now")


@pytest.mark.parametrize(
    "seen",
    [
        [(0, 2, 2), (LONG - 2, 0, 0)],  # too short
        [(0, 2, 2)],  # nobody says for how long
        [(0, 2, 2), (LONG / 2, 2, 1), (LONG / 2 + 1, 2, 2), (LONG, 0, 0)],  # not all the time
        [(0, 0, 0), (LONG, 0, 0)],  # no replicas at all
    ],
)
def test_a_moment_of_readiness_is_no_health(seen: list[Seen]) -> None:
    assert plan(Kept("v1", "v2", "v3"), r1=seen)["to"] == 2


def test_a_change_in_between_that_left_all_ready_does_not_end_it() -> None:
    assert plan(Kept("v1", "v2", "v3"), r1=[(0, 2, 2), (LONG / 2, 3, 3), (LONG, 0, 0)])["to"] == 1


def test_the_same_template_again_is_never_gone_back_to() -> None:
    assert plan(Kept("v1", "v2", "v2"), r1=[], r2=HEALTHY)["to"] == 1
