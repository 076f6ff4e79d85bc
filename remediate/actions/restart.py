"""Restart: a rollout of the same template for a workload, or one pod of an owner that makes a new one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from remediate.actions.base import CannotAct, Left, Mark, Outcome, called, fenced, target_of
from remediate.actions.field import FieldChange, Wish
from remediate.actions.pods import controller_of, gone
from remediate.cluster import Cluster, Object
from remediate.plan import Step

RESTARTED = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
NOTHING = "a restart leaves nothing to go back to"


class Restart(FieldChange):
    name = "restart"
    rules = (
        ("", "pods", "get"),
        ("", "pods/eviction", "create"),
        *(("apps", resource, "get patch") for resource in ("deployments", "statefulsets", "daemonsets")),
    )
    declared = False
    pointers = (RESTARTED,)

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        at = target_of(target)
        if at.kind != "Pod":
            return super().prepare(cluster, target, parameters)
        if controller_of(target) is None:
            raise CannotAct("the pod has no owner that would make a new one")
        cluster.evict(at.name, at.namespace, uid=at.uid, dry=True)
        return Step(action=self.name, target=at, summary=f"evict {called(at)}; its owner makes a new one")

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        if target["kind"] not in WORKLOADS:
            raise CannotAct(f"a {target['kind']} cannot be restarted")
        if target["spec"].get("paused"):
            raise CannotAct("its rollout is paused; resume it first")
        meta, now = target["metadata"], datetime.now(UTC).isoformat(timespec="seconds")
        return Wish(
            thing=target,
            values={RESTARTED: now},
            summary=f"restart the pods of {target['kind']} {meta['namespace']}/{meta['name']} in turn",
            parameters={"to": now},
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        at = step.target
        if at.kind != "Pod":
            return super().apply(cluster, step, mark)
        found = cluster.get("Pod", at.name, at.namespace)
        if found is None or gone(found, at.uid):
            raise CannotAct(f"{called(at)} is not there any more")
        fenced(found, mark.fencing)
        cluster.evict(at.name, at.namespace, uid=at.uid)
        return Outcome(ok=True, detail="evicted")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        at = step.target
        if at.kind != "Pod":
            return super().observe(cluster, step, action_id)
        if gone(cluster.get("Pod", at.name, at.namespace), at.uid):
            return Outcome(ok=True, detail="the pod is gone or going")
        return None

    def settled(self, cluster: Cluster, step: Step) -> str:
        at = step.target
        if at.kind != "Pod":
            return super().settled(cluster, step)
        found = cluster.get("Pod", at.name, at.namespace)
        return f"Pod {at.name} is still ending" if found and found["metadata"]["uid"] == at.uid else ""

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left(nothing=NOTHING)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail=NOTHING)
