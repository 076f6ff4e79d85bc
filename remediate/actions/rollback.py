"""Roll back: a workload's pod template as it was in the revision before the present one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct, marks_of
from remediate.actions.field import FieldChange, Values, Wish
from remediate.cluster import Cluster, Object
from remediate.plan import Step

REVISION = "deployment.kubernetes.io/revision"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
TEMPLATE = "/spec/template"


class RollBack(FieldChange):
    name = "roll-back"
    rules = (
        *(("apps", resource, "get patch") for resource in ("deployments", "statefulsets", "daemonsets")),
        ("apps", "replicasets", "list"),
        ("apps", "controllerrevisions", "list"),
    )
    pointers = (TEMPLATE,)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        if target["spec"].get("paused"):
            raise CannotAct("its rollout is paused; resume it first")
        revisions = _revisions(cluster, target)
        if not revisions:
            raise CannotAct(f"no revision of {target['kind']} {target['metadata']['name']} is kept")
        current = max(revisions)
        now = _program(revisions[current])
        earlier = [number for number, template in revisions.items() if number < current and _program(template) != now]
        if not earlier:
            raise CannotAct(f"there is no revision before {current} to go back to")
        to, meta = max(earlier), target["metadata"]
        images = ", ".join(container["image"] for container in revisions[to]["spec"]["containers"])
        name = f"{target['kind']} {meta['namespace']}/{meta['name']}"
        return Wish(
            thing=target,
            values={TEMPLATE: revisions[to]},
            summary=f"roll {name} back from revision {current} to {to} ({images})",
            parameters={"from": current, "to": to},
        )

    def wanted(self, cluster: Cluster, step: Step, thing: Object) -> Values:
        found = _revisions(cluster, thing).get(int(step.parameters["to"]))
        if found is None:
            raise CannotAct(f"revision {step.parameters['to']} is not kept any more")
        return {TEMPLATE: found}

    def remember(self, step: Step, before: Values) -> object:
        return {"revision": step.parameters["from"]}

    def recall(self, cluster: Cluster, thing: Object, kept: Any) -> Values | None:
        found = _revisions(cluster, thing).get(int(kept["revision"])) if isinstance(kept, dict) else None
        return {TEMPLATE: found} if found else None

    def remember_was(self, thing: Object) -> Any:
        return ", ".join(container["image"] for container in thing["spec"]["template"]["spec"]["containers"])

    def plain(self, values: Values) -> Values:
        return {TEMPLATE: _clean(values[TEMPLATE])}

    def said(self, values: Values) -> str:
        return ", ".join(container["image"] for container in values[TEMPLATE]["spec"]["containers"])


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


def _program(template: Object) -> Object:
    """A template without the mark of a restart: one that differs in nothing else is no other program to go back to."""
    meta = template["metadata"]
    kept = {key: value for key, value in (meta.get("annotations") or {}).items() if key != RESTARTED}
    return {**template, "metadata": {**meta, "annotations": kept}}


def _clean(template: Object) -> Object:
    """A template without what controllers add to it."""
    cleaned = copy.deepcopy(template)
    cleaned.pop("$patch", None)
    meta = cleaned.setdefault("metadata", {})
    (meta.get("labels") or {}).pop("pod-template-hash", None)
    if meta.get("creationTimestamp", "") is None:
        del meta["creationTimestamp"]
    return cleaned
