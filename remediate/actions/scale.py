"""Scale out: more replicas of a Deployment or StatefulSet, within a limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from remediate.actions.base import (
    ACTION,
    CannotAct,
    Outcome,
    diff,
    fenced,
    fetch,
    marked,
    marks_of,
    rolled_out,
    target_of,
)
from remediate.cluster import Cluster, Object
from remediate.plan import Step

SCALABLE = ("Deployment", "StatefulSet")


class ScaleOut:
    name = "scale-out"
    rules = (
        ("apps", "deployments", "get patch"),
        ("apps", "statefulsets", "get patch"),
        ("autoscaling", "horizontalpodautoscalers", "list"),
    )

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """`factor` times the replicas, at least one more, never above `max_replicas`."""
        if target["kind"] not in SCALABLE:
            raise CannotAct(f"a {target['kind']} cannot be scaled")
        self._owned_by_autoscaler(cluster, target)
        now = int(target["spec"].get("replicas", 1))
        most = int(parameters.get("max_replicas", 20))
        wanted = min(max(now + 1, math.ceil(now * float(parameters.get("factor", 1.5)))), most)
        if wanted <= now:
            raise CannotAct(f"it has {now} replicas, the limit is {most}")
        at = target_of(target)
        after = cluster.patch(at.kind, at.name, at.namespace, {"spec": {"replicas": wanted}}, dry=True)
        return Step(
            action=self.name,
            target=at,
            parameters={"replicas": wanted},
            summary=f"scale {at.kind} {at.namespace}/{at.name} from {now} to {wanted} replicas",
            diff=diff(target, after),
        )

    def apply(self, cluster: Cluster, step: Step, action_id: str, fencing: int) -> Outcome:
        now = fetch(cluster, step)
        fenced(now, fencing)
        before = int(now["spec"].get("replicas", 1))
        meta = marked(action_id, fencing)
        meta["annotations"]["kt.io/replicas-before"] = str(before)
        meta["resourceVersion"] = now["metadata"]["resourceVersion"]
        change = {"metadata": meta, "spec": {"replicas": step.parameters["replicas"]}}
        cluster.patch(step.target.kind, step.target.name, step.target.namespace, change)
        return Outcome(ok=True, detail=f"{before} → {step.parameters['replicas']} replicas", undo={"replicas": before})

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        marks = marks_of(fetch(cluster, step))
        if marks.get(ACTION) != action_id:
            return None
        before = int(marks.get("kt.io/replicas-before", "0"))
        return Outcome(ok=True, detail="found done after an interruption", undo={"replicas": before} if before else {})

    def settled(self, cluster: Cluster, step: Step) -> str:
        return rolled_out(fetch(cluster, step))

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        now = fetch(cluster, step)
        marks = marks_of(now)
        if marks.get(ACTION) != action_id:
            return Outcome(ok=True, detail="it had taken no effect, or somebody has changed it since; left as it is")
        before = undo.get("replicas") or int(marks.get("kt.io/replicas-before", "0"))
        if not before:
            return Outcome(ok=False, detail="it is not known how many replicas there were")
        meta = {"annotations": {ACTION: None, "kt.io/undone": action_id, "kt.io/replicas-before": None}}
        change = {"metadata": meta, "spec": {"replicas": before}}
        cluster.patch(step.target.kind, step.target.name, step.target.namespace, change)
        return Outcome(ok=True, detail=f"back to {before} replicas")

    def _owned_by_autoscaler(self, cluster: Cluster, target: Object) -> None:
        meta = target["metadata"]
        for scaler in cluster.list("HorizontalPodAutoscaler", meta.get("namespace", "")):
            scaled = scaler["spec"]["scaleTargetRef"]
            if (scaled.get("kind"), scaled.get("name")) == (target["kind"], meta["name"]):
                raise CannotAct(
                    f"HorizontalPodAutoscaler {scaler['metadata']['name']} owns its replicas; raise its maximum"
                )
