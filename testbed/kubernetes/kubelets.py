"""Nodes without kubelets: what those would write of nodes and pods is written here, as kwok does.

A pod that was scheduled starts at once and is ready, or fails where its caller says so; one that is to end is gone at
once. Containers do not exist, so nothing can be asked of them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from testbed.errors import TestbedError
from testbed.kubernetes.cluster import Api

Object = dict[str, Any]
PODS = "/api/v1/pods"
WATCH_S = 5
"""How long one watch lasts; between two of them it is looked whether this is to end."""


class Kubelets:
    """They live for as long as the block runs. `fails`: why a pod's containers do not run, as the reason of a waiting
    container; empty for one that serves."""

    def __init__(
        self, kubeconfig: Path, *, nodes: int = 2, room: int = 500, fails: Callable[[Object], str] = lambda _: ""
    ) -> None:
        self._config, self._fails = kubeconfig, fails
        self.nodes = [f"played-{number}" for number in range(nodes)]
        self._room = room
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelets", daemon=True)

    def __enter__(self) -> Kubelets:
        with Api(self._config) as api:
            for number, name in enumerate(self.nodes):
                labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number % 2}"}
                meta = {"name": name, "labels": labels}
                api.apply(f"/api/v1/nodes/{name}", {"apiVersion": "v1", "kind": "Node", "metadata": meta})
                api.patch(f"/api/v1/nodes/{name}/status", {"status": node_status(self._room)}, "merge-patch")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        version = ""
        with Api(self._config) as api:
            while not self._stop.is_set():
                try:
                    version = self._watched(api, version) if version else self._listed(api)
                except (TestbedError, httpx.HTTPError):
                    version = ""  # too old a version, or a connection that broke: all over again
                    self._stop.wait(0.5)

    def _listed(self, api: Api) -> str:
        found = api.get(PODS)
        for pod in found["items"]:
            self._look(api, pod)
        return str(found["metadata"]["resourceVersion"])

    def _watched(self, api: Api, version: str) -> str:
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(WATCH_S)}
        with api.client.stream("GET", PODS, params=query) as response:
            for line in response.iter_lines():
                change = json.loads(line)
                if change["type"] == "ERROR":
                    return ""
                version = change["object"]["metadata"]["resourceVersion"]
                if change["type"] != "DELETED":
                    self._look(api, change["object"])
                if self._stop.is_set():
                    break
        return version

    def _look(self, api: Api, pod: Object) -> None:
        meta = pod["metadata"]
        where = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if not pod["spec"].get("nodeName"):
            return
        if meta.get("deletionTimestamp"):
            api.delete(where, grace=0)
        elif pod["status"].get("phase", "Pending") == "Pending" and not pod["status"].get("containerStatuses"):
            try:
                api.patch(f"{where}/status", {"status": pod_status(pod, self._fails(pod))}, "merge-patch")
            except TestbedError as error:
                if " 404 " not in str(error):  # it is gone already
                    raise


def node_status(room: int) -> Object:
    """A node that is well and takes so many pods."""
    offered = {"cpu": "16", "memory": "64Gi", "pods": str(room)}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": stamp(datetime.now(UTC))}
    return {"capacity": offered, "allocatable": offered, "conditions": [ready]}


def pod_status(pod: Object, waits: str = "", restarts: int = 0) -> Object:
    """A pod whose containers serve since now, or wait for that reason."""
    now = stamp(datetime.now(UTC))
    state = {"waiting": {"reason": waits}} if waits else {"running": {"startedAt": now}}
    ready = "False" if waits else "True"
    return {
        "phase": "Running",
        "startTime": now,
        "conditions": [
            {"type": kind, "status": ready, "lastTransitionTime": now} for kind in ("ContainersReady", "Ready")
        ],
        "containerStatuses": [
            {
                "name": each["name"], "image": each["image"], "imageID": "", "ready": not waits, "started": not waits,
                "restartCount": restarts, "state": state,
                "resources": each.get("resources", {}),  # without them a node counts as one that cannot resize
            }
            for each in pod["spec"]["containers"]
        ],
    }  # fmt: skip


def stamp(at: datetime) -> str:
    """A moment as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
