"""Evict pods: move a node's pods elsewhere through the Eviction API, which respects disruption budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct, Outcome, rolled_out, target_of
from remediate.cluster import Cluster, ClusterError, Object
from remediate.plan import Step

MIRROR = "kubernetes.io/config.mirror"


class EvictPods:
    name = "evict-pods"
    rules = (
        ("", "nodes", "get patch"),
        ("", "pods", "list delete"),
        ("", "pods/eviction", "create"),
        ("apps", "deployments", "list"),
        ("apps", "statefulsets", "list"),
    )

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """The pods of a node in the namespaces opted in; a node that does not answer has them forced off it."""
        if target["kind"] != "Node":
            raise CannotAct("pods are evicted from a Node")
        at = target_of(target)
        movable = _movable(cluster, at.name, parameters.get("namespaces", ()))
        return Step(
            action=self.name,
            target=at,
            parameters={"namespaces": sorted(parameters.get("namespaces", ())), "pods": sorted(movable)},
            summary=f"evict {len(movable)} pods from Node {at.name} ({', '.join(sorted(movable)[:6])}"
            + (", …)" if len(movable) > 6 else ")"),
        )

    def apply(self, cluster: Cluster, step: Step, action_id: str, fencing: int) -> Outcome:
        """Evict each pod of the plan that is still there. What a budget holds back is tried again by the next visit."""
        moved, held = [], []
        dead = not _ready(cluster.get("Node", step.target.name) or {})
        for name, pod in sorted(_movable(cluster, step.target.name, step.parameters["namespaces"]).items()):
            if name not in step.parameters["pods"]:
                continue
            meta = pod["metadata"]
            try:
                if "deletionTimestamp" not in meta:
                    cluster.evict(meta["name"], meta["namespace"], uid=meta["uid"])
                if dead:
                    # Its kubelet cannot confirm the end; the API server waits for it for ever unless told not to.
                    cluster.delete("Pod", meta["name"], meta["namespace"], uid=meta["uid"], grace_s=0)
                moved.append(name)
            except ClusterError as error:
                if error.code == 404:
                    continue
                if not error.later:
                    raise
                held.append(f"{name} ({error})")
        if held:
            return Outcome(ok=False, detail=f"moved {len(moved)}, held back: {'; '.join(held)}")
        return Outcome(ok=True, detail=f"moved {', '.join(moved) or 'nothing: no pod was left'}")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """Evicting is the same when done again: only what is still there is evicted."""
        there = _movable(cluster, step.target.name, step.parameters["namespaces"])
        left = [name for name in step.parameters["pods"] if name in there]
        return None if left or not step.parameters["pods"] else Outcome(ok=True, detail="its pods have moved already")

    def settled(self, cluster: Cluster, step: Step) -> str:
        there = _movable(cluster, step.target.name, step.parameters["namespaces"])
        left = [name for name in step.parameters["pods"] if name in there]
        if left:
            return f"{len(left)} pods are still on Node {step.target.name}"
        for namespace in step.parameters["namespaces"]:
            for kind in ("Deployment", "StatefulSet"):
                for thing in cluster.list(kind, namespace):
                    if waiting := rolled_out(thing):
                        return waiting
        return ""

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail="pods that have moved stay where they are")


def _movable(cluster: Cluster, node: str, namespaces: Any) -> dict[str, Object]:
    """namespace/name → pod, of those that an owner makes anew elsewhere."""
    found: dict[str, Object] = {}
    for namespace in sorted(namespaces):
        for pod in cluster.list("Pod", namespace, fields=f"spec.nodeName={node}"):
            meta = pod["metadata"]
            owners = {owner["kind"] for owner in meta.get("ownerReferences", [])}
            if owners and "DaemonSet" not in owners and MIRROR not in (meta.get("annotations") or {}):
                found[f"{namespace}/{meta['name']}"] = pod
    return found


def _ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
