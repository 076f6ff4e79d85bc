"""Scale out: more replicas of a Deployment or StatefulSet, within a limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct
from remediate.actions.field import FieldChange, Wish
from remediate.actions.hpa import scaler_of
from remediate.cluster import Cluster, Object

SCALABLE = ("Deployment", "StatefulSet")


class ScaleOut(FieldChange):
    name = "scale-out"
    rules = (
        ("apps", "deployments", "get patch"),
        ("apps", "statefulsets", "get patch"),
        ("autoscaling", "horizontalpodautoscalers", "list"),
    )
    pointers = ("/spec/replicas",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """`factor` times the replicas, at least one more, never above `max_replicas`."""
        if target["kind"] not in SCALABLE:
            raise CannotAct(f"a {target['kind']} cannot be scaled")
        meta = target["metadata"]
        scaler = scaler_of(cluster, target)
        if scaler is not None:
            name = scaler["metadata"]["name"]
            raise CannotAct(f"HorizontalPodAutoscaler {name} owns its replicas; raise its maximum")
        now = int(target["spec"].get("replicas", 1))
        most = int(parameters.get("max_replicas", 20))
        wanted = min(max(now + 1, math.ceil(now * float(parameters.get("factor", 1.5)))), most)
        if wanted <= now:
            raise CannotAct(f"it has {now} replicas, the limit is {most}")
        return Wish(
            thing=target,
            values={"/spec/replicas": wanted},
            summary=f"scale {target['kind']} {meta['namespace']}/{meta['name']} from {now} to {wanted} replicas",
            parameters={"to": wanted},
        )
