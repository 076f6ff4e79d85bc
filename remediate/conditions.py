"""Whether a pod or a node is ready, as its conditions tell. Pure."""

from __future__ import annotations

from remediate.cluster import Object


def ready(thing: Object) -> bool:
    """Of a pod or a node."""
    conditions = thing.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
