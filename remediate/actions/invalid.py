"""Terminate invalid containers: of one workload the pods that fail and will not recover by themselves, in waves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from remediate.actions.base import CannotAct, Mark, Outcome, called, fenced, fetch, target_of
from remediate.actions.evict import evicted, room
from remediate.actions.pods import (
    MIRROR,
    chosen_left,
    controller_of,
    must_be_allowed,
    serving,
    siblings_of,
    workload_of,
)
from remediate.cluster import Cluster, ClusterError, Object
from remediate.containers_seen import seen
from remediate.placement import Rooms
from remediate.plan import Step
from remediate.quantities import parse
from remediate.rights import EVICT
from remediate.termination import Policy, Verdict, judge

TIER = "kt.io/tier"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
ENDING = ("terminate", "restart")
"""Decisions that end a pod: a container alone cannot be started again from outside."""
METRICS = "PodMetrics"


class TerminateInvalid:
    name = "terminate-invalid"
    rules = (
        *(("apps", resource, "get") for resource in ("deployments", "statefulsets", "daemonsets", "replicasets")),
        ("", "pods", "get list"),
        ("", "pods/eviction", "create"),
        ("", "nodes", "list"),
        ("metrics.k8s.io", "pods", "list"),
    )
    declared = False

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """`policy`: what differs from the built-in thresholds and weights; `now`: the time, RFC 3339; `share`: of its
        pods that may be missing at once. How much containers use is left out where there is no metrics API."""
        at = target_of(target)
        if at.kind not in WORKLOADS:
            raise CannotAct(f"a {at.kind} has no containers to look through; {', '.join(WORKLOADS)} have")
        policy = msgspec.convert(parameters.get("policy") or {}, Policy)
        now = datetime.fromisoformat(parameters["now"]) if "now" in parameters else datetime.now(UTC)
        tier = _tier(cluster, target, str(parameters.get("tier_label", TIER)))
        pods, verdicts = {}, []
        for pod, verdict in _judged(cluster, target, policy, tier, now):
            meta = pod["metadata"]
            verdicts.append(verdict)
            if verdict.decision in ENDING:
                pods[f"{meta['namespace']}/{meta['name']}"] = {"uid": meta["uid"], "why": verdict.why}
        if not pods:
            worst = max(verdicts, key=lambda each: each.score, default=None)
            raise CannotAct("none of its containers is invalid" + (f": {worst.why}" if worst else ""))
        must_be_allowed(cluster, EVICT, at.namespace)
        said = "; ".join(f"{key.partition('/')[2]}: {each['why']}" for key, each in list(pods.items())[:4])
        return Step(
            action=self.name,
            target=at,
            parameters={"pods": pods, "share": float(parameters.get("share", 1.0)), "namespaces": [at.namespace]},
            summary=f"end {len(pods)} invalid of {len(verdicts)} pods of {called(at)} ({said})",
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        """One wave; a pod that serves waits until enough others do, and what a budget holds back is asked for again."""
        fenced(fetch(cluster, step), mark.fencing)
        done, waiting = [], []
        for key, pod in chosen_left(cluster, step.parameters["pods"]):
            fenced(pod, mark.fencing)
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

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail="pods that were ended have successors; there is nothing to go back to")


def _judged(
    cluster: Cluster, workload: Object, policy: Policy, tier: int | None, now: datetime
) -> Iterator[tuple[Object, Verdict]]:
    """Each pod of a workload with the verdict of its worst container."""
    namespace, uid = workload["metadata"]["namespace"], workload["metadata"]["uid"]
    nodes, usage = cluster.list("Node"), _usage(cluster, namespace)
    mine = []
    for pod in cluster.list("Pod", namespace):
        owner = controller_of(pod) and workload_of(cluster, pod)
        if owner and owner["metadata"]["uid"] == uid and MIRROR not in (pod["metadata"].get("annotations") or {}):
            mine.append(pod)
    rooms = Rooms(nodes, cluster.list("Pod"))
    loads = {node["metadata"]["name"]: rooms.load(node["metadata"]["name"]) for node in nodes}
    for pod in mine:
        verdicts = [
            judge(each, policy)
            for each in seen(
                pod, now, tier=tier, siblings=sum(1 for each in siblings_of(cluster, pod) if serving(each)),
                load=loads.get(pod["spec"].get("nodeName", ""), 0.0), least=min(loads.values(), default=0.0),
                usage=usage,
            )
        ]  # fmt: skip
        if verdicts and "deletionTimestamp" not in pod["metadata"]:
            yield pod, max(verdicts, key=lambda each: (each.decision in ENDING, each.score))


def _usage(cluster: Cluster, namespace: str) -> dict[str, tuple[float | None, float | None]]:
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
    for pod in cluster.list("Pod", namespace):
        name = pod["metadata"]["name"]
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


def _tier(cluster: Cluster, workload: Object, label: str) -> int | None:
    """Of the workload, else of its namespace; one that cannot be read counts as the most important."""
    space = cluster.get("Namespace", workload["metadata"]["namespace"]) or {"metadata": {}}
    for each in (workload, space):
        told = (each["metadata"].get("labels") or {}).get(label)
        if told is not None:
            return int(told) if told.isdigit() else 0
    return None
