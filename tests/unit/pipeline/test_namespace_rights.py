"""A node whose pods stand in several namespaces: KT has its rights in some of them only, or is not let in at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from graph_schema.model import Signal
from kt import checks, sections
from kt.incident.events import ActionFinished, AlertsReceived, Diagnosed, PlanProposed
from kt.pipeline.attack import experiment_of
from kt.pipeline.doubts import Doubts
from kt.pipeline.journey import Held
from kt.pipeline.stages import verify
from kt.sections import Approval
from kt.views.screen import screen
from remediate.cluster import Object
from remediate.conditions import ready
from tests.unit.pipeline.desk import T0, Desk, wait
from twin.server import Twin

EVICT = ("noisy", "", "pods/eviction", "create")
DELETE = ("noisy", "", "pods", "delete")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Beside the shop runs `noisy`, opted in, and `others`, not opted in, on every node."""
    twin = Twin(speed=40).start()
    desk = Desk(tmp_path, twin)
    for space, opted_in in (("noisy", "enabled"), ("others", "no")):
        labels = {"kt.io/remediate": opted_in}
        with twin.cluster.lock:
            twin.cluster.store.create("Namespace", {"metadata": {"name": space, "labels": labels}})
        desk.runtime.cluster.create("Deployment", space, deployment())
    wait(lambda: all(len({on for _, on in pods(desk, space)}) == 3 for space in ("noisy", "others")))
    yield desk
    desk.runtime.close()
    twin.stop()


def deployment() -> Object:
    labels = {"app": "web"}
    container = {"name": "web", "image": "shop:v1"}
    return {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 6,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def pods(desk: Desk, namespace: str) -> set[tuple[str, str]]:
    """(name, node)."""
    found = desk.runtime.cluster.list("Pod", namespace)
    return {(pod["metadata"]["name"], pod["spec"].get("nodeName", "")) for pod in found}


def sick(desk: Desk) -> str:
    """An incident on a node that runs a pod of the shop."""
    name = next(on for _, on in sorted(pods(desk, "shop")))
    desk.open(f"Node/{name}", "Node.MemoryPressure")
    return name


def somebody_has_to_agree(desk: Desk) -> None:
    desk.runtime.close()
    desk.approval, desk._runtime = Approval(medium=1), None


def on(desk: Desk, namespace: str, node: str) -> set[str]:
    return {name for name, where in pods(desk, namespace) if where == node}


def carried_out(desk: Desk) -> None:
    """Drained to the end: pods of one workload go in turn."""

    def ended() -> bool:
        desk.clock.forward(10)
        return desk.visit().state.phase != "acting"

    wait(ended)


def test_pods_of_a_namespace_where_kt_lacks_a_right_stay_and_the_rest_of_the_node_is_emptied(desk: Desk) -> None:
    desk.twin.cluster.denied.add(EVICT)
    node = sick(desk)
    stay = on(desk, "noisy", node), on(desk, "others", node)
    carried_out(desk)
    state = desk.journey().state
    assert state.phase == "verifying"
    wait(lambda: not on(desk, "shop", node))
    assert (on(desk, "noisy", node), on(desk, "others", node)) == stay
    assert all(each.ok for each in desk.events(ActionFinished))


def test_who_decides_sees_whose_pods_stay_and_which_right_is_missing(desk: Desk) -> None:
    desk.twin.cluster.denied.add(EVICT)
    somebody_has_to_agree(desk)
    sick(desk)
    journey = desk.visit()
    shown = io.StringIO()
    console = Console(width=100, file=shown)
    console.print(screen(journey.records, journey.state, short="i", now=T0, about={}))
    text = " ".join(shown.getvalue().split())
    assert "2 where KT lacks rights (create pods/eviction in noisy)" in text
    assert "2 in namespaces that are not opted in" in text
    (proposed,) = desk.events(PlanProposed)
    assert not any(pod.startswith(("noisy/", "others/")) for pod in proposed.plan.steps[1].parameters["pods"])


def test_a_right_that_is_gone_by_then_stops_the_migration_before_the_first_pod_moves(desk: Desk) -> None:
    somebody_has_to_agree(desk)
    node = sick(desk)
    before = pods(desk, "shop"), pods(desk, "noisy")
    plan = desk.visit().state.plan
    assert plan is not None
    remediator = desk.runtime.remediator
    assert remediator.apply(plan, 0, "a0", 1).ok
    desk.twin.cluster.denied.add(EVICT)
    outcome = remediator.apply(plan, 1, "a1", 1)
    assert (outcome.ok, outcome.stood_back) == (False, True)
    assert "create pods/eviction in noisy; no pod was moved" in outcome.detail
    assert (pods(desk, "shop"), pods(desk, "noisy")) == before
    assert remediator.undo(plan, 0, "a0", {}).ok
    assert not there(desk, node)["spec"].get("unschedulable")
    assert plan.steps[1].parameters["namespaces"] == ["noisy", "shop"]


def test_from_a_dead_node_no_pods_are_taken_where_kt_could_not_force_them(desk: Desk) -> None:
    desk.twin.cluster.denied.add(DELETE)
    node = sick(desk)
    with desk.twin.cluster.lock:
        desk.twin.cluster._stopped.add(node)
    wait(lambda: not ready(there(desk, node)))
    proposed = desk.runtime.remediator.rehearse("migrate", f"Node/{node}")
    assert "delete pods in noisy" in proposed.steps[1].summary
    assert proposed.steps[1].parameters["namespaces"] == ["shop"]


def there(desk: Desk, node: str) -> Object:
    found = desk.runtime.cluster.get("Node", node)
    assert found is not None
    return found


def test_kt_doctor_names_the_namespace_and_the_right(desk: Desk) -> None:
    desk.twin.cluster.denied.add(EVICT)
    finding = checks.rights(desk.runtime)
    assert finding.state == "ill"
    assert "create pods/eviction in noisy; what runs in noisy stays where it is" in finding.detail
    desk.twin.cluster.denied.clear()
    assert checks.rights(desk.runtime).state == "well"


def test_kt_doctor_asks_for_the_right_to_read_logs_where_they_are_wanted(desk: Desk) -> None:
    desk.twin.cluster.denied.add(("shop", "", "pods/log", "get"))
    assert checks.rights(desk.runtime).state == "well"
    wanted = sections.Diagnose(logs="kubernetes")
    desk.runtime.settings = msgspec.structs.replace(desk.runtime.settings, diagnose=wanted)
    finding = checks.rights(desk.runtime)
    assert "not allowed: get pods/log in shop" in finding.detail
    assert "kt rbac --logs --namespace NAME" in finding.fix


class TestVerification:
    """Those who suffer where KT may not act neither keep a migration from being verified, nor count as healed."""

    @pytest.fixture
    def drained(self, desk: Desk) -> Desk:
        node = sick(desk)
        desk.say(
            AlertsReceived(
                at=T0,
                signals=tuple(
                    Signal(
                        fingerprint=space, entity=f"Deployment/{space}/{name}", symptom="errors", name="Errors",
                        starts_at=T0, labels={"namespace": space, "deployment": name},
                    )
                    for space, name in (("others", "web"), ("shop", "cart"))
                ),
            )
        )  # fmt: skip
        state = desk.journey().state
        assert state.diagnosis is not None
        desk.say(Diagnosed(at=T0, diagnosis=state.diagnosis))
        carried_out(desk)
        assert desk.journey().state.phase == "verifying"
        wait(lambda: not on(desk, "shop", node))
        options = msgspec.structs.replace(desk.runtime.settings.pipeline, verify_quiet_s=0.0, watch_longest_s=0.0)
        desk.runtime.settings = msgspec.structs.replace(desk.runtime.settings, pipeline=options)
        return desk

    def test_only_what_the_migration_may_help_has_to_end(self, drained: Desk) -> None:
        journey = drained.journey()
        assert [each.entity for each in verify.must_end(journey)] == ["Deployment/shop/cart"]

    def test_a_person_is_told_of_those_whom_kt_may_not_help(self, drained: Desk) -> None:
        drained.seen.fires = False
        journey = drained.journey()
        wait(lambda: drained.runtime.remediator.settled(journey.state.plan) is None)  # type: ignore[arg-type]
        verify.run(drained.runtime, journey, Held(1), Doubts())
        state = journey.state
        assert state.verdict is not None
        assert state.verdict.outcome == "held", state.verdict
        assert state.phase == "escalated"
        assert "Errors on Deployment/others/web" in state.ended_why
        assert "where KT may not act" in state.ended_why

    def test_what_the_attack_ends_is_a_pod_that_was_moved_where_kt_may_end_it(self, drained: Desk) -> None:
        journey = drained.journey()
        made = experiment_of(drained.runtime, journey, verify.must_end(journey))
        (first, *_) = made["method"]
        assert first["provider"]["arguments"]["ns"] == "noisy", "the largest that was moved"
        drained.twin.cluster.denied.add(DELETE)
        made = experiment_of(drained.runtime, journey, verify.must_end(journey))
        assert made["method"][0]["provider"]["arguments"]["ns"] == "shop"
