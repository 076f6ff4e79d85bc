"""What containers use of their limits now, as metrics-server tells it (metrics.k8s.io)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twin import errors
from twin.api.backend import Backend
from twin.objects import Object, stamp
from twin.simulation import containers, placing

GROUP = ["apis", "metrics.k8s.io", "v1beta1"]
WINDOW = "10s"


def answer(backend: Backend, parts: list[str]) -> dict[str, Any]:
    """The list of PodMetrics of a namespace or of all. Raises 404 for anything else of the group."""
    rest = parts[len(GROUP) :]
    if rest == ["pods"]:
        namespace = None
    elif len(rest) == 3 and (rest[0], rest[2]) == ("namespaces", "pods"):
        namespace = rest[1]
    else:
        raise errors.no_such_path()
    with backend.lock:
        now = backend.now()
        items = [
            _of(pod, now) for pod in backend.store.all("Pod", namespace) if pod["status"].get("phase") == "Running"
        ]
    return {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}


def _of(pod: Object, now: datetime) -> dict[str, Any]:
    meta = pod["metadata"]
    bound = (meta.get("annotations") or {}).get("twin/bound-at") or meta["creationTimestamp"]
    age_s = (now - datetime.fromisoformat(bound).astimezone(UTC)).total_seconds()
    found = []
    for container in pod["spec"]["containers"]:
        limits = (container.get("resources") or {}).get("limits") or {}
        fares = containers.life(containers.knobs_of(container), age_s)
        shares = {"cpu": fares.cpu, "memory": fares.memory}
        usage = {name: _amount(name, shares[name] * placing.amount(limits[name])) for name in shares if name in limits}
        found.append({"name": container["name"], "usage": usage})
    named = {"name": meta["name"], "namespace": meta["namespace"], "labels": meta.get("labels") or {}}
    return {"metadata": named, "timestamp": stamp(now), "window": WINDOW, "containers": found}


def _amount(resource: str, value: float) -> str:
    return f"{value * 1e9:.0f}n" if resource == "cpu" else f"{value / 1024:.0f}Ki"
