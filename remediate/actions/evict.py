"""Evict pods: move a node's pods elsewhere through the Eviction API, which respects disruption budgets, in waves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from remediate.actions.base import CannotAct, Left, Mark, Outcome, fenced, fetch, rolled_out, target_of
from remediate.actions.pods import MIRROR, controller_of, serving, siblings_of
from remediate.blast import allowed_of
from remediate.cluster import Cluster, ClusterError, Object
from remediate.conditions import ready
from remediate.plan import Step

WORKLOADS = ("Deployment", "StatefulSet")
MOST_NAMED = 6
NOTHING = "pods that have moved stay where they are"


class EvictPods:
    name = "evict-pods"
    rules = (
        ("", "nodes", "get patch"),
        ("", "pods", "list delete"),
        ("", "pods/eviction", "create"),
        ("apps", "deployments", "list"),
        ("apps", "statefulsets", "list"),
    )
    declared = False

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """The pods of a node in the namespaces opted in; a node that does not answer has them forced off it."""
        if target["kind"] != "Node":
            raise CannotAct("pods are evicted from a Node")
        at = target_of(target)
        movable = _movable(cluster, at.name, parameters.get("namespaces", ()))
        held = [name for name, pod in sorted(movable.items()) if not _could_go(cluster, pod)]
        return Step(
            action=self.name,
            target=at,
            parameters={
                "namespaces": sorted(parameters.get("namespaces", ())),
                "pods": sorted(movable),
                "share": float(parameters.get("share", 1.0)),
            },
            summary=_summary(at.name, sorted(movable), held),
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        """One wave: of each workload as many pods of the plan as may be missing at once. Tells `later` while some are
        left; what a budget holds back is asked for again by the next wave."""
        node = fetch(cluster, step)
        fenced(node, mark.fencing)
        dead = not ready(node)
        moved, held, waiting = [], [], 0
        for pods in _by_owner(_left(cluster, step)).values():
            free = room(cluster, pods, step.parameters.get("share", 1.0))
            for pod in sorted(pods, key=lambda pod: (serving(pod), pod["metadata"]["name"])):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                if "deletionTimestamp" in pod["metadata"] and not dead:
                    continue
                if serving(pod) and free <= 0:
                    waiting += 1
                elif why := evicted(cluster, pod, force=dead):
                    held.append(f"{name} ({why})")
                else:
                    free -= 1 if serving(pod) else 0
                    moved.append(name)
        detail = f"moved {', '.join(moved) or 'nothing'}"
        if held or waiting:
            detail += f"; {waiting} wait for their siblings" if waiting else ""
            detail += f"; held back: {'; '.join(held)}" if held else ""
            return Outcome(ok=False, later=True, detail=detail)
        return Outcome(ok=True, detail=detail if moved else "moved nothing: no pod was left")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """Evicting is the same when done again: only what is still there is evicted."""
        if _left(cluster, step) or not step.parameters["pods"]:
            return None
        return Outcome(ok=True, detail="its pods have moved already")

    def settled(self, cluster: Cluster, step: Step) -> str:
        left = _left(cluster, step)
        if left:
            return f"{len(left)} pods are still on Node {step.target.name}"
        for namespace in sorted({key.partition("/")[0] for key in step.parameters["pods"]}):
            for kind in WORKLOADS:
                for thing in cluster.list(kind, namespace):
                    if waiting := rolled_out(thing):
                        return waiting
        return ""

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left(nothing=NOTHING)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail=NOTHING)


def _left(cluster: Cluster, step: Step) -> dict[str, Object]:
    there = _movable(cluster, step.target.name, step.parameters["namespaces"])
    return {name: pod for name, pod in there.items() if name in step.parameters["pods"]}


def _movable(cluster: Cluster, node: str, namespaces: Any) -> dict[str, Object]:
    """namespace/name → pod, of those that an owner makes anew elsewhere."""
    wanted, found = set(namespaces), dict[str, Object]()
    # Asked of the node, not of each namespace: there may be hundreds of them.
    for pod in cluster.list("Pod", fields=f"spec.nodeName={node}"):
        owner, meta = controller_of(pod), pod["metadata"]
        if meta["namespace"] not in wanted or not owner or owner["kind"] == "DaemonSet":
            continue
        if MIRROR not in (meta.get("annotations") or {}):
            found[f"{meta['namespace']}/{meta['name']}"] = pod
    return found


def _by_owner(pods: Mapping[str, Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = defaultdict(list)
    for pod in pods.values():
        found[(controller_of(pod) or {}).get("uid", "")].append(pod)
    return found


def room(cluster: Cluster, pods: list[Object], share: float) -> int:
    """How many serving pods of these one owner's may be taken away now."""
    everyone = [*siblings_of(cluster, pods[0]), pods[0]]
    missing = sum(1 for pod in everyone if not serving(pod))
    return allowed_of(len(everyone), share) - missing


def _could_go(cluster: Cluster, pod: Object) -> bool:
    meta = pod["metadata"]
    try:
        cluster.evict(meta["name"], meta["namespace"], uid=meta["uid"], dry=True)
    except ClusterError as error:
        return error.code != 429
    return True


def _summary(node: str, pods: Sequence[str], held: Sequence[str]) -> str:
    if not pods:
        return f"evict nothing from Node {node}: no pod of the namespaces opted in is on it"
    named = ", ".join(pods[:MOST_NAMED]) + (", …" if len(pods) > MOST_NAMED else "")
    budgets = f"; disruption budgets hold back now: {', '.join(held)}" if held else ""
    return f"evict {len(pods)} pods from Node {node} ({named}){budgets}"


def evicted(cluster: Cluster, pod: Object, *, force: bool) -> str:
    """Why it could not be evicted now; empty when it was, or is gone."""
    meta = pod["metadata"]
    try:
        if "deletionTimestamp" not in meta:
            cluster.evict(meta["name"], meta["namespace"], uid=meta["uid"])
        if force:
            # Its kubelet cannot confirm the end; the API server waits for it for ever unless told not to.
            cluster.delete("Pod", meta["name"], meta["namespace"], uid=meta["uid"], grace_s=0)
    except ClusterError as error:
        if error.code == 404:
            return ""
        if not error.later:
            raise
        return str(error)
    return ""
