"""Emptying a node on the twin: what a disruption budget blocks ends at its deadline, what nothing blocks by itself."""

from __future__ import annotations

import threading

from kt.incident.events import ActionFinished, Postponed
from tests.unit.pipeline.desk import Desk


class TestDraining:
    def budget(self, desk: Desk) -> None:
        with desk.twin.cluster.lock:
            for app, least in (("front", 2), ("cart", 2), ("catalogue", 3), ("store", 1)):
                spec = {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}
                made = {"metadata": {"name": app, "namespace": "shop"}, "spec": spec}
                desk.twin.cluster.store.create("PodDisruptionBudget", made)

    def test_lesson_a_drain_that_a_budget_blocks_has_a_deadline_and_then_asks(self, desk: Desk) -> None:
        """cyclops 10."""
        self.budget(desk)
        desk.guard["drain_deadline_s"] = 30.0
        desk.open("Node/kt-node-1", "Node.MemoryPressure")
        state = desk.visit().state
        assert state.phase == "acting"
        assert "disruption budget" in desk.events(Postponed)[-1].why
        for _ in range(9):
            desk.clock.forward(5)
            state = desk.visit().state
        last = desk.events(ActionFinished)[-1]
        assert not last.ok
        assert last.detail.startswith("not done 30 s after it was begun")
        assert state.phase == "escalated"
        node = desk.runtime.cluster.get("Node", "kt-node-1")
        assert node is not None
        assert not node["spec"].get("unschedulable"), "and the node is as it was"

    def test_a_drain_that_nothing_blocks_ends(self, desk: Desk) -> None:
        desk.open("Node/kt-node-1", "Node.MemoryPressure")
        until_phase(desk, "verifying")
        pods = desk.runtime.cluster.list("Pod", "shop", fields="spec.nodeName=kt-node-1")
        assert all("deletionTimestamp" in pod["metadata"] for pod in pods)


def until_phase(desk: Desk, phase: str) -> None:
    ended = threading.Event()
    for _ in range(200):
        if desk.visit().state.phase == phase:
            return
        ended.wait(0.05)
        desk.clock.forward(6)
    raise AssertionError(f"never {phase}; it is {desk.journey().state.phase}")
