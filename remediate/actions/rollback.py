"""Roll back: a workload's pod template as it was in the revision before the present one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from remediate.actions.base import (
    ACTION,
    FENCING,
    UNDONE,
    CannotAct,
    Outcome,
    diff,
    fenced,
    fetch,
    marks_of,
    rolled_out,
    target_of,
)
from remediate.cluster import Cluster, Object, Patch
from remediate.plan import Step

REVISION = "deployment.kubernetes.io/revision"
BEFORE = "kt.io/template-before"
"""Annotation with the number of the revision that was left, so that an undo after a crash finds it."""


class RollBack:
    name = "roll-back"
    rules = (
        *(("apps", resource, "get patch") for resource in ("deployments", "statefulsets", "daemonsets")),
        ("apps", "replicasets", "list"),
        ("apps", "controllerrevisions", "list"),
    )

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        revisions = _revisions(cluster, target)
        if not revisions:
            raise CannotAct(f"no revision of {target['kind']} {target['metadata']['name']} is kept")
        current = max(revisions)
        earlier = [
            number for number, template in revisions.items() if number < current and template != revisions[current]
        ]
        if not earlier:
            raise CannotAct(f"there is no revision before {current} to go back to")
        to = max(earlier)
        at = target_of(target)
        after = cluster.patch(at.kind, at.name, at.namespace, _replace(target, revisions[to], {}), dry=True)
        images = ", ".join(container["image"] for container in revisions[to]["spec"]["containers"])
        return Step(
            action=self.name,
            target=at,
            parameters={"from": current, "to": to},
            summary=f"roll {at.kind} {at.namespace}/{at.name} back from revision {current} to {to} ({images})",
            diff=diff(target, after),
        )

    def apply(self, cluster: Cluster, step: Step, action_id: str, fencing: int) -> Outcome:
        now = fetch(cluster, step)
        fenced(now, fencing)
        revisions = _revisions(cluster, {"kind": step.target.kind, **now})
        wanted = revisions.get(int(step.parameters["to"]))
        if wanted is None:
            raise CannotAct(f"revision {step.parameters['to']} is not kept any more")
        marks = {ACTION: action_id, FENCING: str(fencing), BEFORE: str(step.parameters["from"])}
        cluster.patch(step.target.kind, step.target.name, step.target.namespace, _replace(now, wanted, marks))
        detail = f"revision {step.parameters['from']} → {step.parameters['to']}"
        return Outcome(ok=True, detail=detail, undo={"template": now["spec"]["template"]})

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        if marks_of(fetch(cluster, step)).get(ACTION) != action_id:
            return None
        return Outcome(ok=True, detail="found done after an interruption")

    def settled(self, cluster: Cluster, step: Step) -> str:
        return rolled_out(fetch(cluster, step))

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        now = fetch(cluster, step)
        if marks_of(now).get(ACTION) != action_id:
            return Outcome(ok=True, detail="it had taken no effect, or somebody has changed it since; left as it is")
        template = undo.get("template") or _template_left(cluster, now)
        if not isinstance(template, dict):
            return Outcome(ok=False, detail="the template before is not known any more")
        cluster.patch(
            step.target.kind,
            step.target.name,
            step.target.namespace,
            _replace(now, template, {UNDONE: action_id}, ACTION),
        )
        return Outcome(ok=True, detail=f"back to the template of revision {step.parameters['from']}")


def _template_left(cluster: Cluster, now: Object) -> Object | None:
    number = marks_of(now).get(BEFORE, "")
    return _revisions(cluster, now).get(int(number)) if number.isdigit() else None


def _revisions(cluster: Cluster, target: Object) -> dict[int, Object]:
    """Revision number → pod template, of those that the cluster keeps."""
    meta = target["metadata"]
    if target["kind"] == "Deployment":
        owned = _owned(cluster.list("ReplicaSet", meta["namespace"]), meta["uid"])
        return {int(marks_of(each).get(REVISION, "0")): _clean(each["spec"]["template"]) for each in owned}
    if target["kind"] in ("StatefulSet", "DaemonSet"):
        owned = _owned(cluster.list("ControllerRevision", meta["namespace"]), meta["uid"])
        return {int(each["revision"]): _clean(each["data"]["spec"]["template"]) for each in owned}
    raise CannotAct(f"a {target['kind']} has no revisions")


def _owned(things: list[Object], uid: str) -> list[Object]:
    return [
        each for each in things if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences", []))
    ]


def _clean(template: Object) -> Object:
    """A template without what controllers add to it."""
    cleaned = copy.deepcopy(template)
    cleaned.pop("$patch", None)
    (cleaned["metadata"].get("labels") or {}).pop("pod-template-hash", None)
    return cleaned


def _replace(now: Object, template: Object, marks: Mapping[str, str], unmark: str = "") -> Patch:
    """A JSON Patch that holds only for the version looked at: merging would leave added keys behind."""
    kept = {key: value for key, value in marks_of(now).items() if key != unmark}
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": now["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": {**kept, **marks}},
    ]
