"""Whether pods would find a place: what nodes have left, and which of them would take a pod. Pure.

The rules of the Kubernetes scheduler that decide whether a pod can run at all (docs, kube-scheduler: filtering):
requests against what is allocatable, the number of pods, node selectors and required node affinity, taints and
tolerations. Which of the nodes that would do it takes is its own affair; filling the emptiest first is a fair guess.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from graph_schema.quantities import parse
from remediate.cluster import Object
from remediate.conditions import ready

RESOURCES = ("cpu", "memory")
ENDED = ("Succeeded", "Failed")


class Rooms:
    """What every node has left. `take` uses it up."""

    def __init__(self, nodes: Iterable[Object], pods: Iterable[Object]) -> None:
        self._nodes: dict[str, Object] = {}
        self._left: dict[str, dict[str, Decimal]] = {}
        self.offered: dict[str, dict[str, Decimal]] = {}
        for node in nodes:
            self.add(node)
        self._occupy(pods)

    def add(self, node: Object, pods: Iterable[Object] = ()) -> None:
        """One more node, and the pods on it."""
        name, offered = node["metadata"]["name"], (node.get("status") or {}).get("allocatable") or {}
        self._nodes[name] = _slim(node)
        self.offered[name] = {key: parse(offered[key]) for key in (*RESOURCES, "pods") if key in offered}
        self._left[name] = dict(self.offered[name])
        self._occupy(pods)

    def _occupy(self, pods: Iterable[Object]) -> None:
        for pod in pods:
            node_name = pod["spec"].get("nodeName", "")
            if node_name in self._left and (pod.get("status") or {}).get("phase") not in ENDED:
                self._use(node_name, pod["spec"], 1)

    def take(self, spec: Object, without: Sequence[str] = ()) -> str:
        """The node that a pod of this spec would get, its room used up; empty when none would take it."""
        asked = requests_of(spec)
        fitting = [name for name in self._nodes if name not in without and not self._objection(name, spec, asked)]
        if not fitting:
            return ""
        chosen: str = max(fitting, key=lambda name: (self._share_left(name), name))
        self._use(chosen, spec, 1)
        return chosen

    def takers(self, spec: Object, names: Iterable[str], without: Sequence[str] = ()) -> Iterator[str]:
        """Of these nodes those that would take a pod of this spec."""
        asked = requests_of(spec)
        return (name for name in names if name not in without and not self._objection(name, spec, asked))

    def emptiest(self) -> list[str]:
        """All nodes, those with the highest share left first."""
        return sorted(self._nodes, key=lambda name: (self._share_left(name), name), reverse=True)

    def give_back(self, pod: Object) -> None:
        """Room that a pod leaves behind."""
        if pod["spec"].get("nodeName", "") in self._left:
            self._use(pod["spec"]["nodeName"], pod["spec"], -1)

    def copy(self) -> Rooms:
        """The same, to be used up apart from this one."""
        other = Rooms((), ())
        other._nodes, other.offered = dict(self._nodes), dict(self.offered)
        other._left = {name: dict(left) for name, left in self._left.items()}
        return other

    def fullest(self) -> tuple[str, float]:
        """The node with the highest share of its processor or memory asked for, and that share."""
        shares = {name: 1 - self._share_left(name) for name in self._nodes if self.offered[name]}
        name = max(shares, key=lambda each: (shares[each], each), default="")
        return name, shares.get(name, 0.0)

    def lost(self, name: str) -> bool:
        """Whether a node is there and not ready."""
        return name in self._nodes and not ready(self._nodes[name])

    def load(self, name: str) -> float:
        """The higher share of a node's processor or memory that is asked for."""
        return 1 - self._share_left(name)

    def why_not(self, spec: Object, without: Sequence[str] = ()) -> str:
        """Why no node takes a pod of this spec, the commonest reason first with the number of nodes."""
        asked = requests_of(spec)
        reasons: dict[str, int] = defaultdict(int)
        for name in self._nodes:
            if name not in without:
                reasons[self._objection(name, spec, asked) or "takes it"] += 1
        ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        return ", ".join(f"{count} of the nodes: {why}" for why, count in ranked) or "there is no other node"

    def _objection(self, name: str, spec: Object, asked: Mapping[str, Decimal]) -> str:
        """Why a node does not take a pod of this spec, which asks for so much; empty when it does."""
        node, left = self._nodes[name], self._left[name]
        labels = node["metadata"].get("labels") or {}
        if node["spec"].get("unschedulable"):
            return "closed to new pods"
        if not ready(node):
            return "not ready"
        if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
            return "other labels than it selects"
        if not _wanted(spec, labels):
            return "outside of its affinity"
        for taint in node["spec"].get("taints") or []:
            if taint["effect"] != "PreferNoSchedule" and not _tolerated(taint, spec.get("tolerations") or []):
                return f"tainted {taint['key']}"
        for resource, amount in asked.items():
            if resource in left and amount > left[resource]:
                return f"too little {resource} left"
        return "no room for another pod" if left.get("pods", Decimal(1)) < 1 else ""

    def _use(self, name: str, spec: Object, times: int) -> None:
        left = self._left[name]
        for resource, amount in (*requests_of(spec).items(), ("pods", Decimal(1))):
            if resource in left:
                left[resource] -= amount * times

    def _share_left(self, name: str) -> float:
        shares = [
            float(self._left[name][key] / offered)
            for key, offered in self.offered[name].items()
            if offered and key != "pods"
        ]
        return min(shares, default=1.0)


def _slim(node: Object) -> Object:
    """What decides about pods: a node's status is mostly a list of images."""
    meta, spec = node["metadata"], node.get("spec") or {}
    return {
        "metadata": {"name": meta["name"], "labels": meta.get("labels")},
        "spec": {key: spec[key] for key in ("unschedulable", "taints") if key in spec},
        "status": {"conditions": (node.get("status") or {}).get("conditions")},
    }


def requests_of(spec: Object) -> dict[str, Decimal]:
    """What a pod asks for: the sum of its containers, or one init container where that asks for more (Kubernetes docs,
    init containers: resource sharing)."""
    found: dict[str, Decimal] = {}
    for resource in RESOURCES:
        each = [_asked(container, resource) for container in spec.get("containers") or []]
        before = [_asked(container, resource) for container in spec.get("initContainers") or []]
        if total := max(sum(each, Decimal(0)), *before, Decimal(0)):
            found[resource] = total
    return found


def _asked(container: Object, resource: str) -> Decimal:
    resources = container.get("resources") or {}
    given = (resources.get("requests") or {}).get(resource) or (resources.get("limits") or {}).get(resource)
    return parse(given) if given else Decimal(0)


def _tolerated(taint: Object, tolerations: Sequence[Object]) -> bool:
    for each in tolerations:
        same_effect = not each.get("effect") or each["effect"] == taint["effect"]
        anything = not each.get("key") and each.get("operator") == "Exists"
        value = each.get("operator") == "Exists" or each.get("value", "") == taint.get("value", "")
        if same_effect and (anything or (each.get("key") == taint["key"] and value)):
            return True
    return False


def _wanted(spec: Object, labels: dict[str, str]) -> bool:
    """Whether required node affinity takes a node of these labels; its terms are alternatives."""
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    return any(
        all(_holds(each, labels) for each in term.get("matchExpressions") or [])
        for term in affinity.get("nodeSelectorTerms") or []
    )


def _holds(expression: Object, labels: dict[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(values[0])
        case "Lt":
            return value is not None and int(value) < int(values[0])
    return False
