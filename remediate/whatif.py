"""What a plan would lead to, tried on what the cluster says of itself before anybody is asked: does it fit?

Looked at before a plan is proposed: whether new pods, larger pods or pods that move find a place on nodes, and whether
quotas let them in. What does not fit at all is not proposed; what fits in part is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import islice

import msgspec

from graph_schema.quantities import parse
from remediate.actions.zone import without
from remediate.cluster import Cluster, ClusterError, Object, match_labels
from remediate.placement import ENDED, RESOURCES, Rooms, requests_of
from remediate.plan import Step, Target

FEW = 4
"""Nodes that are asked about one by one before all are."""


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


class Lately:
    """The nodes as they were when all of them were looked at last. It tells where to look first and decides nothing."""

    def __init__(self) -> None:
        self._then: tuple[Rooms, list[str]] = Rooms((), ()), []

    def seen(self, rooms: Rooms) -> None:
        self._then = rooms.copy(), rooms.emptiest()

    def likely(self, pods: _Pods) -> list[str]:
        """A few nodes that would have taken the first of the pods then, the emptiest first."""
        rooms, names = self._then
        return list(islice(rooms.takers(pods.specs[0], names, pods.not_on), FEW))


def look_ahead(
    cluster: Cluster, steps: Sequence[Step], objects: Sequence[Object] = (), lately: Lately | None = None
) -> Forecast:
    """`objects`: targets of the steps as they are, where they are known; `lately`: kept from one look to the next.

    A few nodes are asked about first: pods that find a place there fit, whatever the others are like. All nodes and
    pods of the cluster, which takes seconds in a large one, are asked for when they do not.

    Raises `ClusterError` when nodes or pods cannot be listed."""
    known = {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in objects}

    def there(at: Target) -> Object | None:
        return known.get((at.kind, at.namespace, at.name)) or cluster.get(at.kind, at.name, at.namespace)

    everything = _Everything(cluster, lately or Lately())
    lines: list[str] = []
    short = ""
    for step in steps:
        pods = _looking_for_a_place(cluster, step, there)
        if pods is None:
            continue
        line, fits = _fit(cluster, pods, everything)
        quota = _over_quota(cluster, pods) if pods.new else ""
        lines += filter(None, (line, quota))
        if (not fits or quota) and not everything.lost(pods.not_on):
            short = short or lines[-1]
    return Forecast(lines=tuple(lines), short=short)


class _Everything:
    """All nodes and pods of the cluster, asked for when they are needed and once."""

    def __init__(self, cluster: Cluster, lately: Lately) -> None:
        self._cluster, self.lately = cluster, lately
        self._rooms: Rooms | None = None

    @property
    def rooms(self) -> Rooms:
        if self._rooms is None:
            self._rooms = Rooms(self._cluster.list("Node"), self._cluster.list("Pod"))
            self.lately.seen(self._rooms)
        return self._rooms.copy()

    def lost(self, names: Sequence[str]) -> bool:
        """Whether one of these nodes is not ready: pods there serve nobody, so waiting for a place makes nothing
        worse."""
        return bool(names) and any(self.rooms.lost(name) for name in names)


def _fit(cluster: Cluster, pods: _Pods, everything: _Everything) -> tuple[str, bool]:
    """Whether the pods find a place, in words, and whether at least one does (or none looks for one)."""
    total = len(pods.specs)
    if not total:
        return "", True
    few = _among_few(cluster, pods, everything.lately)
    if few is not None:
        return f"all {total} {pods.what} fit{_fullest(few, 'fullest node that was looked at')}", True
    rooms = everything.rooms
    for pod in pods.instead:
        rooms.give_back(pod)
    left = [spec for spec in pods.specs if not rooms.take(spec, pods.not_on)]
    if not left:
        return f"all {total} {pods.what} fit{_fullest(rooms, 'fullest node')}", True
    fits = total - len(left)
    return f"{fits} of {total} {pods.what} fit: {rooms.why_not(left[0], pods.not_on)}", fits > 0


def _among_few(cluster: Cluster, pods: _Pods, lately: Lately) -> Rooms | None:
    """The few nodes that take all of them, asked about one after the other; None when those that were tried do not."""
    rooms, waiting = Rooms((), ()), list(pods.specs)
    for name in lately.likely(pods):
        for node in cluster.list("Node", fields=f"metadata.name={name}"):
            rooms.add(node, cluster.list("Pod", fields=f"spec.nodeName={name}"))
        for pod in pods.instead:
            if pod["spec"].get("nodeName") == name:
                rooms.give_back(pod)
        waiting = [spec for spec in waiting if not rooms.take(spec, pods.not_on)]
        if not waiting:
            return rooms
    return None


def _fullest(rooms: Rooms, called: str) -> str:
    name, share = rooms.fullest()
    return f"; the {called} ({name}) then has {share:.0%} asked for" if share else ""


def _looking_for_a_place(cluster: Cluster, step: Step, there: Callable[[Target], Object | None]) -> _Pods | None:
    at = step.target
    match step.action:
        case "scale-out" | "wake":
            return _more(there(at), step.parameters["to"] - step.parameters["was"], at.namespace)
        case "raise-hpa-maximum":
            scaled = ((there(at) or {}).get("spec") or {}).get("scaleTargetRef") or {}
            workload = cluster.get(scaled["kind"], scaled["name"], at.namespace) if scaled else None
            return _more(workload, step.parameters["to"] - step.parameters["was"], at.namespace)
        case "scale-up" if at.kind != "Pod" and (workload := there(at)) is not None:
            return _larger(cluster, step, workload)
        case "leave-zone" if (workload := there(at)) is not None:
            return _outside(cluster, step, workload)
        case "evict-pods":
            chosen = set(step.parameters["pods"])
            specs = tuple(
                _free(pod["spec"])
                for pod in cluster.list("Pod", fields=f"spec.nodeName={at.name}")
                if f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" in chosen
            )
            return _Pods("pods elsewhere", specs, "", not_on=(at.name,), new=False)
    return None


def _more(workload: Object | None, count: int, namespace: str) -> _Pods | None:
    if workload is None or count <= 0:
        return None
    return _Pods("new pods", (workload["spec"]["template"]["spec"],) * count, namespace)


def _larger(cluster: Cluster, step: Step, workload: Object) -> _Pods:
    """The pods of the new size in the place of the old ones, which go one after the other."""
    template = workload["spec"]["template"]["spec"]
    amounts = step.parameters["to"]
    containers = [
        {**each, "resources": amounts.get(each["name"], each.get("resources"))} for each in template["containers"]
    ]
    there = _pods_of(cluster, workload)
    larger = ({**template, "containers": containers},) * len(there)
    return _Pods("pods of the new size", larger, step.target.namespace, instead=there)


def _outside(cluster: Cluster, step: Step, workload: Object) -> _Pods:
    """The pods as they would be once they have left the zone."""
    template = workload["spec"]["template"]["spec"]
    moved = {**template, "affinity": without(template.get("affinity"), step.parameters["zone"])}
    there = _pods_of(cluster, workload)
    return _Pods("pods outside of the zone", (moved,) * len(there), step.target.namespace, instead=there, new=False)


def _pods_of(cluster: Cluster, workload: Object) -> tuple[Object, ...]:
    """Its pods that have not ended: only those take up room."""
    found = cluster.list("Pod", workload["metadata"]["namespace"], labels=match_labels(workload))
    return tuple(pod for pod in found if (pod.get("status") or {}).get("phase") not in ENDED)


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
