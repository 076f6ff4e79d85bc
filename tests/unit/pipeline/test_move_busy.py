"""What the matrix of containers decides to move is moved: as a plan, through the guard, in waves, on the twin."""

from __future__ import annotations

import pytest

from kt.incident.events import ActionFinished, PlanProposed
from remediate.actions import ACTIONS, CannotAct
from remediate.cluster import Object
from remediate.plan import Step
from tests.unit.pipeline.desk import Desk, wait

FULL = "kt-node-1"


def asking(cpu: str, limit: str = "", **env: str) -> Object:
    amounts = {"requests": {"cpu": cpu}} | ({"limits": {"cpu": limit}} if limit else {})
    knobs = [{"name": key, "value": value} for key, value in env.items()]
    return {"containers": [{"name": "a", "image": "shop:v1", "resources": amounts, "env": knobs}]}


def crowd(desk: Desk) -> None:
    """The first node is asked for more than the others."""
    for number in range(4):
        with desk.twin.cluster.lock:
            spec = asking("500m") | {"nodeName": FULL}
            desk.twin.cluster.store.create("Pod", {
                "metadata": {"name": f"crowd-{number}", "namespace": "shop"}, "spec": spec, "status": {},
            })  # fmt: skip


def busy(desk: Desk, share: str = "0.97", labels: dict[str, str] | None = None) -> list[Object]:
    """Three pods that use so much of their limit, one on each node."""
    selected = {"app": "busy"}
    spec = asking("400m", "500m", BUSY=share)
    desk.runtime.cluster.create("Deployment", "shop", {
        "metadata": {"name": "busy", "labels": labels or {}},
        "spec": {"replicas": 3, "selector": {"matchLabels": selected},
                 "template": {"metadata": {"labels": selected}, "spec": spec}},
    })  # fmt: skip
    wait(lambda: len({pod["spec"]["nodeName"] for pod in pods(desk)}) == 3)
    crowd(desk)
    return pods(desk)


def pods(desk: Desk) -> list[Object]:
    """Those that are ready and use what they use."""
    found = desk.runtime.cluster.list("Pod", "shop", labels="app=busy")
    running = [pod for pod in found if any(each["ready"] for each in pod["status"].get("containerStatuses") or [])]
    return sorted(running, key=lambda pod: str(pod["spec"]["nodeName"]))


def planned(desk: Desk, kind: str, name: str, namespace: str = "shop") -> Step:
    target = desk.runtime.cluster.get(kind, name, namespace)
    assert target is not None
    parameters = {"namespaces": ["shop"], "now": desk.twin.now().isoformat()}
    return ACTIONS["move-busy"].prepare(desk.runtime.cluster, {**target, "kind": kind}, parameters)


def test_a_busy_pod_on_a_node_fuller_than_others_is_moved_and_comes_back_elsewhere(desk: Desk) -> None:
    first = busy(desk)[0]
    name = first["metadata"]["name"]
    desk.open(f"Pod/shop/{name}", "Pod.NoisyNeighbour")
    state = desk.visit().state
    (proposed,) = desk.events(PlanProposed)
    assert (proposed.plan.playbook, state.phase) == ("move-busy", "verifying")
    assert f"{FULL} → kt-node-" in proposed.plan.steps[0].summary
    assert [each.detail for each in desk.events(ActionFinished)] == [f"ended shop/{name}"]
    wait(lambda: len(pods(desk)) == 3 and name not in {pod["metadata"]["name"] for pod in pods(desk)})
    assert FULL not in {pod["spec"]["nodeName"] for pod in pods(desk)}
    assert desk.runtime.remediator.settled(proposed.plan) is None


@pytest.mark.parametrize(("kind", "name", "namespace"), [("Deployment", "busy", "shop"), ("Node", FULL, "")])
def test_of_a_workload_and_of_a_node_only_those_go_that_the_matrix_moves(
    desk: Desk, kind: str, name: str, namespace: str
) -> None:
    first = busy(desk)[0]
    step = planned(desk, kind, name, namespace)
    assert list(step.parameters["pods"]) == [f"shop/{first['metadata']['name']}"]
    assert step.parameters["namespaces"] == ["shop"]
    assert "it is busy on a node that is fuller than another one" in step.summary


def test_what_is_not_busy_stays(desk: Desk) -> None:
    busy(desk, "0.5")
    with pytest.raises(CannotAct, match="none of its containers is to be moved"):
        planned(desk, "Deployment", "busy")


def test_tier_0_is_left_to_a_person(desk: Desk) -> None:
    busy(desk, labels={"kt.io/tier": "0"})
    with pytest.raises(CannotAct, match="of tier 0: a person decides"):
        planned(desk, "Deployment", "busy")


def test_where_no_other_node_takes_it_nothing_is_moved(desk: Desk) -> None:
    busy(desk)
    for number in (2, 3):
        desk.runtime.cluster.patch("Node", f"kt-node-{number}", "", {"spec": {"unschedulable": True}})
    with pytest.raises(CannotAct, match="no other node that is emptier takes them"):
        planned(desk, "Deployment", "busy")


def test_what_a_disruption_budget_holds_back_is_asked_for_again(desk: Desk) -> None:
    first = busy(desk)[0]
    with desk.twin.cluster.lock:
        desk.twin.cluster.store.create("PodDisruptionBudget", {
            "metadata": {"name": "all", "namespace": "shop"},
            "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "busy"}}},
        })  # fmt: skip
    desk.open(f"Pod/shop/{first['metadata']['name']}", "Pod.NoisyNeighbour")
    state = desk.visit().state
    assert state.phase == "acting"
    assert len(pods(desk)) == 3
    with desk.twin.cluster.lock:
        store = desk.twin.cluster.store
        store.edit("PodDisruptionBudget", "all", "shop", lambda draft: draft["spec"].update(minAvailable=2))
    desk.clock.forward(10)
    assert desk.visit().state.phase == "verifying"


def test_a_workload_that_is_not_opted_in_is_not_touched(desk: Desk) -> None:
    first = busy(desk)[0]
    desk.runtime.cluster.patch("Namespace", "shop", "", {"metadata": {"labels": {"kt.io/remediate": "no"}}})
    desk.open(f"Pod/shop/{first['metadata']['name']}", "Pod.NoisyNeighbour")
    state = desk.visit().state
    assert state.phase == "escalated"
    assert "not opted in" in state.ended_why
    assert len(pods(desk)) == 3
