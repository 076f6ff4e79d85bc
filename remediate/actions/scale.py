"""Scale out: more replicas of a Deployment or StatefulSet, within a limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from graph_schema.model import HistoryEntry, entity_id
from remediate.actions.base import CannotAct
from remediate.actions.field import FieldChange, Wish
from remediate.actions.hpa import scaler_of
from remediate.cluster import Cluster, Object

SCALABLE = ("Deployment", "StatefulSet")
LATELY = timedelta(hours=1)
"""How long ago somebody may have taken replicas away for their former number to be the one to go back to."""


class ScaleOut(FieldChange):
    name = "scale-out"
    rules = (
        ("apps", "deployments", "get patch"),
        ("apps", "statefulsets", "get patch"),
        ("autoscaling", "horizontalpodautoscalers", "list"),
    )
    pointers = ("/spec/replicas",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """`factor` times the replicas, at least one more, or as many as before somebody took some away; never above
        `max_replicas`. `history`: entity → its versions, the oldest first; `now`: in ISO 8601."""
        if target["kind"] not in SCALABLE:
            raise CannotAct(f"a {target['kind']} cannot be scaled")
        meta = target["metadata"]
        scaler = scaler_of(cluster, target)
        if scaler is not None:
            name = scaler["metadata"]["name"]
            raise CannotAct(f"HorizontalPodAutoscaler {name} owns its replicas; raise its maximum")
        now = int(target["spec"].get("replicas", 1))
        most = int(parameters.get("max_replicas", 20))
        before = _before(target, now, parameters)
        wanted = min(max(now + 1, math.ceil(now * float(parameters.get("factor", 1.5))), before), most)
        if wanted <= now:
            raise CannotAct(f"it has {now} replicas, the limit is {most}")
        return Wish(
            thing=target,
            values={"/spec/replicas": wanted},
            summary=f"scale {target['kind']} {meta['namespace']}/{meta['name']} from {now} to {wanted} replicas"
            + (", as many as before" if wanted == before else ""),
            parameters={"to": wanted},
        )


def _before(target: Object, now: int, parameters: Mapping[str, Any]) -> int:
    """How many replicas it had before the last change of their number, where that was lately or left none; else 0."""
    history: Callable[[str], list[HistoryEntry]] | None = parameters.get("history")
    if history is None:
        return 0
    meta = target["metadata"]
    versions = history(entity_id(target["kind"], meta["name"], meta["namespace"]))
    since: datetime | None = None
    for version in reversed(versions):
        count = version.entity.properties.get("replicas") if version.entity else None
        if not isinstance(count, int):
            return 0
        if count != now:
            lately = since is not None and datetime.fromisoformat(parameters["now"]) - since <= LATELY
            return count if not now or lately else 0
        since = version.at
    return 0
