"""The small shop that runs in the cluster, front → cart → catalogue → store, and the customers who load it."""

import copy
import signal
from typing import Any

import httpx

from testbed import processes, server
from testbed.errors import TestbedError
from testbed.kubernetes import build, cluster
from testbed.kubernetes.images import SHOP

NAMESPACE = "shop"
RATE = 30.0
"""Requests per second when all is well."""
OVERLOAD = 110.0
"""More than three pods of the catalogue can do in peace, well within what five can."""
SERVICES: tuple[tuple[str, int, str, dict[str, str]], ...] = (
    ("store", 1, "", {"WORK_MS": "2", "CAPACITY": "64"}),
    ("catalogue", 3, "store", {"WORK_MS": "50", "CAPACITY": "2"}),
    ("cart", 2, "catalogue", {"WORK_MS": "5", "CAPACITY": "64"}),
    ("front", 2, "cart", {"WORK_MS": "2", "CAPACITY": "64"}),
)
"""(name, replicas, the service it calls, its knobs), the called before those that call."""
MARKS = ("kt.io/action", "kt.io/acted-at", "kt.io/fencing", "kt.io/undone", "kt.io/replicas-before")
"""What KT notes on an object: taken off again, or its cooldown would reach into the next test."""
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"


class Shop:
    """The shop with all its replicas ready and its customers coming in at the usual rate."""

    name = "shop"
    variables: tuple[str, ...] = ("KT_TEST_SHOP_LOAD_URL",)
    needs: tuple[str, ...] = ("kubernetes",)

    def check(self) -> None:
        """Nothing of its own."""

    def start(self) -> server.Record:
        record = server.load(self.name)
        if not record.ports:
            record.ports = {"load": processes.free_ports(1)[0]}
            record.variables = {self.variables[0]: f"http://127.0.0.1:{record.ports['load']}/rate"}
            server.save(self.name, record)
        if self.running():
            return record
        reset()
        with cluster.Api(cluster.kubeconfig("admin")) as api:
            address = api.get(f"/api/v1/namespaces/{NAMESPACE}/services/front")["spec"]["clusterIP"]
        options = [
            "load",
            f"-url=http://{address}/",
            f"-listen=127.0.0.1:{record.ports['load']}",
            f"-per-second={RATE}",
        ]
        processes.start("customers", [str(build.shop()), *options])
        processes.wait("the customers come", lambda: _sent(record) > 0, seconds=30, of="customers")
        return record

    def stop(self, *, kill: bool = False) -> None:
        processes.stop("customers", kill=kill)

    def running(self) -> bool:
        return processes.find("customers") is not None

    def clean(self) -> None:
        """What is in the cluster goes with the cluster."""


def _sent(record: server.Record) -> int:
    try:
        return int(httpx.get(record.variables["KT_TEST_SHOP_LOAD_URL"], timeout=2).json()["sent"])
    except httpx.HTTPError:
        return 0


def load(per_second: float) -> None:
    """From now on so many customers come each second."""
    url = server.load("shop").variables["KT_TEST_SHOP_LOAD_URL"]
    response = httpx.post(url, data={"per_second": str(per_second)}, timeout=5)
    if response.is_error:
        raise TestbedError(f"the customers do not listen: {response.text}")


def reset() -> None:
    """The shop as it was made, whatever was done to it: image, replicas, knobs, nodes; returns when all is ready."""
    if processes.find("customers") is not None:
        load(RATE)
    for node in cluster.NODES:
        processes.send(f"kubelet-{node.index}", signal.SIGCONT)
    with cluster.Api(cluster.kubeconfig("admin")) as api:
        for node in cluster.NODES:
            clear = {"metadata": {"annotations": dict.fromkeys(MARKS)}, "spec": {"unschedulable": None}}
            api.patch(f"/api/v1/nodes/{node.name}", clear, "merge-patch")
        labels = {"kt.io/remediate": "enabled", "kt.io/chaos": "enabled"}
        api.apply(f"/api/v1/namespaces/{NAMESPACE}", _thing("v1", "Namespace", {"name": NAMESPACE, "labels": labels}))
        for name, _, calls, _ in SERVICES:
            api.apply(f"/api/v1/namespaces/{NAMESPACE}/services/{name}", _service(name, calls))
        for name, replicas, calls, knobs in SERVICES:
            _put(api, name, _deployment(name, replicas, calls, knobs))
        processes.wait("the shop is ready", lambda: nodes_ready(api) and ready(api), seconds=120)
        ended = spread(api)

        def replaced() -> bool:
            return ended.isdisjoint(pod["metadata"]["name"] for pod in _pods(api)) and ready(api)

        processes.wait("the shop is spread over the nodes", replaced, seconds=60)


def spread(api: cluster.Api) -> set[str]:
    """End half the pods of each Deployment that has all of its on one node, for the scheduler to spread them."""
    places: dict[str, dict[str, list[str]]] = {}
    for pod in _pods(api):
        on = places.setdefault(pod["metadata"]["labels"].get("app", ""), {})
        on.setdefault(pod["spec"].get("nodeName", ""), []).append(pod["metadata"]["name"])
    crowded = [next(iter(on.values())) for on in places.values() if len(on) == 1]
    ended = {name for names in crowded for name in names[: len(names) // len(cluster.NODES)]}
    for name in ended:
        api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")
    return ended


def _pods(api: cluster.Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    return found


def _put(api: cluster.Api, name: str, wanted: dict[str, Any]) -> None:
    """Make the Deployment what is wanted, also where others own some of its fields; untouched when it is that."""
    if any(each["metadata"]["name"] == name for each in api.get(DEPLOYMENTS)["items"]):
        change = copy.deepcopy(wanted)
        change["metadata"]["annotations"] = dict.fromkeys(MARKS)
        change["spec"]["template"]["metadata"]["annotations"] = None
        api.patch(f"{DEPLOYMENTS}/{name}", change, "merge-patch")
    else:
        api.apply(f"{DEPLOYMENTS}/{name}", wanted)


def ready(api: cluster.Api) -> bool:
    """Whether every wanted replica of the shop is new, ready and alone."""
    for each in api.get(DEPLOYMENTS)["items"]:
        wanted, status = each["spec"]["replicas"], each.get("status", {})
        if status.get("observedGeneration", 0) < each["metadata"]["generation"]:
            return False
        if {status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas")} != {wanted}:
            return False
    return True


def nodes_ready(api: cluster.Api) -> bool:
    """Whether every node is ready and takes pods."""
    for node in api.get("/api/v1/nodes")["items"]:
        conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
        if conditions.get("Ready") != "True" or node["spec"].get("unschedulable"):
            return False
    return True


def _thing(version: str, kind: str, meta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": meta, **more}


def _service(name: str, calls: str) -> dict[str, Any]:
    # That the catalogue calls the store is told by its metrics alone, the other calls by the annotation too.
    told = {"kt.io/calls": calls} if calls and calls != "store" else {}
    annotations = {"prometheus.io/scrape": "true", **told}
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    meta = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}, "annotations": annotations}
    return _thing("v1", "Service", meta, spec=spec)


def _deployment(name: str, replicas: int, calls: str, knobs: dict[str, str]) -> dict[str, Any]:
    # The address of the called Service is in the environment of pods made after it: no cluster DNS is needed.
    calling = {"CALLS": f"http://$({calls.upper()}_SERVICE_HOST)/", "CALLEE": calls} if calls else {}
    container = {
        "name": name,
        "image": f"{SHOP}:v1",
        "imagePullPolicy": "Never",
        "env": [{"name": key, "value": value} for key, value in (knobs | calling).items()],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    }
    labels = {"app": name}
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
        }
    ]
    pod = {
        "containers": [container],
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 3,
        "topologySpreadConstraints": spread,
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return _thing("apps/v1", "Deployment", meta, spec=spec)
