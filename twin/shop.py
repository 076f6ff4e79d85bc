"""The shop that runs in the twin: front → cart → catalogue → store, on two or more nodes."""

from __future__ import annotations

from typing import Any

from twin.api import defaults
from twin.objects import Object, Store

NAMESPACE = "shop"
RATE = 30.0
"""Requests per second at the front when all is well."""
OVERLOAD = 60.0
"""More than three pods of the catalogue can do, less than five."""
SERVICES: tuple[tuple[str, int, str, dict[str, str]], ...] = (
    ("front", 2, "cart", {"WORK_MS": "5", "CAPACITY": "256"}),
    ("cart", 2, "catalogue", {"WORK_MS": "10", "CAPACITY": "256"}),
    ("catalogue", 3, "store", {"WORK_MS": "50", "CAPACITY": "1"}),
    ("store", 1, "", {"WORK_MS": "4", "CAPACITY": "64"}),
)


def build(store: Store, nodes: int) -> None:
    """Create nodes, namespace, Deployments and Services."""
    for number in range(1, nodes + 1):
        _create(store, "Node", _node(number))
    labels = {"kt.io/remediate": "enabled"}
    _create(store, "Namespace", {"metadata": {"name": NAMESPACE, "labels": labels}})
    for name, replicas, calls, knobs in SERVICES:
        _create(store, "Deployment", _deployment(name, replicas, knobs))
        _create(store, "Service", _service(name, calls))


def _create(store: Store, kind: str, given: Object) -> None:
    defaults.fill(store, kind, given)
    store.create(kind, given)


def _node(number: int) -> Object:
    name = f"kt-node-{number}"
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}, {"type": "Hostname", "address": name}],
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "40"},
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "40"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": f"boot-{number}",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.6.0",
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.34.4",
                "machineID": f"machine-{number}",
                "operatingSystem": "linux",
                "osImage": "twin",
                "systemUUID": f"system-{number}",
            },
        },
    }


def _deployment(name: str, replicas: int, knobs: dict[str, str]) -> Object:
    labels = {"app": name}
    environment: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in knobs.items()]
    container = {"name": name, "image": "shop:v1", "env": environment, "ports": [{"containerPort": 8080}]}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _service(name: str, calls: str) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app": name},
            "annotations": {"kt.io/calls": calls} if calls else {},
        },
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
