"""The guard: every plan passes it, when it is made and again right before it acts. It only ever says no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from remediate.cluster import Cluster, Object
from remediate.plan import Step

OPT_IN = "kt.io/remediate"
ACTED_AT = "kt.io/acted-at"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What operators allow."""

    cooldown_s: float = 300.0
    max_share_of_nodes: float = 0.34
    max_replicas: int = 20


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """Why a plan may not be carried out; `later`: it may be when asked again."""

    why: str
    later: bool = False


class Guard:
    def __init__(self, cluster: Cluster, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self.limits = limits
        self._clock = clock

    def opted_in(self) -> list[str]:
        """The namespaces whose owners let KT act in them."""
        spaces = self._cluster.list("Namespace", labels=f"{OPT_IN}=enabled")
        return sorted(space["metadata"]["name"] for space in spaces)

    def objection(self, steps: Iterable[Step], objects: Iterable[Object]) -> Objection | None:
        """The first reason against, if there is one."""
        opted_in = frozenset(self.opted_in())
        for step in steps:
            if step.target.namespace and step.target.namespace not in opted_in:
                why = (
                    f"namespace {step.target.namespace} is not opted in (label it {OPT_IN}=enabled to let KT act there)"
                )
                return Objection(why=why)
            if step.target.kind == "Node":
                found = self._too_many_nodes(step)
                if found:
                    return found
            if step.action == "evict-pods" and not set(step.parameters.get("namespaces", ())) <= opted_in:
                return Objection(why="pods of namespaces that are not opted in would be moved")
        for thing in objects:
            found = self._too_soon(thing)
            if found:
                return found
        return None

    def _too_soon(self, thing: Object) -> Objection | None:
        at = (thing["metadata"].get("annotations") or {}).get(ACTED_AT, "")
        try:
            age = (self._clock() - datetime.fromisoformat(at)).total_seconds()
        except (ValueError, TypeError):
            return None
        if 0 <= age < self.limits.cooldown_s:
            left = self.limits.cooldown_s - age
            return Objection(
                why=f"KT acted on it {age:.0f} s ago; it is left alone for another {left:.0f} s", later=True
            )
        return None

    def _too_many_nodes(self, step: Step) -> Objection | None:
        nodes = self._cluster.list("Node")
        out = {node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable") or not ready(node)}
        out.add(step.target.name)
        # One node of a small cluster is always allowed, as long as another one stands.
        allowed = max(1, int(self.limits.max_share_of_nodes * len(nodes)))
        if len(out) > allowed or len(out) >= len(nodes):
            why = f"{len(out)} of {len(nodes)} nodes would be out ({', '.join(sorted(out))}); the limit is {allowed}"
            return Objection(why=why)
        return None


def ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
