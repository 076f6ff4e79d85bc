"""The witness of `bench.stress --real`: what it reads from an audit log, and that it does find what must never be."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.stress_audit import Writes, at_once, rushed, writes_of
from remediate.actions.base import ACTION, FENCING, UNDONE

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE_S = 10.0


class Log:
    """Events as an API server writes them, each of a version of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.version, self._marks = path, 100, dict[str, str]()

    def _write(self, at_s: float, user: str, about: dict[str, str], thing: Any, **more: Any) -> None:
        self.version += 1
        if thing:
            thing["metadata"] = {"namespace": "s0", "resourceVersion": str(self.version), **thing["metadata"]}
        event = {
            "stage": "ResponseComplete", "verb": "patch", "requestURI": "/apis", "user": {"username": user},
            "objectRef": {"namespace": "s0", **about}, "responseStatus": {"code": 200}, "responseObject": thing,
            "stageTimestamp": (T0 + timedelta(seconds=at_s)).isoformat(), **more,
        }  # fmt: skip
        with self.path.open("a") as file:
            file.write(json.dumps(event) + "\n")

    def changed(self, at_s: float, generation: int, mark: str, action: str, **more: Any) -> None:
        self._marks = {**self._marks, mark: action, FENCING: "1"}
        meta = {"name": "w", "generation": generation, "annotations": self._marks}
        self._write(at_s, "kt", {"resource": "deployments", "name": "w"}, {"metadata": meta}, **more)

    def arrived(self, at_s: float, generation: int) -> None:
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
        thing = {
            "metadata": {"name": "w", "generation": generation}, "spec": {"replicas": 1},
            "status": {"observedGeneration": generation, **counts},
        }  # fmt: skip
        self._write(at_s, "controllers", {"resource": "deployments", "subresource": "status", "name": "w"}, thing)

    def evicted(self, at_s: float, *, tried: bool = False) -> None:
        body = {"deleteOptions": {"dryRun": ["All"]} if tried else {}}
        about = {"resource": "pods", "subresource": "eviction", "name": "w-5d8-abc"}
        self._write(at_s, "kt", about, None, verb="create", requestObject=body)

    def read(self) -> Writes:
        return writes_of(self.path, "kt")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "audit.log")


def test_one_after_the_other_is_well(log: Log) -> None:
    log.changed(0, 2, ACTION, "a")
    log.arrived(1, 2)
    log.changed(2, 3, ACTION, "b")
    log.changed(3, 4, UNDONE, "b")
    log.changed(4, 5, ACTION, "c")
    read = log.read()
    assert [(each.write.action, each.write.undone) for each in read.effects] == [
        ("a", False), ("b", False), ("b", True), ("c", False),
    ]  # fmt: skip
    assert list(at_once(read, PATIENCE_S)) == []


def test_a_second_action_before_the_first_has_arrived_is_found(log: Log) -> None:
    log.changed(0, 2, ACTION, "a")
    log.arrived(0.5, 1)  # what was before it
    log.changed(1, 3, ACTION, "b")
    assert list(at_once(log.read(), PATIENCE_S)) == ["b changed Deployment/s0/w while a was under way"]


def test_what_was_given_up_is_not_under_way(log: Log) -> None:
    log.changed(0, 2, ACTION, "a")
    log.changed(PATIENCE_S, 3, ACTION, "b")
    assert list(at_once(log.read(), PATIENCE_S)) == []


def test_what_was_only_tried_or_refused_was_not_done(log: Log) -> None:
    log.changed(0, 2, ACTION, "a", requestURI="/apis?dryRun=All")
    log.changed(1, 2, ACTION, "b", responseStatus={"code": 409})
    log.evicted(2, tried=True)
    read = log.read()
    assert (read.effects, read.ended) == ([], [])


def test_the_end_of_a_pod_counts_for_its_deployment(log: Log) -> None:
    log.evicted(0)
    assert [(each.target, each.pod) for each in log.read().ended] == [("Deployment/s0/w", "s0/w-5d8-abc")]


def test_more_actions_than_a_minute_may_see_are_found(log: Log) -> None:
    for number in range(4):
        log.changed(number, number, ACTION, str(number))
    assert list(rushed(log.read(), 4)) == []
    assert "more than 3 actions within 3 s" in next(rushed(log.read(), 3))
