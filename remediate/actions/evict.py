"""Evict pods: move a node's pods elsewhere through the Eviction API, which respects disruption budgets, in waves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from remediate.actions.base import (
    CannotAct,
    Left,
    Mark,
    Outcome,
    fenced,
    fenced_beside,
    fetch,
    rolled_out,
    target_of,
)
from remediate.actions.pods import (
    MIRROR,
    belongs_to,
    controller_of,
    serving,
    siblings_of,
    workload_of,
    workloads_of,
)
from remediate.blast import allowed_of
from remediate.cluster import Cluster, ClusterError, Object
from remediate.conditions import ready
from remediate.granting import granting
from remediate.labels import selects
from remediate.plan import Step
from remediate.rights import DELETE, EVICT, Right, in_words, lacking
from remediate.shapes import BudgetSeen

MOST_NAMED = 6
KNOWN_S = 60.0
"""How old a yes to the question whether KT may move pods in a namespace may be for a plan; before the first one goes it
is asked anew."""
NOTHING = "pods that have moved stay where they are"


BUDGETS = ("policy", "poddisruptionbudgets", "list")
"""The right to see all budgets, which a plan for a node looks at."""


class EvictPods:
    name = "evict-pods"
    rules = (
        ("", "nodes", "get patch"),
        ("", "pods", "list delete"),
        ("", "pods/eviction", "create"),
        *(("apps", resource, "get") for resource in ("deployments", "statefulsets", "replicasets")),
    )
    declared = False

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """The pods of a node in the namespaces opted in where KT has the rights that it takes; all others stay, and the
        summary tells. A node that does not answer has them forced off it."""
        if target["kind"] != "Node":
            raise CannotAct("pods are evicted from a Node")
        at = target_of(target)
        there, opted_in = _movable(cluster, at.name), set(parameters.get("namespaces", ()))
        ours = {key: pod for key, pod in there.items() if _space(key) in opted_in}
        needed, spaces = _needed(dead=not ready(target)), {_space(key) for key in ours}
        without = lacking(cluster, needed, spaces, known_s=KNOWN_S)
        movable = {key: pod for key, pod in ours.items() if _space(key) not in without}
        if without and not movable:  # a node that is only closed helps none of those that suffer on it
            raise CannotAct(f"KT lacks rights: {in_words(without)}; {granting(without)}")
        held = _held(cluster, movable)
        return Step(
            action=self.name,
            target=at,
            parameters={
                "namespaces": sorted(opted_in - set(without)),
                "pods": sorted(movable),
                "owners": sorted({_owner(pod) for pod in movable.values()}),
                "share": float(parameters.get("share", 1.0)),
            },
            summary=_summary(at.name, sorted(movable), held, _staying(there, opted_in, without)),
            touches=workloads_of(cluster, movable.values()),
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        """One wave: of each workload as many pods of the plan as may be missing at once. Tells `later` while some are
        left; what a budget holds back is asked for again by the next wave."""
        node = fetch(cluster, step)
        fenced(node, mark.fencing)
        dead, left = not ready(node), _left(cluster, step)
        # Looked at before the first pod goes: a migration that could not be ended is not begun.
        if without := lacking(cluster, _needed(dead=dead), {_space(key) for key in left}):
            raise CannotAct(f"KT lacks rights by now: {in_words(without)}; no pod was moved; {granting(without)}")
        fenced_beside(cluster, sorted({belongs_to(pod) for pod in left.values()} & set(step.touches)), mark)
        gone, held, waiting = [], [], 0
        for pods in _by_owner(left).values():
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
                    gone.append(name)
        detail = f"moved {', '.join(gone) or 'nothing'}"
        if held or waiting:
            detail += f"; {waiting} wait for their siblings" if waiting else ""
            detail += f"; held back: {'; '.join(held)}" if held else ""
            return Outcome(ok=False, later=True, detail=detail)
        return Outcome(ok=True, detail=detail if gone else "moved nothing: no pod was left")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """Evicting is the same when done again: only what is still there is evicted."""
        if _left(cluster, step) or not step.parameters["pods"]:
            return None
        return Outcome(ok=True, detail="its pods have moved already")

    def settled(self, cluster: Cluster, step: Step) -> str:
        left = _left(cluster, step)
        if left:
            return f"{len(left)} pods are still on Node {step.target.name}"
        return next((waiting for each in moved(cluster, step) if (waiting := rolled_out(each))), "")

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left(nothing=NOTHING)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail=NOTHING)


def moved(cluster: Cluster, step: Step) -> list[Object]:
    """The Deployments and StatefulSets whose pods the step moves, as they are now; those that are gone are left out."""
    found: dict[str, Object] = {}
    for owner in step.parameters.get("owners", ()):
        kind, namespace, name = owner.split("/")
        thing = cluster.get(kind, name, namespace) if kind in ("ReplicaSet", "StatefulSet") else None
        if thing is not None and kind == "ReplicaSet":
            thing = workload_of(cluster, thing)
        elif thing is not None:
            thing = {**thing, "kind": kind}
        if thing is not None and thing["kind"] in ("Deployment", "StatefulSet"):
            found[thing["metadata"]["uid"]] = thing
    return list(found.values())


def _left(cluster: Cluster, step: Step) -> dict[str, Object]:
    chosen = set(step.parameters["pods"])
    return {name: pod for name, pod in _movable(cluster, step.target.name).items() if name in chosen}


def _movable(cluster: Cluster, node: str) -> dict[str, Object]:
    """namespace/name → pod, of those that an owner makes anew elsewhere."""
    found = dict[str, Object]()
    # Asked of the node, not of each namespace: there may be hundreds of them.
    for pod in cluster.list("Pod", fields=f"spec.nodeName={node}"):
        owner, meta = controller_of(pod), pod["metadata"]
        if not owner or owner["kind"] == "DaemonSet":
            continue
        if MIRROR not in (meta.get("annotations") or {}):
            found[f"{meta['namespace']}/{meta['name']}"] = pod
    return found


def _space(key: str) -> str:
    return key.partition("/")[0]


def _owner(pod: Object) -> str:
    """`ReplicaSet/shop/cart-5d8f`."""
    owner = controller_of(pod) or {}
    return f"{owner.get('kind', '')}/{pod['metadata']['namespace']}/{owner.get('name', '')}"


def _needed(*, dead: bool) -> tuple[Right, ...]:
    """What moving a pod takes: from a node that does not answer it has to be forced."""
    return (EVICT, DELETE) if dead else (EVICT,)


def _staying(there: Collection[str], opted_in: Collection[str], without: Mapping[str, str]) -> str:
    """What stays on the node though its owner would make it anew elsewhere, and why; empty when nothing does."""
    refused = sum(1 for key in there if _space(key) in without)
    others = sum(1 for key in there if _space(key) not in opted_in)
    told = [f"{refused} where KT lacks rights ({in_words(without)})"] if refused else []
    told += [f"{others} in namespaces that are not opted in"] if others else []
    return f"; pods that stay: {', '.join(told)}" if told else ""


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


def _held(cluster: Cluster, pods: Mapping[str, Object]) -> list[str]:
    """Those that a disruption budget lets nobody evict now. Each eviction would tell as well, tried dry, but a node has
    many pods. Where KT may not see budgets it is told when they are asked to go."""
    try:
        full = [
            each for each in cluster.list_as("PodDisruptionBudget", BudgetSeen) if not each.status.disruptionsAllowed
        ]
    except ClusterError as error:
        if error.code in (403, 404):
            return []
        raise
    return sorted(
        key
        for key, pod in pods.items()
        if serving(pod)
        and any(
            each.metadata.namespace == _space(key) and selects(each.spec.selector, pod["metadata"].get("labels") or {})
            for each in full
        )
    )


def _summary(node: str, pods: Sequence[str], held: Sequence[str], staying: str) -> str:
    if not pods:
        return f"evict nothing from Node {node}: no pod on it is KT's to move{staying}"
    named = ", ".join(pods[:MOST_NAMED]) + (", …" if len(pods) > MOST_NAMED else "")
    budgets = f"; disruption budgets hold back now: {', '.join(held)}" if held else ""
    return f"evict {len(pods)} pods from Node {node} ({named}){budgets}{staying}"


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
