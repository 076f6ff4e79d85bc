"""Where a pod may stand: selectors and affinity, taints and tolerations, room (Kubernetes docs, scheduler)."""

from __future__ import annotations

from typing import Any

from twin.api.selectors import labels_of, selects
from twin.objects import Object, Store

POD_LIMIT = 40
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def fitting(store: Store, pod: Object) -> list[Object]:
    """The nodes that would take a pod now."""
    return [node for node in store.all("Node") if _takes(node, pod) and _room(store, node, pod)]


def amount(text: Any) -> float:
    """A quantity in cores or bytes."""
    value = str(text)
    for unit, factor in _UNITS.items():
        if value.endswith(unit):
            return float(value[: -len(unit)]) * factor
    return float(value[:-1]) / 1000 if value.endswith("m") else float(value)


def _takes(node: Object, pod: Object) -> bool:
    spec, labels = pod["spec"], labels_of(node)
    if node["spec"].get("unschedulable") or not selects({"matchLabels": spec.get("nodeSelector") or {}}, labels):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if required and not any(selects(term, labels) for term in required["nodeSelectorTerms"]):
        return False
    taints = [each for each in node["spec"].get("taints") or [] if each["effect"] in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(each, taint) for each in spec.get("tolerations") or []) for taint in taints)


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint.get("value", ""))


def _room(store: Store, node: Object, pod: Object) -> bool:
    name, offered = node["metadata"]["name"], (node.get("status") or {}).get("allocatable") or {}
    here = [
        each
        for each in store.all("Pod")
        if each["spec"].get("nodeName") == name and each["status"].get("phase") not in ("Succeeded", "Failed")
    ]
    if len(here) >= POD_LIMIT:
        return False
    return all(
        _asked(pod, resource) + sum(_asked(each, resource) for each in here) <= amount(offered[resource]) + 1e-9
        for resource in ("cpu", "memory")
        if resource in offered and _asked(pod, resource)
    )


def _asked(pod: Object, resource: str) -> float:
    found = [(each.get("resources") or {}).get("requests") or {} for each in pod["spec"]["containers"]]
    return sum(amount(each[resource]) for each in found if resource in each)
