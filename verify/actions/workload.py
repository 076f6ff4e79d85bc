"""Disturbs a workload by its own spec: no replicas, a bad image, wrong settings. `restore_object` takes it back."""

from __future__ import annotations

import time
from typing import Any

from verify.actions.changing import REMOVED, change, failed, reach, restore
from verify.kubernetes import Api, Refused

__all__ = ["await_ready", "change_container", "change_field", "hold", "restore_object", "scale", "set_environment"]
CONTAINERS = "/spec/template/spec/containers"


def scale(namespace: str, name: str, replicas: int = 0, kind: str = "Deployment") -> dict[str, Any]:
    """Give a Deployment or StatefulSet another number of replicas for a while."""
    return change(kind, namespace, name, {"/spec/replicas": int(replicas)})


def change_container(
    namespace: str, name: str, fields: dict[str, Any], container: str = "", kind: str = "Deployment"
) -> dict[str, Any]:
    """Roll out a container with other fields: `{"image": "…"}`, `{"command": […]}`, `{"readinessProbe": {…}}`.

    `container`: its name; empty: the first one. A field of null is taken away. The old values are noted before.
    """
    where = reach(CONTAINERS, _index(_containers(kind, namespace, name), container, f"{kind} {namespace}/{name}"))
    changes = {reach(where, field): REMOVED if value is None else value for field, value in fields.items()}
    return change(kind, namespace, name, changes)


def set_environment(
    namespace: str, name: str, variables: dict[str, str], container: str = "", kind: str = "Deployment"
) -> dict[str, Any]:
    """Roll out a container with these environment variables set, beside those that it has: wrong configuration."""
    containers = _containers(kind, namespace, name)
    index = _index(containers, container, f"{kind} {namespace}/{name}")
    kept = [each for each in containers[index].get("env") or [] if each["name"] not in variables]
    wanted = [*kept, *({"name": key, "value": str(value)} for key, value in variables.items())]
    return change(kind, namespace, name, {reach(CONTAINERS, index, "env"): wanted})


def change_field(kind: str, namespace: str, name: str, pointer: str, value: Any = None) -> dict[str, Any]:
    """Set one field of any object, by its JSON pointer, for a while; null takes it away."""
    return change(kind, namespace, name, {pointer: REMOVED if value is None else value})


def restore_object(kind: str, namespace: str, name: str) -> dict[str, Any]:
    """Take back what was changed, from any process; what somebody else changed since is left alone."""
    return restore(kind, namespace, name)


def hold(seconds: float = 30.0) -> float:
    """Let what was disturbed last: wait. An abort ends it at once."""
    time.sleep(max(0.0, float(seconds)))
    return float(seconds)


def await_ready(kind: str, name: str, namespace: str, within_s: float = 60.0) -> bool:
    """Wait until all wanted replicas are ready; fails when they are not in time. For the end of rollbacks."""
    from verify.probes import workload_ready

    if not workload_ready(kind, name, namespace, within_s):
        raise failed(f"{kind} {namespace}/{name} is not ready again after {within_s:.0f} s")
    return True


def _containers(kind: str, namespace: str, name: str) -> list[dict[str, Any]]:
    try:
        found = Api().get(kind, namespace, name)
    except Refused as error:
        raise failed(str(error)) from error
    if found is None:
        raise failed(f"{kind} {namespace}/{name} is not there")
    containers: list[dict[str, Any]] = found["spec"]["template"]["spec"]["containers"]
    return containers


def _index(containers: list[dict[str, Any]], name: str, whose: str) -> int:
    for index, each in enumerate(containers):
        if not name or each["name"] == name:
            return index
    names = ", ".join(each["name"] for each in containers)
    raise failed(f"{whose} has no container “{name}”; it has {names}")
