"""What every action is: prepared against the cluster as it is, applied under an id, found again by it, undone."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec
import yaml

from remediate.cluster import PATHS, Cluster, Object
from remediate.limits import Limits
from remediate.plan import Difference, Step, Target, lease_of

ACTION = "kt.io/action"
"""Annotation with the id of the action that last changed the object: how a crash in between is resolved by looking."""
FENCING = "kt.io/fencing"
ACTED_AT = "kt.io/acted-at"
"""Annotation with the time of that action: what the cooldown counts from. Written together with the effect."""
UNDONE = "kt.io/undone"
"""Annotation with the id of the action that was undone on the object."""
MARKS = "kt.io/"
NOT_ANYBODYS_DOING = ("deployment.kubernetes.io/", "deprecated.daemonset.template.generation", MARKS)
"""Annotations that controllers and KT itself keep: no part of what an action changes."""


class CannotAct(Exception):
    """The action does not fit what is there now. `later`: it may when asked again."""

    def __init__(self, why: str, *, later: bool = False) -> None:
        super().__init__(why)
        self.later = later


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: the action's id, the fencing token of its right to the target, and when (RFC 3339)."""

    action: str
    fencing: int
    at: str
    rights: Mapping[str, int] = {}
    """The tokens of all that the plan touches, by the name of the lease: those of two things are not to be compared."""

    def on(self, thing: str) -> Mark:
        """The same on another thing that the step touches (`Kind/namespace/name`), under the right to that one."""
        return msgspec.structs.replace(self, fencing=self.rights.get(lease_of(thing), self.fencing))

    @property
    def annotations(self) -> dict[str, str]:
        return {ACTION: self.action, FENCING: str(self.fencing), ACTED_AT: self.at}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    detail: str = ""
    undo: dict[str, object] = {}
    """What undoing needs to know."""
    left: bool = False
    """Of an undo: the object is not as the action left it, so nothing was touched."""
    stood_back: bool = False
    """Not done because it does not fit what is there now: nothing of KT or the cluster failed."""
    later: bool = False
    """Begun and not at its end: the same step is to be applied again, in a while. Not a failure yet."""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """How an object stands to what an action left there. All empty: just so, it can be taken back."""

    differences: tuple[Difference, ...] = ()
    undone: bool = False
    """It was taken back already."""
    nothing: str = ""
    """Why there is nothing to go back to."""


@runtime_checkable
class Revertible(Protocol):
    """An action that can tell beforehand whether it can be taken back; of others the undo itself tells."""

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        """How the step's object stands to what the action left there. `undo`: what `apply` gave, if it is known."""
        ...


@runtime_checkable
class HeldToPolicy(Protocol):
    """An action that reaches where operators allow: what they allow is asked again right before it does."""

    def held_to(self, step: Step, limits: Limits) -> Step:
        """The step under the limits of now. `apply` and `undo` refuse what these do not allow."""
        ...


class Action(Protocol):
    """One kind of change. All methods raise `ClusterError` when the API server does not do it."""

    @property
    def name(self) -> str: ...

    @property
    def rules(self) -> tuple[tuple[str, str, str], ...]:
        """What it must be allowed: (API group, resource, verbs separated by spaces); see `kt rbac --act`."""
        ...

    @property
    def declared(self) -> bool:
        """Whether it changes what somebody declares for the object, so that GitOps or an operator would undo it."""
        ...

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """The step with everything resolved, tried dry. Raises `CannotAct`."""
        ...

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        """Do it. Raises `CannotAct` when the target is not as it was when the step was prepared, or when somebody
        with a later right has acted on it."""
        ...

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """What became of it if it was done already; None when it was not, or not wholly."""
        ...

    def settled(self, cluster: Cluster, step: Step) -> str:
        """Why its effect has not fully arrived yet; empty when it has."""
        ...

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        """Go back to the state before, if nobody has changed it since. `undo`: what `apply` gave, if it is known."""
        ...


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


def called(target: Target) -> str:
    """`Deployment shop/cart`, `Node kt-node-1`."""
    return f"{target.kind} {target.namespace}/{target.name}" if target.namespace else f"{target.kind} {target.name}"


def fetch(cluster: Cluster, step: Step) -> Object:
    """The step's object as it is now; one of another uid is another object. Raises `CannotAct`."""
    target = step.target
    found = cluster.get(target.kind, target.name, target.namespace)
    if found is None or (target.uid and found["metadata"].get("uid") != target.uid):
        raise CannotAct(f"{called(target)} is not there any more")
    return {**found, "kind": target.kind}


def marks_of(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("annotations") or {}


def fenced(thing: Object, fencing: int) -> None:
    """Raises `CannotAct` when somebody with a later right has changed the object since."""
    last = marks_of(thing).get(FENCING, "")
    if last.isdigit() and int(last) > fencing:
        raise CannotAct("a later holder of this target has acted on it; this one stands back")


def fenced_beside(cluster: Cluster, things: Iterable[str], mark: Mark) -> None:
    """Raises `CannotAct` when somebody with a later right has acted on one of these (`Kind/namespace/name`) since; what
    no right is known to is not looked at."""
    for name in things:
        kind, namespace, short = name.split("/")
        known = kind in PATHS and lease_of(name) in mark.rights
        thing = cluster.get(kind, short, namespace) if known else None
        if thing is not None:
            fenced(thing, mark.on(name).fencing)


def unchanged(thing: Object, step: Step) -> None:
    """Raises `CannotAct` when the object's spec is another one than the step was made for.

    A step without a generation follows another one on the same object, which changes it on purpose; kinds that the API
    server counts no generation for are compared by the value that the action is about to change.
    """
    made_for, now = step.target.generation, thing["metadata"].get("generation", 0)
    if made_for and now != made_for:
        raise CannotAct(f"{called(step.target)} was changed since the plan was made (generation {made_for}, now {now})")


def diff(before: Object, after: Object) -> str:
    """Unified diff of two versions, without what every write changes and what controllers and KT keep."""
    return "".join(difflib.unified_diff(_text(before), _text(after), "now", "planned", n=2))


# libyaml's, where it is built in: a plan in a large cluster spends most of its own time here.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _text(thing: Object) -> list[str]:
    annotations = {
        key: value
        for key, value in marks_of(thing).items()
        if not key.startswith(NOT_ANYBODYS_DOING) and not key.endswith("last-applied-configuration")
    }
    meta = {key: thing["metadata"][key] for key in ("name", "namespace", "labels") if key in thing["metadata"]}
    shown: Object = {"metadata": {**meta, "annotations": annotations}}
    shown |= {part: thing[part] for part in ("spec", "data", "binaryData") if thing.get(part)}
    return yaml.dump(shown, Dumper=_DUMPER, sort_keys=True).splitlines(keepends=True)


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
