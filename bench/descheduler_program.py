"""The kubernetes-sigs descheduler's own program beside KT's matrix: on a real API server, by what it evicts there.

Nodes and pods are kwok's (testbed/kubernetes/kwok.py): it makes nodes ready and keeps their leases, gives pods the
status that they are told to have, and ends what is evicted; who evicted what is told by the API server's audit log.
Only when a pod was made is written by the bench, for the API server takes that from nobody. After each policy what was
evicted is made anew, so that all of them see the same cluster. Policies are those of bench/descheduler.py, by the same
names.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.descheduler import DAY_S, HOUR_S, WEEK_S, Pod
from remediate.cluster import Object
from testbed.kubernetes import build, kwok
from testbed.kubernetes.alone import ControlPlane
from testbed.kubernetes.cluster import Api
from testbed.kubernetes.kubelets import stamp

Plugin = tuple[str, dict[str, Any]]
Key = tuple[str, str]
"""Namespace and name of a pod."""
MOMENTS = frozenset({"startTime", "startedAt", "finishedAt", "lastTransitionTime"})
AT_ONCE, SECONDS = 4, 300


def _restarts(threshold: int, **more: Any) -> Plugin:
    return "RemovePodsHavingTooManyRestarts", {
        "podRestartThreshold": threshold, "includingInitContainers": True, **more,
    }  # fmt: skip


def _failed(least_s: int) -> Plugin:
    return "RemoveFailedPods", {"minPodLifetimeSeconds": least_s, "includingInitContainers": True}


STUCK: Plugin = ("PodLifeTime", {"states": ["CrashLoopBackOff", "ImagePullBackOff"]})
WEEK: Plugin = ("PodLifeTime", {"maxPodLifeTimeSeconds": WEEK_S})
DAY: Plugin = ("PodLifeTime", {"maxPodLifeTimeSeconds": DAY_S, "states": ["Pending", "PodInitializing"]})
LEVEL: Plugin = (
    "LowNodeUtilization",
    {
        "thresholds": {"cpu": 20, "memory": 20, "pods": 20},
        "targetThresholds": {"cpu": 50, "memory": 50, "pods": 50},
    },
)
PUBLISHED: Mapping[str, Sequence[Plugin]] = {
    "RemovePodsHavingTooManyRestarts, 100": [_restarts(100)],
    "the same, in CrashLoopBackOff": [_restarts(100, states=["CrashLoopBackOff"])],
    "RemoveFailedPods, after an hour": [_failed(HOUR_S)],
    "PodLifeTime, a week": [WEEK],
    "PodLifeTime, a day, Pending": [DAY],
    "PodLifeTime, stuck (back-off)": [STUCK],
    "LowNodeUtilization, 20 % and 50 %": [LEVEL],
    "all of these": [_restarts(100), _failed(HOUR_S), WEEK, DAY, STUCK, LEVEL],
    "fitted: more than 3 restarts, failed, stuck": [_restarts(4), _failed(0), STUCK],
}


class Played:
    """One cluster on the API server, as it was at a moment of its own, while kwok plays; `leave` takes it away for the
    next."""

    def __init__(self, plane: ControlPlane, pods: Sequence[Pod], seen_at: datetime, room: int) -> None:
        self.plane, self.later = plane, datetime.now(UTC) - seen_at
        self.pods = {_key(each.object): each for each in pods}
        self.nodes = sorted({each.object["spec"]["nodeName"] for each in pods})
        with Api(plane.kubeconfig("admin")) as api:
            for space in sorted({space for space, _ in self.pods}):
                api.apply(f"/api/v1/namespaces/{space}", _head("Namespace", space))
            for node in self.nodes:
                kwok.make_node(api, node, room)
            kwok.wait_for_nodes(api)
            self._make(api, self.pods)

    def evicted_by(self, plugins: Sequence[Plugin]) -> list[bool]:
        """For each pod, in order, whether one run of the program with this policy evicts it."""
        before = self.plane.audit.stat().st_size
        policy = self.plane.folder / "policy.json"
        policy.write_text(json.dumps(_policy(plugins)))
        _run(policy, self.plane.kubeconfig("descheduler"))
        evicted = _evictions(self.plane.audit, before, "descheduler")
        with Api(self.plane.kubeconfig("admin")) as api:
            kwok.wait_for_the_end(api)
            self._make(api, evicted)
        return [each in evicted for each in self.pods]

    def read(self) -> list[Object]:
        """The pods as the API server tells of them now, in order."""
        with Api(self.plane.kubeconfig("admin")) as api:
            found = {_key(each): each for each in api.get("/api/v1/pods")["items"]}
        return [found[each] for each in self.pods]

    def leave(self) -> None:
        with Api(self.plane.kubeconfig("admin")) as api:
            self._delete(api, self.pods)
            for node in self.nodes:
                api.delete(f"/api/v1/nodes/{node}")

    def _make(self, api: Api, keys: Collection[Key]) -> None:
        def make(key: Key) -> None:
            one = self.pods[key].object
            told = ("phase", "startTime", "conditions", "containerStatuses")
            status = {name: one["status"][name] for name in told if name in one["status"]}
            api.apply(_path(key), _as_given(one, self._moved(status)))

        def age(key: Key) -> None:
            self.plane.created(*key, stamp(datetime.now(UTC) - timedelta(seconds=self.pods[key].age_s)))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(make, keys))
            kwok.wait_for_pods(api)
            list(pool.map(age, keys))

    @staticmethod
    def _delete(api: Api, keys: Collection[Key]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda key: api.delete(_path(key), grace=0), keys))

    def _moved(self, told: Any) -> Any:
        """The same, with its moments as long ago as they were."""
        if isinstance(told, list):
            return [self._moved(each) for each in told]
        if not isinstance(told, dict):
            return told
        return {
            key: stamp(datetime.fromisoformat(value) + self.later) if key in MOMENTS and value else self._moved(value)
            for key, value in told.items()
        }


def _policy(plugins: Sequence[Plugin]) -> Object:
    """A profile for each plugin: one profile knows a plugin once, and PodLifeTime is asked for in three ways."""
    profiles = []
    for number, (name, arguments) in enumerate(plugins):
        when = "balance" if name == "LowNodeUtilization" else "deschedule"
        profiles.append({
            "name": f"p{number}",
            "pluginConfig": [{"name": name, "args": arguments}, {"name": "DefaultEvictor", "args": {}}],
            "plugins": {when: {"enabled": [name]}},
        })  # fmt: skip
    return {"apiVersion": "descheduler/v1alpha2", "kind": "DeschedulerPolicy", "profiles": profiles}


def _run(policy: Path, kubeconfig: Path) -> None:
    words = [
        str(build.descheduler()), f"--policy-config-file={policy}", f"--kubeconfig={kubeconfig}", "--secure-port=0",
        "--disable-metrics", "--client-connection-qps=500", "--client-connection-burst=500",  # its 5 are a minute
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the descheduler failed ({done.returncode}):\n{done.stderr[-2000:]}")


def _evictions(log: Path, since: int, user: str) -> set[Key]:
    """What was evicted by a user, of what is in the log from that byte on."""
    found = set()
    with log.open("rb") as handle:
        handle.seek(since)
        for line in handle:
            event = json.loads(line)
            about, code = event.get("objectRef") or {}, (event.get("responseStatus") or {}).get("code", 0)
            by = event["user"]["username"] == user and event.get("stage") == "ResponseComplete"
            if by and about.get("subresource") == "eviction" and code < 300:
                found.add((about["namespace"], about["name"]))
    return found


def _head(kind: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def _as_given(pod: Object, status: Object) -> Object:
    """As a ReplicaSet's controller would make it, with the status that kwok is to give it: without an owner the
    descheduler would leave it alone."""
    meta, app = pod["metadata"], pod["metadata"]["labels"]["app"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": f"uid-{app}", "controller": True}
    container = pod["spec"]["containers"][0]
    spec = {
        "nodeName": pod["spec"]["nodeName"],
        "containers": [{name: container[name] for name in ("name", "image", "env") if name in container}],
    }
    kept = {"name": meta["name"], "namespace": meta["namespace"], "labels": meta["labels"]}
    about = {"ownerReferences": [owner], "annotations": {kwok.TOLD: json.dumps(status)}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept | about, "spec": spec}


def _key(pod: Object) -> Key:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _path(key: Key) -> str:
    return f"/api/v1/namespaces/{key[0]}/pods/{key[1]}"
