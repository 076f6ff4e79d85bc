"""Actions that end pods of a workload because of what their containers are like: looked through, chosen, in waves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from graph_schema.quantities import parse
from remediate.actions.base import CannotAct, Left, Mark, Outcome, fenced, fenced_beside, fetch, target_of
from remediate.actions.evict import evicted, room
from remediate.actions.pods import (
    MIRROR,
    belongs_to,
    chosen_left,
    controller_of,
    serving,
    siblings_of,
    workload_of,
    workloads_of,
)
from remediate.cluster import Cluster, ClusterError, Object, OneLook
from remediate.containers_seen import seen
from remediate.granting import granting
from remediate.placement import Rooms
from remediate.plan import Step, Target
from remediate.rights import EVICT, in_words, lacking
from remediate.termination import Policy, Verdict, judge

TIER = "kt.io/tier"
METRICS = "PodMetrics"
ENDING = ("terminate", "restart")
"""Decisions that end a pod: a container alone cannot be started again from outside."""
MOST_SAID = 4


class Judged(msgspec.Struct, frozen=True):
    """A pod with the verdict of its worst container."""

    pod: Object
    verdict: Verdict

    @property
    def key(self) -> str:
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"


class EndsJudged(ABC):
    """Concrete actions say which pods they end (`chosen`) and how they call it."""

    name: str
    rules = (
        *(("apps", resource, "get") for resource in ("deployments", "statefulsets", "daemonsets", "replicasets")),
        ("", "pods", "get list"),
        ("", "pods/eviction", "create"),
        ("", "nodes", "get list"),
        ("metrics.k8s.io", "pods", "list"),
    )
    declared = False
    targets: tuple[str, ...]
    nothing: str
    """What is said when there is nothing to go back to."""

    @abstractmethod
    def chosen(self, judged: Sequence[Judged], rooms: Rooms, policy: Policy) -> dict[str, dict[str, Any]]:
        """`namespace/name` of each pod to be ended → uid, `why`, and what else is worth keeping. Raises `CannotAct`."""

    @abstractmethod
    def said(self, at: Target, pods: Mapping[str, Mapping[str, Any]], of: int) -> str:
        """What is going to be done, in one line."""

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """`policy`: what differs from the built-in thresholds and weights; `now`: the time, RFC 3339; `share`: of a
        workload's pods that may be missing at once. How much containers use is left out where there is no metrics
        API."""
        at = target_of(target)
        if at.kind not in self.targets:
            raise CannotAct(f"a {at.kind} has no containers to look through; {', '.join(self.targets)} have")
        policy = msgspec.convert(parameters.get("policy") or {}, Policy)
        now = datetime.fromisoformat(parameters["now"]) if "now" in parameters else datetime.now(UTC)
        look = OneLook(cluster)
        rooms = Rooms(look.list("Node"), everyone := look.list("Pod"))
        mine = _of(look, target, everyone, parameters.get("namespaces", ()))
        without = lacking(cluster, (EVICT,), {pod["metadata"]["namespace"] for pod in mine})
        mine = [pod for pod in mine if pod["metadata"]["namespace"] not in without]
        if without and not mine:
            raise CannotAct(f"KT lacks rights: {in_words(without)}; {granting(without)}")
        judged = _judged(look, mine, rooms, policy, str(parameters.get("tier_label", TIER)), now)
        pods = self.chosen(judged, rooms, policy)
        staying = f"; KT lacks rights for others: {in_words(without)}" if without else ""
        return Step(
            action=self.name,
            target=at,
            parameters={
                "pods": pods,
                "share": float(parameters.get("share", 1.0)),
                "namespaces": sorted({key.partition("/")[0] for key in pods}),
            },
            summary=self.said(at, pods, len(judged)) + staying,
            touches=workloads_of(look, [each.pod for each in judged if each.key in pods]),
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        """One wave; a pod that serves waits until enough others do, and what a budget holds back is asked for again."""
        fenced(fetch(cluster, step), mark.fencing)
        fenced_beside(cluster, step.touches, mark)
        done, waiting = [], []
        for key, pod in chosen_left(cluster, step.parameters["pods"]):
            fenced(pod, mark.on(belongs_to(pod)).fencing)
            if "deletionTimestamp" in pod["metadata"]:
                continue
            if serving(pod) and room(cluster, [pod], step.parameters["share"]) <= 0:
                waiting.append(f"{key} (its siblings)")
            elif why := evicted(cluster, pod, force=False):
                waiting.append(f"{key} ({why})")
            else:
                done.append(key)
        detail = f"ended {', '.join(done) or 'nothing'}"
        if waiting:
            return Outcome(ok=False, later=True, detail=f"{detail}; waits for {'; '.join(waiting)}")
        return Outcome(ok=True, detail=detail)

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """Ending them is the same when done again: only those of the plan that are still there are ended."""
        staying = [
            key
            for key, pod in chosen_left(cluster, step.parameters["pods"])
            if "deletionTimestamp" not in pod["metadata"]
        ]
        return None if staying else Outcome(ok=True, detail="they are gone or going")

    def settled(self, cluster: Cluster, step: Step) -> str:
        left = [key for key, _ in chosen_left(cluster, step.parameters["pods"])]
        return f"still ending: {', '.join(left)}" if left else ""

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left(nothing=self.nothing)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail=self.nothing)


def none_of(judged: Sequence[Judged], what: str) -> CannotAct:
    """Why nothing is done, with the reason of the worst."""
    worst = max((each.verdict for each in judged), key=lambda verdict: verdict.score, default=None)
    return CannotAct(f"none of its containers {what}" + (f": {worst.why}" if worst else ""))


def reasons(pods: Mapping[str, Mapping[str, Any]]) -> str:
    """Of the first few, in words."""
    return "; ".join(f"{key.partition('/')[2]}: {each['why']}" for key, each in list(pods.items())[:MOST_SAID])


def _of(cluster: Cluster, target: Object, everyone: Sequence[Object], namespaces: Sequence[str]) -> list[Object]:
    """The pods that a plan for the target is about: a workload's, a Pod itself, a Node's in the namespaces opted in."""
    kind, meta = target["kind"], target["metadata"]
    if kind == "Pod":
        found = [target]
    elif kind == "Node":
        found = [
            pod
            for pod in everyone
            if pod["spec"].get("nodeName") == meta["name"] and pod["metadata"]["namespace"] in namespaces
        ]
    else:
        found = [
            pod
            for pod in everyone
            if pod["metadata"]["namespace"] == meta["namespace"]
            and (owner := workload_of(cluster, pod)) is not None
            and owner["metadata"]["uid"] == meta["uid"]
        ]
    return [
        pod for pod in found
        if controller_of(pod) and MIRROR not in (pod["metadata"].get("annotations") or {})
        and "deletionTimestamp" not in pod["metadata"]
    ]  # fmt: skip


def _judged(
    cluster: Cluster, mine: Sequence[Object], rooms: Rooms, policy: Policy, label: str, now: datetime
) -> list[Judged]:
    loads = {name: rooms.load(name) for name in rooms.offered}
    usage: dict[str, tuple[float | None, float | None]] = {}
    for space in sorted({pod["metadata"]["namespace"] for pod in mine}):
        usage |= _usage(cluster, space, mine)
    found = []
    for pod in mine:
        verdicts = [
            judge(each, policy)
            for each in seen(
                pod, now, tier=_tier(cluster, pod, label),
                siblings=sum(1 for each in siblings_of(cluster, pod) if serving(each)),
                load=loads.get(pod["spec"].get("nodeName", ""), 0.0), least=min(loads.values(), default=0.0),
                usage=usage,
            )
        ]  # fmt: skip
        if verdicts:
            worst = max(verdicts, key=lambda each: (each.decision in ENDING, each.decision == "move", each.score))
            found.append(Judged(pod, worst))
    return found


def _usage(cluster: Cluster, namespace: str, pods: Sequence[Object]) -> dict[str, tuple[float | None, float | None]]:
    """What containers use of their limits; empty where the cluster has no metrics API, or KT may not ask it."""
    try:
        measured = cluster.list(METRICS, namespace)
    except ClusterError as error:
        if error.code in (403, 404, 503):
            return {}
        raise
    used = {
        (each["metadata"]["name"], container["name"]): container["usage"]
        for each in measured
        for container in each.get("containers") or []
    }
    found: dict[str, tuple[float | None, float | None]] = {}
    for pod in pods:
        name = pod["metadata"]["name"]
        if pod["metadata"]["namespace"] != namespace:
            continue
        for container in pod["spec"]["containers"]:
            limits = (container.get("resources") or {}).get("limits") or {}
            uses = used.get((name, container["name"]), {})
            found[f"{namespace}/{name}/{container['name']}"] = (
                _share(uses, limits, "cpu"), _share(uses, limits, "memory"),
            )  # fmt: skip
    return found


def _share(uses: Mapping[str, str], limits: Mapping[str, str], resource: str) -> float | None:
    if resource not in uses or not limits.get(resource):
        return None
    return float(parse(uses[resource]) / parse(limits[resource]))


def _tier(cluster: Cluster, pod: Object, label: str) -> int | None:
    """Of the pod, else of its workload, else of its namespace; one that cannot be read counts as the most important."""
    space = cluster.get("Namespace", pod["metadata"]["namespace"])
    for each in (pod, workload_of(cluster, pod), space):
        told = ((each or {"metadata": {}})["metadata"].get("labels") or {}).get(label)
        if told is not None:
            return int(told) if told.isdigit() else 0
    return None
