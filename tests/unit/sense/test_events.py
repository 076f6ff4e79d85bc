"""Kubernetes events and conditions as signals: what is news about an incident, and what has been so for days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sense.kubernetes.events import load, of_conditions, of_events

RULES = load()
ONSET = datetime(2026, 3, 1, 12, tzinfo=UTC)


def stamp(minutes: float) -> str:
    return (ONSET + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def event(reason: str, first: float, last: float, message: str = "", **more: Any) -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": "shop", "name": "cart-0"}
    return {
        "type": "Warning", "reason": reason, "message": message, "involvedObject": about,
        "firstTimestamp": stamp(first), "lastTimestamp": stamp(last),
    } | more  # fmt: skip


def node(name: str, type_: str, status: str, turned: float) -> dict[str, Any]:
    condition = {"type": type_, "status": status, "lastTransitionTime": stamp(turned), "message": "told so"}
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": [condition]}}


def told(*events: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.entity, each.symptom) for each in of_events(events, ONSET, RULES)]


def test_a_warning_around_the_onset_is_a_signal_on_its_object() -> None:
    [signal] = of_events([event("BackOff", 1, 5, "Back-off restarting failed container")], ONSET, RULES)
    assert (signal.entity, signal.symptom, signal.source) == ("Pod/shop/cart-0", "crashlooping", "event")
    assert signal.starts_at == ONSET + timedelta(minutes=1)


def test_the_message_tells_two_reasons_of_one_name_apart() -> None:
    assert told(event("BackOff", 1, 5, "Back-off pulling image x")) == [("Pod/shop/cart-0", "image_pull")]


def test_a_sick_node_is_told_of_its_pods_too_and_they_are_not_nodes() -> None:
    about = {"kind": "Node", "name": "n2"}
    assert told(event("NodeNotReady", 0, 0), event("NodeNotReady", 0, 0, involvedObject=about)) == [
        ("Node/n2", "node_not_ready"), ("Pod/shop/cart-0", "not_ready"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told_by_the_scheduler", "symptom"),
    [
        ("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.", "unplaceable"),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
            "2 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available",
            "unplaceable",
        ),
        (
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector.",
            "pending",
        ),
        ("0/2 nodes are available: 1 Too many pods, 1 node(s) didn't match Pod's node affinity/selector.", "pending"),
        (
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had "
            "untolerated taint {node.kubernetes.io/unreachable: }.",
            "pending",
        ),
        ("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "pending"),
    ],
)
def test_a_pod_that_fits_on_no_node_by_its_own_wish_does_not_wait_for_room(
    told_by_the_scheduler: str, symptom: str
) -> None:
    assert told(event("FailedScheduling", 1, 5, told_by_the_scheduler)) == [("Pod/shop/cart-0", symptom)]
    condition = {"type": "PodScheduled", "status": "False", "lastTransitionTime": stamp(0)}
    condition |= {"reason": "Unschedulable", "message": told_by_the_scheduler}
    thing = {"kind": "Pod", "metadata": {"namespace": "shop", "name": "cart-0"}, "status": {"conditions": [condition]}}
    assert [each.symptom for each in of_conditions([thing], ONSET, RULES)] == [symptom]


def test_normal_events_old_events_and_unknown_reasons_say_nothing() -> None:
    assert told(
        event("BackOff", 1, 5, type="Normal"), event("BackOff", -600, -300), event("BackOff", 60, 70),
        event("LeaderElection", 1, 2), event("BackOff", 1, 2, involvedObject={}),
    ) == []  # fmt: skip


def test_what_a_pod_was_well_again_of_before_the_incident_is_over() -> None:
    def pod(status: str, turned: float) -> dict[str, Any]:
        ready = {"type": "Ready", "status": status, "lastTransitionTime": stamp(turned)}
        return {"kind": "Pod", "metadata": {"name": "cart-0", "namespace": "shop"}, "status": {"conditions": [ready]}}

    mounts = event("FailedMount", -3, -2)
    assert of_events([mounts], ONSET, RULES, [pod("True", -1)]) == []
    # Not ready, ready only since the alert, or in trouble again since it was ready: it may be what is wrong.
    for thing in (pod("False", -1), pod("True", 1), pod("True", -2.5)):
        assert len(of_events([mounts], ONSET, RULES, [thing])) == 1


def test_what_has_gone_on_for_hours_counts_less() -> None:
    [new], [old] = (of_events([event("Unhealthy", first, 5)], ONSET, RULES) for first in (0, -300))
    assert old.confidence < new.confidence / 2


def test_an_event_in_the_newer_form_of_the_api_is_read() -> None:
    newer = event("Unhealthy", 0, 0) | {
        "firstTimestamp": None, "lastTimestamp": None, "eventTime": "2026-03-01T12:01:00.123456Z",
        "series": {"count": 4, "lastObservedTime": stamp(6)},
    }  # fmt: skip
    assert told(newer) == [("Pod/shop/cart-0", "not_ready")]


def test_a_condition_that_turned_around_the_onset_is_a_signal() -> None:
    [signal] = of_conditions([node("n1", "Ready", "Unknown", 2)], ONSET, RULES)
    assert (signal.entity, signal.symptom) == ("Node/n1", "node_unreachable")


def test_a_condition_that_was_never_cleared_is_no_news() -> None:
    stale = node("n1", "DiskPressure", "True", -3 * 24 * 60)
    assert of_conditions([stale, node("n2", "Ready", "True", 1)], ONSET, RULES) == []


def pod(reason: str = "ContainersNotReady", **meta: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": reason, "lastTransitionTime": stamp(0)}
    metadata = {"namespace": "shop", "name": "cart-0", **meta}
    return {"kind": "Pod", "metadata": metadata, "status": {"conditions": [condition]}}


def test_a_pod_that_has_done_its_work_or_is_being_deleted_is_not_sick() -> None:
    [signal] = of_conditions([pod()], ONSET, RULES)
    assert (signal.entity, signal.symptom) == ("Pod/shop/cart-0", "not_ready")
    assert of_conditions([pod("PodCompleted"), pod(deletionTimestamp=stamp(1))], ONSET, RULES) == []
