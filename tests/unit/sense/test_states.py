"""What the graph keeps of the state of pods, and of a Service by the pods behind it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from diagnose.score import fits
from graph_schema.ontology import load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.sqlite import SqliteGraphStore
from sense.kubernetes import objects
from sense.kubernetes.follower import TopologyFollower

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART = "Service/shop/cart"


def pod(name: str = "cart-1", *, ready: bool = True, app: str = "cart", **status: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8080, "name": "web"}]}]},
        "status": {"phase": "Running", "conditions": [condition], **status},
    }


def service(target: int | str = 8080) -> dict[str, Any]:
    spec = {"selector": {"app": "cart"}, "ports": [{"port": 80, "targetPort": target}]}
    return {"kind": "Service", "metadata": {"name": "cart", "namespace": "shop"}, "spec": spec}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}, {"waiting": "ErrImagePull"}),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}},
                                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]},
            {"waiting": "CrashLoopBackOff", "terminated": "OOMKilled"},
        ),
        ({"initContainerStatuses": [{"lastState": {"terminated": {"exitCode": 2}}, "state": {"waiting": {}}}]},
         {"init_failed": True}),
        ({"initContainerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}, {}),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
         {"unschedulable": True, "ready": False}),
    ],
)  # fmt: skip
def test_why_a_pod_does_not_run_is_kept(status: dict[str, Any], says: dict[str, Any]) -> None:
    usual = {"phase": "Running", "ready": True}
    assert objects.entity(pod(**status)).properties == usual | says


@pytest.mark.parametrize(("target", "declared"), [(8080, True), ("web", True), (9999, False), ("admin", False)])
def test_a_port_that_no_pod_declares_is_told(target: int | str, declared: bool) -> None:
    assert objects.behind(service(target), [pod()])["port_declared"] is declared


def test_where_no_port_is_declared_nothing_is_said_of_it() -> None:
    silent = pod()
    del silent["spec"]["containers"][0]["ports"]
    assert objects.behind(service(9999), [silent])["port_declared"] is None


def test_a_service_that_selects_by_no_labels_has_nothing_behind_it() -> None:
    outside = service()
    del outside["spec"]["selector"]
    assert objects.behind(outside, [pod()]) == {}


@pytest.fixture
def store(tmp_path: Path) -> GraphStore:
    return SqliteGraphStore(tmp_path / "graph.db", load_ontology().fault_from)


@pytest.fixture
def follower(store: GraphStore) -> TopologyFollower:
    times = iter(T0 + timedelta(seconds=number) for number in range(1000))
    following = TopologyFollower(None, store, lambda: next(times), "cluster")
    following.replace("Service", [service()])
    following.replace("Pod", [pod("cart-1"), pod("cart-2", ready=False), pod("mail-1", app="mail")])
    return following


def endpoints(store: GraphStore) -> tuple[int, int, int]:
    told = store.get([CART])[CART].properties
    return told["selected_pods"], told["ready_endpoints"], told["not_ready_endpoints"]


def test_a_service_follows_the_pods_behind_it(store: GraphStore, follower: TopologyFollower) -> None:
    assert endpoints(store) == (2, 1, 1)
    follower.changed("Pod", pod("cart-2"))
    assert endpoints(store) == (2, 2, 0)
    follower.deleted("Pod", pod("cart-1"))
    assert endpoints(store) == (1, 1, 0)
    follower.changed("Pod", pod("cart-2", app="other"))
    assert endpoints(store) == (0, 0, 0)


def test_a_service_whose_selector_changes_has_other_pods_behind_it(
    store: GraphStore, follower: TopologyFollower
) -> None:
    wrong = copy.deepcopy(service())
    wrong["spec"]["selector"] = {"app": "cart-old"}
    follower.changed("Service", wrong)
    assert endpoints(store) == (0, 0, 0)


def test_a_service_without_pods_stands_in_front_of_the_workload_that_would_make_them(
    store: GraphStore, follower: TopologyFollower
) -> None:
    meta = {"name": "cart", "namespace": "shop"}
    made = {"replicas": 0, "template": {"metadata": {"labels": {"app": "cart"}}}}
    follower.changed("Deployment", {"kind": "Deployment", "metadata": meta, "spec": made})

    def selected() -> set[str]:
        near = store.neighbourhood([CART], hops=1).relations
        return {each.target for each in near if each.kind == "SELECTS" and each.source == CART}

    assert selected() == {"Pod/shop/cart-1", "Pod/shop/cart-2"}
    for name in ("cart-1", "cart-2"):
        follower.deleted("Pod", pod(name))
    assert selected() == {"Deployment/shop/cart"}
    follower.changed("Pod", pod("cart-3"))
    assert selected() == {"Pod/shop/cart-3"}


def test_pods_that_stay_as_they_are_leave_their_service_alone(store: GraphStore, follower: TopologyFollower) -> None:
    follower.changed("Pod", pod("cart-1", podIP="10.0.0.1"))
    assert len(store.history(CART)) == 2


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        (["DiskPressure"], "DiskPressure", True), ([], "DiskPressure", False), ("ErrImagePull", ["ErrImagePull"], True),
        ("Running", ["Pending", "Unknown"], False), (False, False, True), (0, 0, True), (3, 0, False),
    ],
)  # fmt: skip
def test_a_state_is_one_of_those_that_a_fault_has(found: Any, wanted: Any, same: bool) -> None:
    assert fits(found, wanted) is same


def test_a_selector_is_not_wrong_because_the_pods_that_it_wants_are_not_there(
    store: GraphStore, follower: TopologyFollower
) -> None:
    meta = {"name": "cart", "namespace": "shop"}
    made = {"replicas": 2, "template": {"metadata": {"labels": {"app": "cart"}}}}
    follower.changed("Deployment", {"kind": "Deployment", "metadata": meta, "spec": made})
    for name in ("cart-1", "cart-2"):
        follower.deleted("Pod", pod(name))
    told = store.get([CART])[CART].properties
    assert told["ready_endpoints"] == 0
    assert "selected_pods" not in told
    follower.deleted("Deployment", {"kind": "Deployment", "metadata": meta, "spec": made})
    assert endpoints(store) == (0, 0, 0)
