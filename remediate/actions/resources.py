"""Scale up: more processor and memory for the containers of a workload, by its template, or of one pod, in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from graph_schema.quantities import plain, raised, same
from remediate.actions.base import (
    ACTION,
    UNDONE,
    CannotAct,
    Left,
    Mark,
    Outcome,
    called,
    diff,
    fenced,
    fetch,
    marks_of,
    target_of,
)
from remediate.actions.field import ACTION_AT, BEFORE, FieldChange, Values, Wish, leaves, patch, written
from remediate.actions.pods import controller_of, must_be_allowed
from remediate.cluster import Cluster, ClusterError, Object
from remediate.plan import Difference, Step

CONTAINERS = "/spec/template/spec/containers"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
MOST = {"cpu": "4", "memory": "8Gi"}
"""No container is given more than this."""
GONE = "the pod is gone, and its successors are of the old size"
Amounts = dict[str, dict[str, dict[str, str]]]
"""Container → limits and requests → resource → amount."""


class ScaleUp(FieldChange):
    """What the containers had and get is in the step as `was` and `to`, by container; nothing else of the template is
    touched, so another change of it in between is neither lost nor taken back."""

    name = "scale-up"
    rules = (
        *(("apps", resource, "get patch") for resource in ("deployments", "statefulsets", "daemonsets")),
        ("", "pods", "get patch"),
        ("", "pods/resize", "patch"),
    )
    pointers = (CONTAINERS,)

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        if target["kind"] != "Pod":
            return super().prepare(cluster, target, parameters)
        if target["metadata"].get("deletionTimestamp") or controller_of(target) is None:
            raise CannotAct("only a pod that stays and that somebody keeps is resized")
        containers = target["spec"]["containers"]
        wanted = _raised(containers, parameters)
        at = target_of(target)
        must_be_allowed(cluster, ("", "pods", "patch"), at.namespace)  # for the marks
        resize = _resize(target, wanted)
        tried = cluster.patch(at.kind, at.name, at.namespace, resize, dry=True, subresource="resize")
        return Step(
            action=self.name,
            target=msgspec.structs.replace(at, generation=0),  # resizing counts it up; compared by its amounts
            parameters={"was": amounts_of(containers), "to": wanted},
            summary=f"resize {called(at)} in place: {_said(wanted)}; the next pod is of the old size again",
            diff=diff(target, tried),
        )

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """`factor` times limits and requests of `resources` (cpu, memory), never above `max_cpu` and `max_memory`."""
        if target["kind"] not in WORKLOADS:
            raise CannotAct(f"a {target['kind']} has no containers of its own")
        if target["spec"].get("paused"):
            raise CannotAct("its rollout is paused; resume it first")
        meta, containers = target["metadata"], target["spec"]["template"]["spec"]["containers"]
        wanted = _raised(containers, parameters)
        return Wish(
            thing=target,
            values={CONTAINERS: _with(containers, wanted)},
            summary=f"scale {target['kind']} {meta['namespace']}/{meta['name']} up: {_said(wanted)} (by a rollout)",
            parameters={"to": wanted},
        )

    def wanted(self, cluster: Cluster, step: Step, thing: Object) -> Values:
        return {CONTAINERS: _with(thing["spec"]["template"]["spec"]["containers"], step.parameters["to"])}

    def remember(self, step: Step, before: Values) -> object:
        return amounts_of(before[CONTAINERS])

    def recall(self, cluster: Cluster, thing: Object, kept: Any) -> Values | None:
        if not isinstance(kept, dict):
            return None
        return {CONTAINERS: _with(thing["spec"]["template"]["spec"]["containers"], kept)}

    def remember_was(self, thing: Object) -> Any:
        spec = thing["spec"]["template"]["spec"] if "template" in thing["spec"] else thing["spec"]
        return amounts_of(spec["containers"])

    def compared(self, values: Values) -> Values:
        return _plain(amounts_of(values[CONTAINERS]))

    def said(self, values: Values) -> str:
        return _said(amounts_of(values[CONTAINERS]))

    def _before(self, cluster: Cluster, thing: Object, undo: Mapping[str, object]) -> Values | None:
        """Out of the step's own amounts alone: images and the rest stay as they are by now."""
        return self.recall(cluster, thing, kept_of(thing))

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        """In place it takes two writes: the marks, which the resize subresource does not take, then the amounts."""
        if step.target.kind != "Pod":
            return super().apply(cluster, step, mark)
        was, wanted = step.parameters["was"], step.parameters["to"]

        def change(now: Object) -> tuple[list[Object], Outcome]:
            fenced(now, mark.fencing)
            mine = marks_of(now).get(ACTION) == mark.action
            if not _same(now["spec"]["containers"], was) and not mine:
                raise CannotAct(f"{called(step.target)} was changed since the plan was made")
            kept = msgspec.json.encode({"before": was}).decode()
            operations = [] if mine else patch(now, {}, {**mark.annotations, BEFORE: kept, UNDONE: None})
            return operations, Outcome(ok=True, detail=f"{_said(was)} → {_said(wanted)}", undo={"before": was})

        outcome = written(cluster, step, change)
        _resized(cluster, step, wanted)
        return outcome

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        if step.target.kind != "Pod":
            return super().observe(cluster, step, action_id)
        now = fetch(cluster, step)
        if marks_of(now).get(ACTION) != action_id or not _same(now["spec"]["containers"], step.parameters["to"]):
            return None
        return Outcome(ok=True, detail="found done after an interruption", undo={"before": step.parameters["was"]})

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        if step.target.kind != "Pod":
            return super().left(cluster, step, action_id, undo)
        try:
            now = fetch(cluster, step)
        except CannotAct:
            return Left(nothing=GONE)
        marks, name = marks_of(now), called(step.target)
        if marks.get(UNDONE) == action_id and ACTION not in marks:
            return Left(undone=True)
        found = []
        if marks.get(ACTION) != action_id:
            found.append(Difference(target=name, field=ACTION_AT, left=action_id, now=marks.get(ACTION)))
        if not any(_same(now["spec"]["containers"], step.parameters[amounts]) for amounts in ("to", "was")):
            was, there = _fields(step.parameters["to"]), _fields(amounts_of(now["spec"]["containers"]))
            found += [
                Difference(target=name, field=field, left=was.get(field), now=there.get(field))
                for field in sorted({*was, *there})
                if was.get(field) != there.get(field)
            ]
        return Left(differences=tuple(found))

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        if step.target.kind != "Pod":
            return super().undo(cluster, step, action_id, undo)
        now = fetch(cluster, step)
        if marks_of(now).get(ACTION) != action_id:
            return Outcome(ok=True, detail="it had taken no effect, or somebody has acted since; left as it is")
        was = step.parameters["was"]
        if not any(_same(now["spec"]["containers"], amounts) for amounts in (step.parameters["to"], was)):
            return Outcome(ok=True, detail="somebody has changed it since; left as it is")
        _resized(cluster, step, was)

        def unmark(now: Object) -> tuple[list[Object], Outcome]:
            marks = {ACTION: None, BEFORE: None, UNDONE: action_id}
            return patch(now, {}, marks), Outcome(ok=True, detail=f"back to {_said(was)}")

        return written(cluster, step, unmark)


def _fields(amounts: Amounts) -> dict[str, Any]:
    """Of a pod, by where they are."""
    return leaves({f"/spec/containers/{name}/resources": each for name, each in amounts.items()})


def kept_of(thing: Object) -> Any:
    try:
        return msgspec.json.decode(marks_of(thing).get(BEFORE, "{}")).get("before")
    except (msgspec.DecodeError, AttributeError):
        return None


def amounts_of(containers: list[Object]) -> Amounts:
    found: Amounts = {}
    for each in containers:
        resources = each.get("resources") or {}
        found[each["name"]] = {part: dict(resources.get(part) or {}) for part in ("limits", "requests")}
    return found


def _raised(containers: list[Object], parameters: Mapping[str, Any]) -> Amounts:
    """What the containers are to have. Raises `CannotAct` when that is what they have."""
    factor, names = float(parameters.get("factor", 1.5)), parameters.get("resources", ("cpu", "memory"))
    now = amounts_of(containers)
    wanted = {
        container: {
            part: {
                name: raised(name, amount, factor, parameters.get(f"max_{name}", MOST[name]))
                if name in names
                else amount
                for name, amount in amounts.items()
            }
            for part, amounts in parts.items()
        }
        for container, parts in now.items()
    }
    if _plain(wanted) == _plain(now):
        given = any(name in names for parts in now.values() for amounts in parts.values() for name in amounts)
        limits = ", ".join(f"{name} {parameters.get(f'max_{name}', MOST[name])}" for name in names)
        why = (
            f"its containers have all that they may have ({limits})" if given else "its containers have no amounts set"
        )
        raise CannotAct(f"{why}; more of {' and '.join(names)} cannot be given")
    return wanted


def _with(containers: list[Object], amounts: Amounts) -> list[Object]:
    """The containers with these amounts; one that they say nothing of is as it is."""
    made = []
    for each in containers:
        parts = {part: found for part, found in amounts.get(each["name"], {}).items() if found}
        kept = {key: value for key, value in (each.get("resources") or {}).items() if key not in ("limits", "requests")}
        made.append({**each, "resources": {**kept, **parts}} if each["name"] in amounts else each)
    return made


def _resize(pod: Object, amounts: Amounts) -> list[Object]:
    version = pod["metadata"]["resourceVersion"]
    operations: list[Object] = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}]
    for index, each in enumerate(_with(pod["spec"]["containers"], amounts)):
        operations.append({"op": "add", "path": f"/spec/containers/{index}/resources", "value": each["resources"]})
    return operations


def _resized(cluster: Cluster, step: Step, amounts: Amounts, tries: int = 6) -> None:
    """Write the amounts into a pod until nobody came in between."""
    at = step.target
    for attempt in range(1, tries + 1):
        now = fetch(cluster, step)
        if _same(now["spec"]["containers"], amounts):
            return
        try:
            cluster.patch(at.kind, at.name, at.namespace, _resize(now, amounts), subresource="resize")
        except ClusterError as error:
            if error.code != 409 or attempt == tries:
                raise
        else:
            return


def _same(containers: list[Object], amounts: Amounts) -> bool:
    now = amounts_of(containers)
    return now.keys() == amounts.keys() and all(
        same(now[name][part], amounts[name][part]) for name in now for part in ("limits", "requests")
    )


def _plain(amounts: Amounts) -> dict[str, Any]:
    return {name: {part: plain(found) for part, found in parts.items()} for name, parts in sorted(amounts.items())}


def _said(amounts: Amounts) -> str:
    """`shop: 200m cpu, 64Mi memory`: what a container may use at most, or asks for where it has no limit."""
    words = []
    for container, parts in amounts.items():
        most = {**parts["requests"], **parts["limits"]}
        words.append(
            f"{container}: " + (", ".join(f"{value} {name}" for name, value in sorted(most.items())) or "none")
        )
    return "; ".join(words)
