"""Every action does all it does with the rights that it declares: on the twin, behind a gate that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from remediate.actions import ACTIONS, CannotAct, Mark
from remediate.actions.hibernate import HIBERNATED
from remediate.cluster import Cluster, ClusterError, Object
from tests.contract.action_cases import BUSY
from tests.contract.webhooks import hook
from tests.e2e.gate import Gate
from tests.e2e.installation import until
from twin.api import defaults
from twin.objects import Store, clone
from twin.server import Twin

KINDS = (
    "Deployment", "StatefulSet", "DaemonSet", "Pod", "Node", "HorizontalPodAutoscaler", "PersistentVolumeClaim",
    "Namespace",
)  # fmt: skip
"""What KT follows, and so may list."""
NOT_IN_THE_SHOP = {
    "raise-hpa-maximum": "no autoscaler",
    "resume-rollout": "no paused rollout",
    "restore-config": "no ConfigMap with versions",
    "restart-users": "no ConfigMap that somebody uses",
}
"""Actions that nothing in the twin's shop fits, and what it lacks."""
JOB = {"template": {"spec": {"containers": [{"name": "own", "image": "shop:v1"}]}}}
PARAMETERS: dict[str, Any] = {
    "max_replicas": 20, "namespaces": ["shop"], "min_age_s": 0, "zone": "a", "job": JOB,
    "policy": {"patience_s": 0, **BUSY},
}  # fmt: skip
AMOUNTS = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
CLAIM = {"storageClassName": "disk", "resources": {"requests": {"storage": "1Gi"}}}
CHANGES_NOTHING = {"call-webhook": "its effect is somebody else's"}


def put(store: Store, kind: str, name: str, namespace: str = "shop", **rest: Any) -> None:
    made: Object = {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **rest}
    defaults.fill(store, kind, made)
    store.create(kind, made)


def lend(twin: Twin, action: str) -> None:
    """Bring into the shop what an action is for and the shop lacks."""
    with twin.cluster.lock:
        store = twin.cluster.store
        match action:
            case "scale-up":
                sized = {"containers": [{"name": "a", "image": "shop:v1", "resources": AMOUNTS}]}
                store.edit(
                    "Deployment", "store", "shop", lambda draft: draft["spec"]["template"]["spec"].update(clone(sized))
                )
            case "leave-zone":
                for number, node in enumerate(list(store.all("Node"))):
                    zone = {"topology.kubernetes.io/zone": "ab"[min(number, 1)]}
                    store.edit("Node", node["metadata"]["name"], "", partial(labelled, labels=zone))
            case "clean-up-pods":
                for name in ("gone-1", "gone-2"):
                    spec: Object = {"containers": [{"name": "a", "image": "shop:v1"}]}
                    put(store, "Pod", name, spec=spec, status={"phase": "Failed"})
            case "terminate-invalid":
                missing = {"containers": [{"name": "a", "image": "shop:missing"}]}
                store.edit(
                    "Deployment",
                    "front",
                    "shop",
                    lambda draft: draft["spec"]["template"]["spec"].update(clone(missing)),
                )
            case "expand-volume":
                put(store, "StorageClass", "disk", "", allowVolumeExpansion=True)
                put(
                    store,
                    "PersistentVolumeClaim",
                    "data",
                    spec=CLAIM,
                    status={"phase": "Bound", "capacity": {"storage": "1Gi"}},
                )
            case "wake":
                store.edit("Deployment", "store", "shop", slept)
            case "pause-cronjob" | "resume-cronjob":
                put(
                    store,
                    "CronJob",
                    "nightly",
                    spec={
                        "schedule": "0 0 1 1 *",
                        "suspend": action.startswith("resume"),
                        "jobTemplate": {"spec": clone(JOB)},
                    },
                )


def labelled(draft: Object, labels: dict[str, str]) -> None:
    draft["metadata"]["labels"].update(labels)


def slept(draft: Object) -> None:
    draft["metadata"].setdefault("annotations", {})[HIBERNATED] = "1"
    draft["spec"]["replicas"] = 0


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
    cluster = Cluster(client, 10.0)
    until(lambda: _two_revisions(cluster), "the gate listens, and there is a revision to go back to")
    return cluster


def _two_revisions(cluster: Cluster) -> bool:
    try:
        names: list[str] = [each["metadata"]["name"] for each in cluster.list("ReplicaSet", "shop")]
    except ClusterError:
        return False
    return len([name for name in names if name.startswith("cart-")]) == 2


def parameters() -> dict[str, Any]:
    return {**PARAMETERS, "url": hook().url, "undo_url": hook().url, "webhooks": [hook().url]}


def fitting(cluster: Cluster, action: str) -> list[Object]:
    """A thing of each kind that the action can be prepared for."""
    if action.endswith("cronjob"):
        nightly = cluster.get("CronJob", "nightly", "shop")
        return [{**nightly, "kind": "CronJob"}] if nightly else []
    found = []
    for kind in KINDS:
        try:
            things = cluster.list(kind, "" if kind in ("Node", "Namespace") else "shop")
        except ClusterError:
            continue  # a kind that only some actions may see, told among what was refused
        for thing in things:
            try:
                ACTIONS[action].prepare(cluster, thing, parameters())
            except (CannotAct, KeyError):
                continue
            found.append(thing)
            break
    return found


@pytest.mark.parametrize("name", [name for name in ACTIONS if name not in NOT_IN_THE_SHOP])
def test_an_action_needs_no_more_than_it_declares(gate: Gate, tmp_path: Path, name: str) -> None:
    cluster, action = through(gate, tmp_path), ACTIONS[name]
    lend(gate.twin, name)
    # Of the rights to act it has its own only.
    gate.inside = {(group, resource, verb) for group, resource, verbs in action.rules for verb in verbs.split()}
    gate.everywhere = {right for right in gate.everywhere if right[2] in ("get", "list", "watch")} | {
        right for right in gate.inside if right[1] == "nodes"
    }
    until(lambda: bool(fitting(cluster, name)), f"there is something that {name} fits")
    targets = fitting(cluster, name)
    # Pods first: what is done to their workload replaces them.
    for target in sorted(targets, key=lambda each: each["kind"] != "Pod"):
        kind, meta = target["kind"], target["metadata"]
        now = cluster.get(kind, meta["name"], meta.get("namespace", ""))
        step = action.prepare(cluster, {"kind": kind, **(now or target)}, parameters())
        outcome = action.apply(cluster, step, Mark(action="a1", fencing=1, at="2026-03-01T12:00:00+00:00"))
        assert outcome.ok, outcome.detail
        action.observe(cluster, step, "a1")
        action.settled(cluster, step)
        action.undo(cluster, step, "a1", outcome.undo)
    assert gate.refused == []
    if name not in CHANGES_NOTHING:
        assert {verb for _, _, verb in gate.used} - {"get", "list", "watch"}, "it changed nothing"
