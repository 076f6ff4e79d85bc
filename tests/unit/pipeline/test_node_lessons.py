"""What is done to nodes, in the loop on a twin of six: storms, zones, and a node that answers again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kt.incident.events import Approved, PlanDropped, Verified
from kt.sections import Approval
from remediate.actions import ACTIONS, Mark
from remediate.cluster import Object
from remediate.conditions import ready
from tests.unit.pipeline.desk import T0, Desk, wait
from twin.server import Twin
from verify.verdict import Verdict

ZONE = "topology.kubernetes.io/zone"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    twin = Twin(speed=40, nodes=6).start()
    desk = Desk(tmp_path, twin)
    # The rules that bound shares of nodes and zones are out of the way; a test narrows what it is about.
    desk.guard |= {"max_share_of_nodes": 0.9, "max_share_of_node_group": 0.9}
    yield desk
    if desk._runtime is not None:
        desk._runtime.close()
    twin.stop()


def name(number: int) -> str:
    return f"kt-node-{number}"


def stands_still(desk: Desk, *numbers: int) -> None:
    """The kubelets of these nodes stop, and the API server tells."""
    with desk.twin.cluster.lock:
        desk.twin.cluster._stopped |= {name(number) for number in numbers}
    wait(lambda: not any(ready(node(desk, number)) for number in numbers))


def node(desk: Desk, number: int) -> Object:
    found = desk.runtime.cluster.get("Node", name(number))
    assert found is not None
    return found


def label(desk: Desk, kind: str, thing: str, labels: dict[str, str]) -> None:
    with desk.twin.cluster.lock:
        desk.twin.cluster.store.edit(kind, thing, "", lambda draft: draft["metadata"]["labels"].update(labels))


def closed(desk: Desk) -> list[str]:
    return [each["metadata"]["name"] for each in desk.runtime.cluster.list("Node") if each["spec"].get("unschedulable")]


def test_lesson_storm_many_sick_nodes_stop_what_is_done_to_nodes(desk: Desk) -> None:
    """node-healthcheck-operator 378."""
    stands_still(desk, 1, 2, 3)
    desk.open(f"Node/{name(1)}", "Node.MemoryPressure")
    state = desk.visit().state
    assert (state.phase, state.plan, closed(desk)) == ("escalated", None, [])
    assert "3 nodes are not ready at once" in state.ended_why
    assert "that is no fault of one node" in state.ended_why


def test_lesson_storm_one_that_comes_while_a_drain_waits_for_consent_stops_it(desk: Desk) -> None:
    """node-healthcheck-operator 378, robusta 345: what was agreed to is looked at again right before it is done."""
    desk.approval = Approval(medium=1)
    desk.open(f"Node/{name(1)}", "Node.MemoryPressure")
    plan = desk.visit().state.plan
    assert plan is not None
    stands_still(desk, 2, 3, 4)
    desk.say(Approved(at=T0, plan_digest=plan.digest, by="ada"))
    state = desk.visit().state
    assert (state.actions, closed(desk)) == ((), [])
    assert "that is no fault of one node" in desk.events(PlanDropped)[-1].why


def test_lesson_loops_a_drain_that_did_not_help_is_not_done_again_by_the_next_incident(desk: Desk) -> None:
    """kubernaut 214, 616: the node is open again, and a person is told."""
    desk.guard |= {"cooldown_s": 1.0, "max_ineffective": 1}
    desk.open(f"Node/{name(1)}", "Node.MemoryPressure", "one")
    for _ in range(200):
        if desk.visit("one").state.phase == "verifying":
            break
        desk.clock.forward(6)
    desk.say(Verified(at=desk.clock.now, verdict=Verdict(outcome="regressed", why="full again")), incident="one")
    desk.visit("one")
    assert closed(desk) == []
    desk.clock.forward(3000)
    desk.open(f"Node/{name(1)}", "Node.MemoryPressure", "two")
    state = desk.visit("two").state
    assert (state.phase, closed(desk)) == ("escalated", [])
    assert f"migrate did not help Node/{name(1)} 1 times in a day" in state.ended_why


def test_one_node_fewer_is_no_storm(desk: Desk) -> None:
    stands_still(desk, 1, 2)
    desk.open(f"Node/{name(1)}", "Node.MemoryPressure")
    assert desk.visit().state.phase not in ("escalated", "diagnosed")
    assert closed(desk) == [name(1)]


def test_lesson_blast_radius_a_zone_keeps_its_last_node(desk: Desk) -> None:
    """descheduler 656: the labels of the nodes themselves tell what belongs together."""
    for number in range(1, 7):
        label(desk, "Node", name(number), {ZONE: "a" if number < 3 else "b"})
    stands_still(desk, 2)
    desk.open(f"Node/{name(1)}", "Node.MemoryPressure")
    state = desk.visit().state
    assert (state.phase, closed(desk)) == ("escalated", [])
    assert "2 of 2 nodes of zone a would be out (kt-node-1, kt-node-2)" in state.ended_why


def test_lesson_remote_truth_a_node_that_answers_again_has_nothing_forced_off_it(desk: Desk) -> None:
    """self-node-remediation 258, 261: dead when it was planned is not dead when it is done."""
    with desk.twin.cluster.lock:
        number = int(next(desk.twin.cluster.store.all("Pod", "shop"))["spec"]["nodeName"].rpartition("-")[2])
    stands_still(desk, number)
    evict, cluster = ACTIONS["evict-pods"], desk.runtime.cluster
    step = evict.prepare(cluster, {**node(desk, number), "kind": "Node"}, {"namespaces": ["shop"]})
    assert step.parameters["pods"]
    with desk.twin.cluster.lock:
        desk.twin.cluster._stopped.clear()
    wait(lambda: ready(node(desk, number)))
    forced: list[str] = []
    cluster.delete = lambda kind, name, *_, **__: forced.append(name)  # type: ignore[method-assign]
    # Asked for and not done yet: a node that answers would have ended them before it stands still again.
    cluster.evict = lambda *_, **__: None  # type: ignore[method-assign]
    evict.apply(cluster, step, Mark(action="a", fencing=1, at=T0.isoformat()))
    assert forced == []
    stands_still(desk, number)
    evict.apply(cluster, step, Mark(action="a", fencing=1, at=T0.isoformat()))
    assert forced, "what is on a dead node cannot confirm its end"


@pytest.mark.parametrize("others", [0, 9])
def test_a_drain_acts_in_no_namespace_that_is_not_opted_in_by_then(desk: Desk, others: int) -> None:
    with desk.twin.cluster.lock:
        for number in range(others):
            labels = {"kt.io/remediate": "enabled"}
            desk.twin.cluster.store.create("Namespace", {"metadata": {"name": f"other{number}", "labels": labels}})
    desk.approval = Approval(medium=1)
    desk.open(f"Node/{name(1)}", "Node.MemoryPressure")
    plan = desk.visit().state.plan
    assert plan is not None
    assert desk.runtime.remediator.current(plan) is None
    label(desk, "Namespace", "shop", {"kt.io/remediate": "disabled"})
    refusal = desk.runtime.remediator.current(plan)
    assert refusal is not None
    assert "namespace shop is not opted in" in refusal.why


def many(desk: Desk, count: int) -> None:
    """So many workloads of one pod, all on the first node."""
    for number in range(count):
        labels = {"app": f"one{number}"}
        container = {"name": "a", "image": "shop:v1"}
        selector = {"kubernetes.io/hostname": name(1)}
        desk.runtime.cluster.create("Deployment", "shop", {
            "metadata": {"name": f"one{number}"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels},
                                  "spec": {"containers": [container], "nodeSelector": selector}}},
        })  # fmt: skip
    wait(lambda: sum(1 for pod in on_first(desk) if pod.startswith("one")) == count)


def on_first(desk: Desk) -> list[str]:
    found = desk.runtime.cluster.list("Pod", fields=f"spec.nodeName={name(1)}")
    return [pod["metadata"]["name"] for pod in found]


@pytest.mark.parametrize("count", [1, 8])
def test_one_workload_of_tier_0_among_few_or_many_on_a_node_is_not_moved_without_a_word(desk: Desk, count: int) -> None:
    many(desk, count)
    with desk.twin.cluster.lock:
        store = desk.twin.cluster.store
        store.edit("Deployment", "one0", "shop", lambda draft: draft["metadata"].update(labels={"kt.io/tier": "0"}))
    desk.open(f"Node/{name(1)}", "Node.MemoryPressure")
    state = desk.visit().state
    assert state.phase == "awaiting approval"
    assert state.plan is not None
    assert "Deployment/shop/one0 is of tier 0" in state.plan.ask


def test_what_a_budget_holds_back_now_is_told_in_the_plan(desk: Desk) -> None:
    many(desk, 2)
    for app in ("one0", "one1"):
        budget = {"metadata": {"name": app, "namespace": "shop"},
                  "spec": {"minAvailable": int(app[-1]), "selector": {"matchLabels": {"app": app}}}}  # fmt: skip
        with desk.twin.cluster.lock:
            desk.twin.cluster.store.create("PodDisruptionBudget", budget)

    def told() -> str:
        return desk.runtime.remediator.rehearse("migrate", f"Node/{name(1)}").steps[1].summary

    wait(lambda: "disruption budgets hold back now: shop/one1-" in told())
    assert "shop/one0-" not in told().partition("hold back now")[2]
