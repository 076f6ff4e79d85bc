"""Restart: a rollout of the same template for a workload, or one pod of an owner that makes a new one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from remediate.actions.base import ACTION, CannotAct, Outcome, fenced, fetch, marked, marks_of, rolled_out, target_of
from remediate.cluster import Cluster, Object
from remediate.plan import Step

RESTARTED = "kubectl.kubernetes.io/restartedAt"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


class Restart:
    name = "restart"
    rules = (
        ("", "pods", "get"),
        ("", "pods/eviction", "create"),
        *(("apps", resource, "get patch") for resource in ("deployments", "statefulsets", "daemonsets")),
    )

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        at = target_of(target)
        if at.kind == "Pod":
            if not target["metadata"].get("ownerReferences"):
                raise CannotAct("the pod has no owner that would make a new one")
            cluster.evict(at.name, at.namespace, uid=at.uid, dry=True)
            return Step(
                action=self.name, target=at, summary=f"evict Pod {at.namespace}/{at.name}; its owner makes a new one"
            )
        if at.kind not in WORKLOADS:
            raise CannotAct(f"a {at.kind} cannot be restarted")
        return Step(
            action=self.name, target=at, summary=f"restart the pods of {at.kind} {at.namespace}/{at.name} in turn"
        )

    def apply(self, cluster: Cluster, step: Step, action_id: str, fencing: int) -> Outcome:
        at = step.target
        if at.kind == "Pod":
            cluster.evict(at.name, at.namespace, uid=at.uid)
            return Outcome(ok=True, detail="evicted")
        now = fetch(cluster, step)
        fenced(now, fencing)
        change = {
            "metadata": {**marked(action_id, fencing), "resourceVersion": now["metadata"]["resourceVersion"]},
            "spec": {"template": {"metadata": {"annotations": {RESTARTED: datetime.now(UTC).isoformat()}}}},
        }
        cluster.patch(at.kind, at.name, at.namespace, change)
        return Outcome(ok=True, detail="rolling restart begun")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        at = step.target
        if at.kind == "Pod":
            found = cluster.get("Pod", at.name, at.namespace)
            gone = found is None or found["metadata"]["uid"] != at.uid or "deletionTimestamp" in found["metadata"]
            return Outcome(ok=True, detail="the pod is gone or going") if gone else None
        done = marks_of(fetch(cluster, step)).get(ACTION) == action_id
        return Outcome(ok=True, detail="found done after an interruption") if done else None

    def settled(self, cluster: Cluster, step: Step) -> str:
        at = step.target
        if at.kind == "Pod":
            found = cluster.get("Pod", at.name, at.namespace)
            return f"Pod {at.name} is still ending" if found and found["metadata"]["uid"] == at.uid else ""
        return rolled_out(fetch(cluster, step))

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail="a restart leaves nothing to go back to")
