"""Every action does all it does with the rights that it declares: on the twin, behind a gate that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remediate.actions import ACTIONS, CannotAct, Mark
from remediate.cluster import Cluster, ClusterError, Object
from tests.e2e.gate import Gate
from tests.e2e.installation import until
from twin.server import Twin

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Pod", "Node", "HorizontalPodAutoscaler")
NOT_IN_THE_SHOP = {
    "raise-hpa-maximum": "no autoscaler",
    "resume-rollout": "no paused rollout",
    "restore-config": "no ConfigMap with versions",
    "restart-users": "no ConfigMap that somebody uses",
}
"""Actions that nothing in the twin's shop fits, and what it lacks."""
PARAMETERS = {"max_replicas": 20, "namespaces": ["shop"]}


@pytest.fixture
def gate() -> Iterator[Gate]:
    # Slow: little changes between a look and the change that holds for that look only.
    twin = Twin(seed=3, speed=2.0).start()
    one = Gate(twin, "shop")
    twin.inject("bad-rollout")
    yield one
    twin.stop()
    one.stop()


def through(gate: Gate, folder: Path) -> Cluster:
    from kubernetes import config

    gate.write_kubeconfig(folder / "kubeconfig")
    client: Any = config.new_client_from_config(str(folder / "kubeconfig"))  # type: ignore[no-untyped-call]  # no types
    cluster = Cluster(client)
    until(lambda: _two_revisions(cluster), "the gate listens, and there is a revision to go back to")
    return cluster


def _two_revisions(cluster: Cluster) -> bool:
    try:
        names: list[str] = [each["metadata"]["name"] for each in cluster.list("ReplicaSet", "shop")]
    except ClusterError:
        return False
    return len([name for name in names if name.startswith("cart-")]) == 2


def fitting(cluster: Cluster, action: str) -> list[Object]:
    """A thing of each kind that the action can be prepared for."""
    found = []
    for kind in KINDS:
        try:
            things = cluster.list(kind, "" if kind == "Node" else "shop")
        except ClusterError:
            continue  # a kind that only some actions may see, told among what was refused
        for thing in things:
            try:
                ACTIONS[action].prepare(cluster, thing, PARAMETERS)
            except (CannotAct, KeyError):
                continue
            found.append(thing)
            break
    return found


@pytest.mark.parametrize("name", [name for name in ACTIONS if name not in NOT_IN_THE_SHOP])
def test_an_action_needs_no_more_than_it_declares(gate: Gate, tmp_path: Path, name: str) -> None:
    cluster, action = through(gate, tmp_path), ACTIONS[name]
    # Of the rights to act it has its own only.
    gate.inside = {(group, resource, verb) for group, resource, verbs in action.rules for verb in verbs.split()}
    gate.everywhere = {right for right in gate.everywhere if right[2] in ("get", "list", "watch")} | {
        right for right in gate.inside if right[1] == "nodes"
    }
    targets = fitting(cluster, name)
    assert targets, f"the twin's shop has nothing that {name} fits"
    for target in targets:
        kind, meta = target["kind"], target["metadata"]
        now = cluster.get(kind, meta["name"], meta.get("namespace", ""))
        step = action.prepare(cluster, {"kind": kind, **(now or target)}, PARAMETERS)
        outcome = action.apply(cluster, step, Mark(action="a1", fencing=1, at="2026-03-01T12:00:00+00:00"))
        assert outcome.ok, outcome.detail
        action.observe(cluster, step, "a1")
        action.settled(cluster, step)
        action.undo(cluster, step, "a1", outcome.undo)
    assert gate.refused == []
    assert {verb for _, _, verb in gate.used} - {"get", "list", "watch"}, "it changed nothing"
