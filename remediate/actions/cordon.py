"""Cordon: no new pods on a node. Uncordon: pods again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct, fetch
from remediate.actions.field import FieldChange, Wish
from remediate.cluster import Cluster, Object
from remediate.plan import Step


class Cordon(FieldChange):
    name = "cordon"
    rules = (("", "nodes", "get patch"),)
    pointers = ("/spec/unschedulable",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        return _wish(target, "cordon", True)

    def settled(self, cluster: Cluster, step: Step) -> str:
        return "" if fetch(cluster, step)["spec"].get("unschedulable") else f"Node {step.target.name} takes pods again"


class Uncordon(FieldChange):
    name = "uncordon"
    rules = (("", "nodes", "get patch"),)
    pointers = ("/spec/unschedulable",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        wish = _wish(target, "uncordon", None)
        conditions = target.get("status", {}).get("conditions", [])
        if not any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            raise CannotAct(f"Node {target['metadata']['name']} is not ready; it would get pods that it cannot run")
        return wish

    def settled(self, cluster: Cluster, step: Step) -> str:
        return f"Node {step.target.name} takes no pods" if fetch(cluster, step)["spec"].get("unschedulable") else ""


def _wish(target: Object, what: str, value: bool | None) -> Wish:
    if target["kind"] != "Node":
        raise CannotAct(f"a {target['kind']} cannot be {what}ed")
    already = bool(target["spec"].get("unschedulable")) == bool(value)
    return Wish(
        thing=target,
        values={"/spec/unschedulable": value},
        summary=f"{what} Node {target['metadata']['name']}" + (" (it is already)" if already else ""),
        parameters={"to": value},
    )
