"""What every action is: prepared against the cluster as it is, applied under an id, found again by it, undone."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import yaml

from remediate.cluster import Cluster, Object
from remediate.plan import Step, Target

ACTION = "kt.io/action"
"""Annotation with the id of the action that last changed the object: how a crash in between is resolved by looking."""
FENCING = "kt.io/fencing"
UNDONE = "kt.io/undone"
"""Annotation with the id of the action that was undone on the object."""


class CannotAct(Exception):
    """The action does not fit what is there now. `later`: it may when asked again."""

    def __init__(self, why: str, *, later: bool = False) -> None:
        super().__init__(why)
        self.later = later


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    detail: str = ""
    undo: dict[str, object] = {}
    """What undoing needs to know."""


class Action(Protocol):
    """One kind of change. All methods raise `ClusterError` when the API server does not do it."""

    @property
    def name(self) -> str: ...

    @property
    def rules(self) -> tuple[tuple[str, str, str], ...]:
        """What it must be allowed: (API group, resource, verbs separated by spaces); see `kt rbac --act`."""
        ...

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """The step with everything resolved, tried dry. Raises `CannotAct`."""
        ...

    def apply(self, cluster: Cluster, step: Step, action_id: str, fencing: int) -> Outcome: ...

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """What became of it if it was done already; None when it was not, or not wholly."""
        ...

    def settled(self, cluster: Cluster, step: Step) -> str:
        """Why its effect has not fully arrived yet; empty when it has."""
        ...

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome: ...


def target_of(thing: Object) -> Target:
    meta = thing["metadata"]
    return Target(
        kind=thing["kind"],
        name=meta["name"],
        namespace=meta.get("namespace", ""),
        uid=meta.get("uid", ""),
        resource_version=meta.get("resourceVersion", ""),
        generation=meta.get("generation", 0),
    )


def fetch(cluster: Cluster, step: Step) -> Object:
    """The step's object as it is now; one of another uid is another object. Raises `CannotAct`."""
    target = step.target
    found = cluster.get(target.kind, target.name, target.namespace)
    if found is None or (target.uid and found["metadata"].get("uid") != target.uid):
        raise CannotAct(f"{target.kind} {target.namespace}/{target.name} is not there any more")
    return {"kind": target.kind, **found}


def marks_of(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("annotations") or {}


def marked(action_id: str, fencing: int) -> Object:
    """The annotations of an object that an action is about to change."""
    return {"annotations": {ACTION: action_id, FENCING: str(fencing)}}


def fenced(thing: Object, fencing: int) -> None:
    """Raises `CannotAct` when somebody with a later right has changed the object since."""
    last = marks_of(thing).get(FENCING, "")
    if last.isdigit() and int(last) > fencing:
        raise CannotAct("a later holder of this target has acted on it; this one stands back")


def diff(before: Object, after: Object) -> str:
    """Unified diff of two versions, without what every write changes."""
    old, new = _text(before), _text(after)
    return "".join(difflib.unified_diff(old, new, "now", "planned", n=2))


def _text(thing: Object) -> list[str]:
    meta = {key: value for key, value in thing["metadata"].items() if key in ("name", "namespace", "annotations")}
    meta["annotations"] = {
        key: value
        for key, value in (meta.get("annotations") or {}).items()
        if not key.endswith("last-applied-configuration")
    }
    return yaml.safe_dump({"metadata": meta, "spec": thing.get("spec", {})}, sort_keys=True).splitlines(keepends=True)


def rolled_out(thing: Object) -> str:
    """Why a workload's rollout has not ended yet; empty when all wanted replicas are new and available."""
    spec, status = thing.get("spec", {}), thing.get("status", {})
    name = f"{thing['kind']} {thing['metadata'].get('namespace', '')}/{thing['metadata']['name']}"
    if status.get("observedGeneration", 0) < thing["metadata"].get("generation", 0):
        return f"{name} is not yet seen by its controller"
    if thing["kind"] == "DaemonSet":
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
        updated = status.get("updatedNumberScheduled", 0)
    else:
        wanted, ready, updated = (
            spec.get("replicas", 1),
            status.get("readyReplicas", 0),
            status.get("updatedReplicas", 0),
        )
    if updated < wanted or ready < wanted or status.get("replicas", wanted) > wanted:
        return f"{name}: {ready} of {wanted} replicas ready, {updated} updated"
    return ""
