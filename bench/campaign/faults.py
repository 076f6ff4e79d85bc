"""What is done to the real shop, and what the right answer is. `testbed.shop.reset` takes all of it back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from testbed import processes, shop
from testbed.kubernetes import cluster
from testbed.kubernetes.cluster import Api
from testbed.kubernetes.images import SHOP

CORE = f"/api/v1/namespaces/{shop.NAMESPACE}"
NOWHERE = 9999
"""A port on which nothing listens."""


class Truth(msgspec.Struct):
    """A right answer: one of these entities, and for the fault mode one of these."""

    entities: tuple[str, ...]
    modes: tuple[str, ...]


class Injection(msgspec.Struct, frozen=True):
    """One way to break one thing. `prepare` comes before the quiet time: what has to be there to be broken."""

    kind: str
    target: str
    do: Callable[[Api], str | None]
    """Returns the thing that it hit, where that is known only then."""
    truth: Truth
    prepare: Callable[[Api], None] | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.target}"


def rollout(api: Api, name: str, *, pod: dict[str, Any] | None = None, **container: Any) -> None:
    """A new revision of a Deployment."""
    spec = {"containers": [{"name": name, **container}], **(pod or {})}
    api.patch(f"{shop.DEPLOYMENTS}/{name}", {"spec": {"template": {"spec": spec}}})


def knobs(**values: object) -> list[dict[str, str]]:
    return [{"name": key, "value": str(value)} for key, value in values.items()]


def of(name: str, *modes: str, also: tuple[str, ...] = ()) -> Truth:
    return Truth((f"Deployment/{shop.NAMESPACE}/{name}", *also), modes)


def revisions(kind: str, names: str, *modes: str, **container: Any) -> list[Injection]:
    """The same change of the container in several Deployments."""
    return [Injection(kind, name, partial(rollout, name=name, **container), of(name, *modes)) for name in names.split()]


def recreated(kind: str, names: str, *modes: str, pod: dict[str, Any]) -> list[Injection]:
    """A change of the pod in Deployments that end the old pods first, so that none serves while the new ones cannot."""

    return [
        Injection(
            kind,
            name,
            partial(rollout, name=name, pod=pod),
            of(name, *modes),
            partial(recreating, name=name),
        )
        for name in names.split()
    ]


def recreating(api: Api, name: str) -> None:
    api.patch(f"{shop.DEPLOYMENTS}/{name}", {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}})


def deleted(api: Api, name: str) -> None:
    api.delete(f"{shop.DEPLOYMENTS}/{name}")


def scaled(api: Api, name: str, replicas: int) -> None:
    api.patch(f"{shop.DEPLOYMENTS}/{name}", {"spec": {"replicas": replicas}}, "merge-patch")


def service(api: Api, name: str, change: dict[str, Any]) -> None:
    api.patch(f"{CORE}/services/{name}", {"spec": change}, "merge-patch")


def with_config(api: Api, name: str) -> None:
    """The Deployment reads one knob from a ConfigMap."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-config"}}
    api.apply(f"{CORE}/configmaps/{name}-config", {**config, "data": {"FAIL_RATIO": "0"}})
    rollout(api, name, envFrom=[{"configMapRef": {"name": f"{name}-config"}}])


def restarted(api: Api, name: str) -> None:
    """As `kubectl delete pod` does: the pods come back with what they read now."""
    for pod in api.get(f"{CORE}/pods", labelSelector=f"app={name}")["items"]:
        api.delete(f"{CORE}/pods/{pod['metadata']['name']}")


def config_wrong(api: Api, name: str) -> None:
    api.patch(f"{CORE}/configmaps/{name}-config", {"data": {"FAIL_RATIO": "0.7"}}, "merge-patch")
    restarted(api, name)


def config_missing(api: Api, name: str) -> None:
    api.delete(f"{CORE}/configmaps/{name}-config")
    restarted(api, name)


def quota_full(api: Api, name: str) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}
    api.apply(f"{CORE}/resourcequotas/pods", quota)
    restarted(api, name)


def pod_stands_still(api: Api, name: str) -> str:
    """The processes of one pod of several are stopped in their tracks."""
    meta = api.get(f"{CORE}/pods", labelSelector=f"app={name}")["items"][0]["metadata"]
    uid = meta["uid"]
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and uid in _read(folder / "cgroup") and "pause" not in _read(folder / "cmdline"):
            os.kill(int(folder.name), signal.SIGSTOP)
    return f"Pod/{shop.NAMESPACE}/{meta['name']}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def kubelet_stopped(index: int) -> Injection:
    node = cluster.NODES[index - 1].name
    modes = ("Node.NotReady", "Node.Unreachable", "Node.KubeletSick")
    return Injection(
        "kubelet-stopped",
        node,
        lambda _: processes.send(f"kubelet-{index}", signal.SIGSTOP),
        Truth((f"Node/{node}",), modes),
    )


def of_service(name: str, *modes: str) -> Truth:
    return Truth((f"Service/{shop.NAMESPACE}/{name}",), modes)


def of_config(name: str, *modes: str) -> Truth:
    return Truth((f"ConfigMap/{shop.NAMESPACE}/{name}-config",), modes)


def overload(rate: float) -> Injection:
    return Injection("overload", f"{rate:.0f}", lambda _: shop.load(rate), of("catalogue", "Workload.Overload"))


REVISION = "Workload.BadRevision"
NOT_READY = {"httpGet": {"path": "/healthz", "port": NOWHERE}, "periodSeconds": 1, "failureThreshold": 1}
FULL = {"nodeSelector": {"kt.io/no-such-node": "true"}}
BEFORE = {"initContainers": [{"name": "before", "image": f"{SHOP}:v1", "args": ["-no-such-flag"]}]}
SINGLE: tuple[Injection, ...] = (
    *revisions("bad-revision", "front cart catalogue store", REVISION, image=f"{SHOP}:bad"),
    *revisions("missing-image", "front cart store", "Workload.ImageMissing", "Image.Missing", image=f"{SHOP}:missing"),
    *revisions("wrong-command", "cart catalogue store", "Workload.WrongCommand", REVISION, args=["-no-such-flag"]),
    *revisions("crash-later", "cart catalogue", REVISION, env=knobs(EXIT_AFTER_S=4)),
    *revisions("slow-revision", "front cart catalogue store", REVISION, env=knobs(LATENCY_MS=900)),
    *revisions("limit-too-low", "cart catalogue store", "Workload.LimitTooLow", REVISION, env=knobs(EAT_MB=100)),
    *revisions("probe-wrong", "cart catalogue store", "Workload.ProbeWrong", REVISION, livenessProbe=NOT_READY),
    *recreated("cannot-schedule", "cart catalogue store", "Workload.CannotSchedule", pod=FULL),
    *recreated("init-fails", "cart store", "Workload.InitFails", REVISION, pod=BEFORE),
    *(
        Injection(
            "scaled-to-zero", name, partial(scaled, name=name, replicas=0), of(name, "Workload.ScaledToZero")
        )
        for name in ("cart", "catalogue", "store")
    ),
    Injection(
        "scaled-down",
        "catalogue",
        partial(scaled, name="catalogue", replicas=1),
        of("catalogue", "Workload.ScaledDown"),
        lambda _: shop.load(50),
    ),
    overload(shop.OVERLOAD),
    overload(130),
    kubelet_stopped(1),
    kubelet_stopped(2),
    *(
        Injection(
            "selector-wrong",
            name,
            partial(service, name=name, change={"selector": {"app": f"{name}-old"}}),
            of_service(name, "Service.SelectorMismatch"),
        )
        for name in ("cart", "catalogue", "store")
    ),
    *(
        Injection(
            "port-wrong",
            name,
            partial(service, name=name, change={"ports": [{"name": "http", "port": 80, "targetPort": NOWHERE}]}),
            of_service(name, "Service.WrongTargetPort"),
        )
        for name in ("cart", "catalogue", "store")
    ),
    *(
        Injection(
            "deleted",
            name,
            partial(deleted, name=name),
            of(name, "Workload.Deleted"),
        )
        for name in ("cart", "store")
    ),
    *(
        Injection(kind, name, partial(do, name=name), of_config(name, mode),
                  partial(with_config, name=name))
        for kind, do, mode in (
            ("config-wrong", config_wrong, "ConfigMap.Wrong"), ("config-missing", config_missing, "ConfigMap.Missing"),
        )
        for name in ("catalogue", "store")
    ),
    *(
        Injection("quota-full", name, partial(quota_full, name=name),
                  Truth((f"ResourceQuota/{shop.NAMESPACE}/pods",), ("ResourceQuota.Full",)))
        for name in ("cart", "catalogue")
    ),
    Injection("pod-stands-still", "catalogue", partial(pod_stands_still, name="catalogue"),
              of("catalogue", "Pod.Stuck", "Workload.Stuck")),
)  # fmt: skip
"""Each way to break each thing, one at a time."""


def named(name: str) -> Injection:
    return next(each for each in SINGLE if each.name == name)


PAIRS: tuple[tuple[Injection, ...], ...] = tuple(
    (named(one), named(other))
    for one, other in (
        ("bad-revision-store", "missing-image-front"),
        ("kubelet-stopped-kt-node-2", "wrong-command-cart"),
        ("selector-wrong-store", "probe-wrong-cart"),
        ("limit-too-low-store", "slow-revision-front"),
    )
)
INCIDENTS: tuple[tuple[Injection, ...], ...] = (*((each,) for each in SINGLE), *PAIRS)


def take_back(api: Api) -> None:
    """What `shop.reset` does not know of."""
    api.delete(f"{CORE}/resourcequotas/pods")
    sets = f"/apis/apps/v1/namespaces/{shop.NAMESPACE}/replicasets"
    for each in api.get(sets)["items"]:
        # Touched, a controller that was refused tries again at once.
        touch = {"metadata": {"annotations": {"example.com/touched": str(time.time())}}}
        api.patch(f"{sets}/{each['metadata']['name']}", touch, "merge-patch")
    for name, *_ in shop.SERVICES:
        if any(each["metadata"]["name"] == name for each in api.get(shop.DEPLOYMENTS)["items"]):
            change = {
                "strategy": {"type": "RollingUpdate"},
                "template": {"spec": {"initContainers": None, "nodeSelector": None}},
            }
            api.patch(f"{shop.DEPLOYMENTS}/{name}", {"spec": change}, "merge-patch")
        api.delete(f"{CORE}/configmaps/{name}-config")
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and "/shop" in _read(folder / "cmdline") and "\nState:\tT" in _read(folder / "status"):
            os.kill(int(folder.name), signal.SIGCONT)
