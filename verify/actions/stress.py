"""Takes processor time or memory with a pod that ends by itself (`activeDeadlineSeconds`), whatever the run does."""

from __future__ import annotations

from typing import Any

from verify.actions.changing import failed
from verify.kubernetes import Api, Refused, path_of

__all__ = ["burn_cpu", "fill_memory", "remove_pod"]
MARK = "kt.io/chaos"
IMAGE = "busybox:1.36"
"""Any image with a shell and dd."""


def burn_cpu(
    namespace: str, name: str, cores: int = 1, seconds: int = 60, node: str = "", image: str = IMAGE
) -> dict[str, Any]:
    """Keep so many cores busy for so long, on a node (empty: wherever the scheduler puts it)."""
    spin = "while :; do :; done & " * cores
    resources = {"limits": {"cpu": str(cores), "memory": "32Mi"}, "requests": {"cpu": "10m", "memory": "16Mi"}}
    return _create(namespace, name, f"{spin}wait", resources, seconds, node, image)


def fill_memory(
    namespace: str, name: str, megabytes: int, seconds: int = 60, node: str = "", image: str = IMAGE
) -> dict[str, Any]:
    """Hold so much memory for so long: a file in a volume of memory, which counts as the pod's own."""
    fill = f"dd if=/dev/zero of=/kt-chaos/fill bs=1M count={int(megabytes)} && sleep {int(seconds)}"
    resources = {"limits": {"memory": f"{int(megabytes) + 32}Mi"}, "requests": {"cpu": "10m", "memory": "16Mi"}}
    return _create(namespace, name, fill, resources, seconds, node, image, memory=True)


def remove_pod(namespace: str, name: str) -> dict[str, Any]:
    """Take the stress pod away; that it is gone already is as good."""
    try:
        return {"deleted": Api().delete("Pod", namespace, name)}
    except Refused as error:
        raise failed(str(error)) from error


def _create(
    namespace: str, name: str, line: str, resources: dict[str, Any], seconds: int, node: str, image: str,
    *, memory: bool = False,
) -> dict[str, Any]:  # fmt: skip
    container: dict[str, Any] = {
        "name": "stress",
        "image": image,
        "command": ["sh", "-c", line],
        "resources": resources,
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": int(seconds),
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    if memory:
        container["volumeMounts"] = [{"name": "memory", "mountPath": "/kt-chaos"}]
        spec["volumes"] = [{"name": "memory", "emptyDir": {"medium": "Memory"}}]
    if node:
        spec["nodeName"] = node
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {MARK: "true"}},
        "spec": spec,
    }
    try:
        Api().ask("POST", path_of("Pod", namespace), pod)
    except Refused as error:
        raise failed(str(error)) from error
    return {"created": name}
