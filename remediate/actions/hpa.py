"""Raise a HorizontalPodAutoscaler's maximum: where one owns the replicas of a workload, it is asked, not fought."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct
from remediate.actions.field import FieldChange, Wish
from remediate.cluster import Cluster, Object

SCALER = "HorizontalPodAutoscaler"


class RaiseHpaMaximum(FieldChange):
    name = "raise-hpa-maximum"
    rules = (
        ("autoscaling", "horizontalpodautoscalers", "get list patch"),
        ("apps", "deployments", "get"),
        ("apps", "statefulsets", "get"),
    )
    pointers = ("/spec/maxReplicas",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """`factor` times the maximum, at least one more, never above `max_replicas`.

        The target is the autoscaler, or the workload that it scales. Only one that stands at its maximum is raised."""
        scaler = target if target["kind"] == SCALER else scaler_of(cluster, target)
        if scaler is None:
            raise CannotAct("no HorizontalPodAutoscaler scales it")
        meta, now = scaler["metadata"], int(scaler["spec"]["maxReplicas"])
        scaled = scaler["spec"]["scaleTargetRef"]
        wants = int((scaler.get("status") or {}).get("desiredReplicas") or 0)
        if wants < now:
            raise CannotAct(f"{SCALER} {meta['name']} wants {wants} replicas, below its maximum of {now}")
        most = int(parameters.get("max_replicas", 20))
        wanted = min(max(now + 1, math.ceil(now * float(parameters.get("factor", 1.5)))), most)
        if wanted <= now:
            raise CannotAct(f"its maximum is {now}, the limit is {most}")
        return Wish(
            thing=scaler,
            values={"/spec/maxReplicas": wanted},
            summary=f"raise the maximum of {SCALER} {meta['namespace']}/{meta['name']} from {now} to {wanted} replicas",
            parameters={"to": wanted},
            touches=(f"{scaled['kind']}/{meta['namespace']}/{scaled['name']}",),
        )


def scaler_of(cluster: Cluster, workload: Object) -> Object | None:
    """The autoscaler that owns the replicas of a workload."""
    meta = workload["metadata"]
    for scaler in cluster.list(SCALER, meta.get("namespace", "")):
        scaled = scaler["spec"]["scaleTargetRef"]
        if (scaled.get("kind"), scaled.get("name")) == (workload["kind"], meta["name"]):
            return scaler
    return None
