"""Cordon: no new pods on a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediate.actions.base import ACTION, CannotAct, Outcome, diff, fenced, fetch, marked, marks_of, target_of
from remediate.cluster import Cluster, Object
from remediate.plan import Step


class Cordon:
    name = "cordon"
    rules = (("", "nodes", "get patch"),)

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        if target["kind"] != "Node":
            raise CannotAct(f"a {target['kind']} cannot be cordoned")
        at = target_of(target)
        after = cluster.patch("Node", at.name, "", {"spec": {"unschedulable": True}}, dry=True)
        already = bool(target["spec"].get("unschedulable"))
        return Step(
            action=self.name,
            target=at,
            parameters={"already": already},
            summary=f"cordon Node {at.name}" + (" (it is already)" if already else ""),
            diff=diff(target, after),
        )

    def apply(self, cluster: Cluster, step: Step, action_id: str, fencing: int) -> Outcome:
        now = fetch(cluster, step)
        fenced(now, fencing)
        before = bool(now["spec"].get("unschedulable"))
        meta = marked(action_id, fencing)
        cluster.patch("Node", step.target.name, "", {"metadata": meta, "spec": {"unschedulable": True}})
        return Outcome(ok=True, detail="cordoned", undo={"unschedulable": before})

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        now = fetch(cluster, step)
        if marks_of(now).get(ACTION) != action_id or not now["spec"].get("unschedulable"):
            return None
        undo: dict[str, object] = {"unschedulable": bool(step.parameters.get("already"))}
        return Outcome(ok=True, detail="found done after an interruption", undo=undo)

    def settled(self, cluster: Cluster, step: Step) -> str:
        return "" if fetch(cluster, step)["spec"].get("unschedulable") else f"Node {step.target.name} takes pods again"

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        now = fetch(cluster, step)
        before = undo.get("unschedulable", step.parameters.get("already"))
        if marks_of(now).get(ACTION) != action_id or before:
            return Outcome(ok=True, detail="it was cordoned before, or never by this; left as it is")
        meta = {"annotations": {ACTION: None, "kt.io/undone": action_id}}
        cluster.patch("Node", step.target.name, "", {"metadata": meta, "spec": {"unschedulable": None}})
        return Outcome(ok=True, detail="uncordoned")
