"""Disruption budgets: how many pods of a set may go now, and whether this one may."""

from __future__ import annotations

import math
from typing import Any

from twin import errors
from twin.api.selectors import labels_of, selects
from twin.objects import Object, Store


def share(value: Any, of: int, *, up: bool = True) -> int:
    """An int-or-percent; a percentage is of `of`, rounded up unless told otherwise."""
    if isinstance(value, str) and value.endswith("%"):
        exact = int(value[:-1]) * of / 100
        return math.ceil(exact) if up else math.floor(exact)
    return int(value)


def ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def status(store: Store, budget: Object) -> dict[str, int]:
    """The numbers of a budget's status, counted from the pods that are there now."""
    namespace, spec = budget["metadata"]["namespace"], budget["spec"]
    pods = [pod for pod in store.all("Pod", namespace) if selects(spec.get("selector"), labels_of(pod))]
    expected = _expected(store, namespace, pods)
    healthy = sum(1 for pod in pods if ready(pod) and "deletionTimestamp" not in pod["metadata"])
    if spec.get("minAvailable") is not None:
        desired = share(spec["minAvailable"], expected)
    else:
        desired = max(0, expected - share(spec.get("maxUnavailable", 0), expected))
    allowed = max(0, healthy - desired) if expected else 0
    return {
        "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected,
    }  # fmt: skip


def _expected(store: Store, namespace: str, pods: list[Object]) -> int:
    """What the controllers of these pods want; pods without a controller count themselves."""
    wanted, seen = 0, set()
    for pod in pods:
        owner = next((each for each in pod["metadata"].get("ownerReferences") or [] if each.get("controller")), None)
        controller = owner and owner["kind"] in ("ReplicaSet", "StatefulSet") and store.find(
            owner["kind"], owner["name"], namespace
        )  # fmt: skip
        if not controller:
            wanted += 1
        elif (root := _root(store, controller))["metadata"]["uid"] not in seen:
            seen.add(root["metadata"]["uid"])
            wanted += root["spec"].get("replicas", 1)
    return wanted


def _root(store: Store, controller: Object) -> Object:
    """The Deployment of a ReplicaSet, so that a rollout's two ReplicaSets do not count twice."""
    for owner in controller["metadata"].get("ownerReferences") or []:
        above = owner["kind"] == "Deployment" and store.find(
            "Deployment", owner["name"], controller["metadata"]["namespace"]
        )  # fmt: skip
        if above:
            return above
    return controller


def check_eviction(store: Store, pod: Object) -> None:
    """Raises 429 when a budget forbids it, 500 when two budgets govern the pod."""
    if (
        pod.get("status", {}).get("phase") in ("Pending", "Succeeded", "Failed")
        or "deletionTimestamp" in pod["metadata"]
    ):
        return
    governing = [
        each
        for each in store.all("PodDisruptionBudget", pod["metadata"]["namespace"])
        if selects(each["spec"].get("selector"), labels_of(pod))
    ]
    if len(governing) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise errors.ApiError(500, "InternalError", message)
    for budget in governing:
        _check(store, pod, budget)


def _check(store: Store, pod: Object, budget: Object) -> None:
    now = status(store, budget)
    if not ready(pod):
        always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        if always or (now["currentHealthy"] >= now["desiredHealthy"] and now["desiredHealthy"] > 0):
            return
    if now["disruptionsAllowed"] > 0:
        return
    text = (
        f"The disruption budget {budget['metadata']['name']} needs {now['desiredHealthy']} healthy pods and has "
        f"{now['currentHealthy']} currently"
    )
    raise errors.ApiError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        {"causes": [{"reason": "DisruptionBudget", "message": text}]},
    )
