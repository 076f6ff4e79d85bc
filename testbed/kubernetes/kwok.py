"""Nodes and pods that kwok plays: kubernetes-sigs' own program, built from source, writes what kubelets would.

By the stages that it ships nodes become ready and keep their leases, and pods that are to end are gone at once. What
becomes of other pods is told by their makers: either kwok's own `pod/fast` (they run and are ready), or `AS_TOLD`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from testbed import processes
from testbed.kubernetes import build
from testbed.kubernetes.alone import KWOK as NAME
from testbed.kubernetes.alone import ControlPlane
from testbed.kubernetes.cluster import Api

TOLD = "testbed.kt.io/status"
"""Annotation of a pod: the status that it is to have, as JSON."""
NODES = ("node/fast/node-initialize.yaml", "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml")
ENDS = "pod/fast/pod-delete.yaml"
LEASE_S = 40
"""As kubelets do by default."""
AS_TOLD: dict[str, Any] = {
    "apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": "pod-as-told"},
    "spec": {
        "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
        "selector": {
            "matchExpressions": [
                {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                {"key": f'.metadata.annotations["{TOLD}"]', "operator": "Exists"},
                {"key": ".status.startTime", "operator": "DoesNotExist"},
            ]
        },
        "next": {"statusTemplate": f'{{{{ index .metadata.annotations "{TOLD}" }}}}'},  # JSON is YAML
    },
}  # fmt: skip
"""A stage for pods in a state that no stage of kwok's leads to: so many restarts, such a reason, since such a time."""


@contextmanager
def playing(plane: ControlPlane) -> Iterator[None]:
    """kwok runs as long as the block does, for all nodes. Missing where it cannot be built."""
    built = build.kwok()
    shipped = [(built / "stages" / name).read_text() for name in (*NODES, ENDS)]
    config = plane.folder / "kwok.yaml"
    config.write_text("\n---\n".join([*shipped, json.dumps(AS_TOLD)]))
    words = [
        str(built / "kwok"), f"--kubeconfig={plane.kubeconfig('kwok')}", f"--config={config}", "--manage-all-nodes",
        f"--node-lease-duration-seconds={LEASE_S}",
    ]  # fmt: skip
    processes.start(NAME, words)
    try:
        yield
    finally:
        processes.stop(NAME, kill=True)


def make_node(api: Api, name: str, room: int) -> None:
    """A node that takes so many pods; it is ready once kwok has seen it."""
    offered = {"cpu": "16", "memory": "64Gi", "pods": str(room)}
    node = {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": offered, "allocatable": offered},
    }  # fmt: skip
    api.create("/api/v1/nodes", node)


def wait_for_nodes(api: Api) -> None:
    """Until kwok has made all of them ready."""
    processes.wait("kwok's nodes", lambda: all(map(_ready, api.get("/api/v1/nodes")["items"])), seconds=60, of=NAME)


def wait_for_pods(api: Api) -> None:
    """Until kwok has written a status for all pods."""
    processes.wait("kwok's pods", lambda: all(map(_begun, api.get("/api/v1/pods")["items"])), seconds=120, of=NAME)


def wait_for_the_end(api: Api) -> None:
    """Until kwok has ended all pods that are to end."""
    processes.wait("their end", lambda: not any(map(_going, api.get("/api/v1/pods")["items"])), seconds=60, of=NAME)


def _ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _begun(pod: dict[str, Any]) -> bool:
    return "startTime" in pod["status"]


def _going(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]
