"""What a plan would lead to, tried on what the cluster says of itself before anybody is asked: does it fit?

Looked at before a plan is proposed: whether new pods, larger pods or pods that move find a place on nodes, and whether
quotas let them in. What does not fit at all is not proposed; what fits in part is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from remediate.actions.zone import without
from remediate.cluster import Cluster, ClusterError, Object
from remediate.conditions import ready
from remediate.placement import RESOURCES, Rooms, requests_of
from remediate.plan import Step
from remediate.quantities import parse


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """`lines`: what is to be expected, for the approver; `short`: why the plan would not do what it is for."""

    lines: tuple[str, ...] = ()
    short: str = ""


class _Pods(msgspec.Struct, frozen=True):
    """Pods that would be looking for a place. `instead`: those whose room they may use, since they go."""

    what: str
    specs: tuple[Object, ...]
    namespace: str
    not_on: tuple[str, ...] = ()
    instead: tuple[Object, ...] = ()
    new: bool = True
    """Whether they come on top of what is there, and so count against quotas."""


def look_ahead(cluster: Cluster, steps: Sequence[Step]) -> Forecast:
    """Raises `ClusterError` when nodes or pods cannot be listed."""
    found = [pods for step in steps if (pods := _looking_for_a_place(cluster, step))]
    if not found:
        return Forecast()
    nodes, everyone = cluster.list("Node"), cluster.list("Pod")
    lines: list[str] = []
    short = ""
    for pods in found:
        rooms = Rooms(nodes, everyone)
        for pod in pods.instead:
            rooms.give_back(pod)
        placed = [rooms.take(spec, pods.not_on) for spec in pods.specs]
        left = [spec for spec, node in zip(pods.specs, placed, strict=True) if not node]
        fits, total = len(placed) - len(left), len(placed)
        quota = _over_quota(cluster, pods) if pods.new else ""
        if left:
            lines.append(f"{fits} of {total} {pods.what} fit: {rooms.why_not(left[0], pods.not_on)}")
        elif total:
            name, share = rooms.fullest()
            full = f"; the fullest node ({name}) then has {share:.0%} asked for" if share else ""
            lines.append(f"all {total} {pods.what} fit{full}")
        if quota:
            lines.append(quota)
        # Pods on a node that is not ready serve nobody there: where they wait for a place makes nothing worse.
        lost = any(not ready(node) for node in nodes if node["metadata"]["name"] in pods.not_on)
        if ((total and not fits) or quota) and not lost:
            short = short or lines[-1]
    return Forecast(lines=tuple(lines), short=short)


def _looking_for_a_place(cluster: Cluster, step: Step) -> _Pods | None:
    at = step.target
    match step.action:
        case "scale-out" | "wake":
            workload = cluster.get(at.kind, at.name, at.namespace)
            return _more(workload, step.parameters["to"] - step.parameters["was"], at.namespace)
        case "raise-hpa-maximum":
            scaler = cluster.get(at.kind, at.name, at.namespace) or {}
            scaled = (scaler.get("spec") or {}).get("scaleTargetRef") or {}
            workload = cluster.get(scaled["kind"], scaled["name"], at.namespace) if scaled else None
            return _more(workload, step.parameters["to"] - step.parameters["was"], at.namespace)
        case "scale-up" if at.kind != "Pod":
            return _larger(cluster, step)
        case "leave-zone":
            workload = cluster.get(at.kind, at.name, at.namespace)
            if workload is None:
                return None
            template = workload["spec"]["template"]["spec"]
            moved = {**template, "affinity": without(template.get("affinity"), step.parameters["zone"])}
            there = tuple(_pods_of(cluster, workload))
            return _Pods("pods outside of the zone", (moved,) * len(there), at.namespace, instead=there, new=False)
        case "evict-pods":
            pods = [
                pod
                for key in step.parameters["pods"]
                if (pod := cluster.get("Pod", key.partition("/")[2], key.partition("/")[0])) is not None
            ]
            specs = tuple(_free(pod["spec"]) for pod in pods)
            return _Pods("pods elsewhere", specs, "", not_on=(at.name,), new=False)
    return None


def _more(workload: Object | None, count: int, namespace: str) -> _Pods | None:
    if workload is None or count <= 0:
        return None
    return _Pods("new pods", (workload["spec"]["template"]["spec"],) * count, namespace)


def _larger(cluster: Cluster, step: Step) -> _Pods | None:
    """The pods of the new size in the place of the old ones, which go one after the other."""
    at = step.target
    workload = cluster.get(at.kind, at.name, at.namespace)
    if workload is None:
        return None
    template = workload["spec"]["template"]["spec"]
    amounts = step.parameters["to"]
    containers = [
        {**each, "resources": amounts.get(each["name"], each.get("resources"))} for each in template["containers"]
    ]
    there = tuple(_pods_of(cluster, workload))
    larger = ({**template, "containers": containers},) * len(there)
    return _Pods("pods of the new size", larger, at.namespace, instead=there)


def _pods_of(cluster: Cluster, workload: Object) -> Iterable[Object]:
    wanted = workload["spec"]["selector"].get("matchLabels") or {}
    labels = ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))
    return cluster.list("Pod", workload["metadata"]["namespace"], labels=labels)


def _free(spec: Object) -> Object:
    return {key: value for key, value in spec.items() if key != "nodeName"}


def _over_quota(cluster: Cluster, pods: _Pods) -> str:
    """Which quota would not let them all in; empty when none objects."""
    try:
        quotas = cluster.list("ResourceQuota", pods.namespace)
    except ClusterError as error:
        return "" if error.code in (403, 404) else f"quotas cannot be read: {error}"
    asked: dict[str, Decimal] = {"pods": Decimal(len(pods.specs) - len(pods.instead))}
    for resource in RESOURCES:
        more = sum((requests_of(spec).get(resource, Decimal(0)) for spec in pods.specs), Decimal(0))
        less = sum((requests_of(pod["spec"]).get(resource, Decimal(0)) for pod in pods.instead), Decimal(0))
        asked[f"requests.{resource}"] = asked[resource] = more - less
    for quota in quotas:
        status = quota.get("status") or {}
        hard = status.get("hard") or quota["spec"].get("hard") or {}
        for name, most in sorted(hard.items()):
            used, more = parse((status.get("used") or {}).get(name, 0)), asked.get(name, Decimal(0))
            if more > 0 and used + more > parse(most):
                return f"quota {quota['metadata']['name']} lets in {name} {most}, {used + more:f} would be needed"
    return ""
