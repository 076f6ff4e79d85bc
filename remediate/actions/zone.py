"""Leave a zone: new pods of a workload anywhere but in one zone, and the present ones moved by its own rollout."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct
from remediate.actions.field import FieldChange, Values, Wish
from remediate.cluster import Cluster, Object
from remediate.conditions import ready

ZONE = "topology.kubernetes.io/zone"
AFFINITY = "/spec/template/spec/affinity"
KINDS = ("Deployment", "StatefulSet")


class LeaveZone(FieldChange):
    name = "leave-zone"
    rules = (
        *(("apps", resource, "get patch") for resource in ("deployments", "statefulsets")),
        ("", "nodes", "list"),
        ("", "pods", "list"),
    )
    pointers = (AFFINITY,)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """`zone`: which one; without it the one where most of its pods stand on nodes that are not ready or closed."""
        if target["kind"] not in KINDS:
            raise CannotAct(f"a {target['kind']} cannot be kept out of a zone")
        if target["spec"].get("paused"):
            raise CannotAct("its rollout is paused; resume it first")
        nodes = cluster.list("Node")
        zone = str(parameters.get("zone") or _sick_zone(cluster, target, nodes))
        others = {_zone(node) for node in nodes if _zone(node) and _usable(node)} - {zone}
        if zone not in {_zone(node) for node in nodes}:
            raise CannotAct(f"no node is in zone {zone}")
        if not others:
            raise CannotAct(f"no node outside of zone {zone} takes pods")
        before = target["spec"]["template"]["spec"].get("affinity")
        after = without(before, zone)
        if after == before:
            raise CannotAct(f"it keeps out of zone {zone} already")
        meta = target["metadata"]
        return Wish(
            thing=target,
            values={AFFINITY: after},
            summary=f"move {target['kind']} {meta['namespace']}/{meta['name']} out of zone {zone} "
            f"(to {', '.join(sorted(others))})",
            parameters={"to": after, "zone": zone},
        )

    def remember_was(self, thing: Object) -> Any:
        return self.digest({AFFINITY: thing["spec"]["template"]["spec"].get("affinity")})

    def said(self, values: Values) -> str:
        out = _excluded(values[AFFINITY])
        return f"anywhere but in {', '.join(out)}" if out else "in any zone"


def without(affinity: Object | None, zone: str) -> Object:
    """An affinity that keeps out of one zone more. Terms are alternatives, so each of them has to say so."""
    made: Object = copy.deepcopy(affinity or {})
    required = made.setdefault("nodeAffinity", {}).setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    if not required.get("nodeSelectorTerms"):
        required["nodeSelectorTerms"] = [{}]
    for term in required["nodeSelectorTerms"]:
        expressions = term.setdefault("matchExpressions", [])
        mine = next((each for each in expressions if (each["key"], each["operator"]) == (ZONE, "NotIn")), None)
        if mine is None:
            expressions.append({"key": ZONE, "operator": "NotIn", "values": [zone]})
        elif zone not in mine["values"]:
            mine["values"] = sorted([*mine["values"], zone])
    return made


def _excluded(affinity: Object | None) -> list[str]:
    node = (affinity or {}).get("nodeAffinity") or {}
    terms = (node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    return sorted(
        {
            value
            for term in terms
            for each in term.get("matchExpressions") or []
            if (each["key"], each["operator"]) == (ZONE, "NotIn")
            for value in each["values"]
        }
    )


def _sick_zone(cluster: Cluster, workload: Object, nodes: list[Object]) -> str:
    sick = {node["metadata"]["name"]: _zone(node) for node in nodes if _zone(node) and not _usable(node)}
    wanted = workload["spec"]["selector"].get("matchLabels") or {}
    labels = ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))
    pods = cluster.list("Pod", workload["metadata"]["namespace"], labels=labels)
    found = Counter(sick[name] for pod in pods if (name := pod["spec"].get("nodeName", "")) in sick)
    if not found:
        raise CannotAct("none of its pods stands in a zone with a sick node; name the zone")
    return min(found, key=lambda zone: (-found[zone], zone))


def _zone(node: Object) -> str:
    return str((node["metadata"].get("labels") or {}).get(ZONE, ""))


def _usable(node: Object) -> bool:
    return ready(node) and not node["spec"].get("unschedulable")
