"""Expand a volume: a larger request of a PersistentVolumeClaim whose class lets it grow. It never shrinks again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph_schema.quantities import parse, plain, raised
from remediate.actions.base import CannotAct, Left, Outcome, fetch
from remediate.actions.field import FieldChange, Values, Wish
from remediate.cluster import Cluster, Object
from remediate.plan import Step

REQUEST = "/spec/resources/requests/storage"
MOST = "100Gi"
NOTHING = "a volume cannot be made smaller again; it stays as large as it is"


class ExpandVolume(FieldChange):
    name = "expand-volume"
    rules = (("", "persistentvolumeclaims", "get patch"), ("storage.k8s.io", "storageclasses", "get"))
    pointers = (REQUEST,)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """`factor` times the request, never above `max_size`."""
        if target["kind"] != "PersistentVolumeClaim":
            raise CannotAct(f"a {target['kind']} has no volume of its own")
        meta, spec = target["metadata"], target["spec"]
        if (target.get("status") or {}).get("phase") != "Bound":
            raise CannotAct("it is not bound to a volume, so there is nothing that could grow")
        name = spec.get("storageClassName") or ""
        found = cluster.get("StorageClass", name) if name else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise CannotAct(f"its storage class ({name or 'none'}) does not let volumes grow")
        now = spec["resources"]["requests"]["storage"]
        most = parameters.get("max_size", MOST)
        wanted = raised("storage", now, float(parameters.get("factor", 1.5)), most)
        if parse(wanted) <= parse(now):
            raise CannotAct(f"it asks for {now}, the limit is {most}")
        return Wish(
            thing=target,
            values={REQUEST: wanted},
            summary=f"expand PersistentVolumeClaim {meta['namespace']}/{meta['name']} from {now} to {wanted}; "
            "a volume cannot be made smaller again",
            parameters={"to": wanted},
        )

    def compared(self, values: Values) -> Values:
        return plain(values)

    def settled(self, cluster: Cluster, step: Step) -> str:
        now = fetch(cluster, step)
        there = (now.get("status") or {}).get("capacity", {}).get("storage", "0")
        wanted = step.parameters["to"]
        return "" if parse(there) >= parse(wanted) else f"the volume of {step.target.name} has {there} of {wanted}"

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left(nothing=NOTHING)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail=NOTHING)
