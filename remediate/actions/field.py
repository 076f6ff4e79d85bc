"""An action that changes one or a few values of its target: everything but which values, and to what.

The effect is one JSON Patch that holds only for the version looked at. The marks of the action and the values before go
into the same write, so after a crash everything needed to go on, or back, is on the object.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

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
    rolled_out,
    target_of,
    unchanged,
)
from remediate.cluster import Cluster, ClusterError, Object
from remediate.plan import Difference, Step

BEFORE = "kt.io/before"
"""Annotation, as JSON: what `FieldChange.remember` keeps of the values before, and a digest of those that were set."""
ROLLED = ("Deployment", "StatefulSet", "DaemonSet")
ACTION_AT = f"/metadata/annotations/{ACTION.replace('/', '~1')}"
"""Where the mark of an action is, as a JSON pointer."""
SET = "set"
"""In what an undo is told: the values that the action set, so that days later each that differs can be named."""
MOST_TRIES = 6
Values = Mapping[str, Any]
"""JSON pointer → value; None: the field is not there."""
Change = Callable[[Object], tuple[list[Object], Outcome]]
"""From the object as it is now to the JSON Patch that is due, empty for none, and what to tell of it."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a concrete action asks for: new values of an object's fields, for the reason in `summary`."""

    thing: Object
    values: dict[str, Any]
    summary: str
    parameters: dict[str, Any]
    """What `wanted` needs to find the values again."""
    touches: tuple[str, ...] = ()
    """What else it changes, as `Kind/namespace/name`."""


class FieldChange(ABC):
    """Concrete actions say what they wish (`wish`) and how to find it again from a step's parameters (`wanted`)."""

    name: str
    rules: tuple[tuple[str, str, str], ...]
    pointers: tuple[str, ...]
    declared = True
    of_the_spec = True
    """Whether the generation counts changes of its values; those of others are compared themselves."""

    @abstractmethod
    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """Raises `CannotAct`."""

    def wanted(self, cluster: Cluster, step: Step, thing: Object) -> Values:
        """The values to set, by pointer. Raises `CannotAct` when they are not known any more."""
        return {self.pointers[0]: step.parameters["to"]}

    def remember(self, step: Step, before: Values) -> object:
        """What goes into the annotation: enough to find the values before again."""
        return dict(before)

    def recall(self, cluster: Cluster, thing: Object, kept: Any) -> Values | None:
        """The values before, from what `remember` gave; None when they are lost."""
        return kept if isinstance(kept, dict) else None

    def beside(self, step: Step, *, done: bool) -> Mapping[str, str | None]:
        """Annotations that go into the same write: when it is `done`, and when it is undone."""
        return {}

    def plain(self, values: Values) -> Values:
        """Values without what controllers add to them, for comparing."""
        return values

    def compared(self, values: Values) -> Values:
        """Values in one spelling, for telling whether somebody has changed them."""
        return self.plain(values)

    def said(self, values: Values) -> str:
        """Values in a few words."""
        return ", ".join(f"{pointer.rpartition('/')[2]} {value}" for pointer, value in values.items())

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        for attempt in range(1, MOST_TRIES + 1):
            wish = self.wish(cluster, target, parameters)
            at = target_of(wish.thing)
            try:
                after = cluster.patch(at.kind, at.name, at.namespace, patch(wish.thing, wish.values, {}), dry=True)
                break
            except ClusterError as error:
                # Its status was written meanwhile: look again.
                now = cluster.get(target["kind"], target["metadata"]["name"], target["metadata"].get("namespace", ""))
                if error.code != 409 or attempt == MOST_TRIES or now is None:
                    raise
                target = {**now, "kind": target["kind"]}
        return Step(
            action=self.name,
            target=at,
            parameters={**wish.parameters, "was": self.remember_was(wish.thing)},
            summary=wish.summary,
            diff=diff(wish.thing, after),
            touches=wish.touches,
        )

    def remember_was(self, thing: Object) -> Any:
        """The value that the step is made for; short, since it is shown, and exact, since it is compared."""
        return values_of(thing, self.pointers)[self.pointers[0]]

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        def change(now: Object) -> tuple[list[Object], Outcome]:
            fenced(now, mark.fencing)
            unchanged(now, step)
            counted = self.of_the_spec and now["metadata"].get("generation")
            if not counted and self.remember_was(now) != step.parameters["was"]:
                raise CannotAct(f"{called(step.target)} was changed since the plan was made")
            before, after = values_of(now, self.pointers), self.wanted(cluster, step, now)
            kept = msgspec.json.encode({"before": self.remember(step, before), "set": self.digest(after)}).decode()
            outcome = Outcome(
                ok=True,
                detail=f"{self.said(before)} → {self.said(after)}",
                undo={"before": dict(self.plain(before)), SET: dict(self.plain(after))},
            )
            marks = {**mark.annotations, BEFORE: kept, UNDONE: None, **self.beside(step, done=True)}
            return patch(now, after, marks), outcome

        return written(cluster, step, change)

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        now = fetch(cluster, step)
        if marks_of(now).get(ACTION) != action_id:
            return None
        before = self._before(cluster, now, {})
        undo: dict[str, object] = {"before": dict(before)} if before is not None else {}
        there = values_of(now, self.pointers)
        if self.digest(there) == _kept(now).get("set"):
            undo[SET] = dict(self.plain(there))
        return Outcome(ok=True, detail="found done after an interruption", undo=undo)

    def settled(self, cluster: Cluster, step: Step) -> str:
        return rolled_out(fetch(cluster, step)) if step.target.kind in ROLLED else ""

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        def change(now: Object) -> tuple[list[Object], Outcome]:
            marked = marks_of(now)
            if marked.get(UNDONE) == action_id and ACTION not in marked:
                return [], Outcome(ok=True, detail="found undone after an interruption")
            if marked.get(ACTION) != action_id:
                detail = "it had taken no effect, or somebody has acted since; left as it is"
                return [], Outcome(ok=True, left=True, detail=detail)
            there = values_of(now, self.pointers)
            if self.digest(there) != _kept(now).get("set"):
                what = f"now: {self.said(there)}"
                detail = f"somebody has changed it since ({what}); left as it is"
                return [], Outcome(ok=True, left=True, detail=detail)
            before = self._before(cluster, now, undo)
            if before is None:
                return [], Outcome(ok=False, detail="what was there before is not known any more")
            marks = {ACTION: None, BEFORE: None, UNDONE: action_id, **self.beside(step, done=False)}
            return patch(now, before, marks), Outcome(ok=True, detail=f"back to {self.said(before)}")

        return written(cluster, step, change)

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        try:
            now = fetch(cluster, step)
        except CannotAct:
            gone = Difference(target=called(step.target), field="/metadata/uid", left=step.target.uid, now=None)
            return Left(differences=(gone,))
        marks = marks_of(now)
        if marks.get(UNDONE) == action_id and ACTION not in marks:
            return Left(undone=True)
        there = values_of(now, self.pointers)
        found: list[Difference] = []
        if marks.get(ACTION) != action_id:
            found.append(Difference(target=called(step.target), field=ACTION_AT, left=action_id, now=marks.get(ACTION)))
        if found or self.digest(there) != _kept(now).get("set"):
            found += self._differences(cluster, step, now, there, undo.get(SET))
        return Left(differences=tuple(found))

    def _differences(
        self, cluster: Cluster, step: Step, now: Object, there: Values, was_set: object
    ) -> list[Difference]:
        """Leaf by leaf, what is not as the action set it; whole values when what it set is not known any more."""
        try:
            was = was_set if isinstance(was_set, dict) else self.plain(self.wanted(cluster, step, now))
        except CannotAct:
            return [
                Difference(target=called(step.target), field=pointer, left=None, now=value)
                for pointer, value in self.plain(there).items()
            ]
        before, after = leaves(was), leaves(self.plain(there))
        return [
            Difference(target=called(step.target), field=pointer, left=before.get(pointer), now=after.get(pointer))
            for pointer in sorted({*before, *after})
            if before.get(pointer) != after.get(pointer)
        ]

    def digest(self, values: Values) -> str:
        """Short and exact: tells whether somebody changed what an action had set."""
        return hashlib.sha256(msgspec.json.encode(self.compared(values), order="deterministic")).hexdigest()[:16]

    def _before(self, cluster: Cluster, thing: Object, undo: Mapping[str, object]) -> Values | None:
        given = undo.get("before")
        return given if isinstance(given, dict) else self.recall(cluster, thing, _kept(thing).get("before"))


def _kept(thing: Object) -> dict[str, Any]:
    try:
        kept = msgspec.json.decode(marks_of(thing).get(BEFORE, "{}"))
    except msgspec.DecodeError:
        return {}
    return kept if isinstance(kept, dict) else {}


def written(cluster: Cluster, step: Step, change: Change) -> Outcome:
    """Look and write until nobody came in between: status updates raise the version of a workload all the time."""
    for attempt in range(1, MOST_TRIES + 1):
        operations, outcome = change(fetch(cluster, step))
        try:
            if operations:
                cluster.patch(step.target.kind, step.target.name, step.target.namespace, operations)
        except ClusterError as error:
            if error.code != 409 or attempt == MOST_TRIES:
                raise
        else:
            return outcome
    raise AssertionError("unreachable")


def leaves(values: Values) -> dict[str, Any]:
    """JSON pointer → value of every leaf under these pointers; what is empty is a leaf, what is not there is none."""
    found: dict[str, Any] = {}
    waiting = list(values.items())
    while waiting:
        pointer, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            waiting += [(f"{pointer}/{_escaped(str(key))}", each) for key, each in value.items()]
        elif isinstance(value, list) and value:
            waiting += [(f"{pointer}/{index}", each) for index, each in enumerate(value)]
        elif value is not None:
            found[pointer] = value
    return found


def values_of(thing: Object, pointers: tuple[str, ...]) -> dict[str, Any]:
    return {pointer: _at(thing, pointer) for pointer in pointers}


def patch(now: Object, values: Values, marks: Mapping[str, str | None]) -> list[Object]:
    """A JSON Patch that sets the values (None takes the field away) and the annotations, at this version only.

    The version is replaced by itself: the API server then answers 409 when it is not the present one."""
    version = now["metadata"]["resourceVersion"]
    operations: list[Object] = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}]
    for pointer, value in values.items():
        operations += _set(now, pointer, value)
    if marks:
        kept = {**marks_of(now), **marks}
        annotations = {key: value for key, value in kept.items() if value is not None}
        operations.append({"op": "add", "path": "/metadata/annotations", "value": annotations})
    return operations


def _set(now: Object, pointer: str, value: Any) -> list[Object]:
    if value is None:
        return [{"op": "remove", "path": pointer}] if _at(now, pointer) is not None else []
    parent, _, leaf = pointer.rpartition("/")
    if parent and _at(now, parent) is None:
        return _set(now, parent, {_unescaped(leaf): value})
    return [{"op": "add", "path": pointer, "value": value}]


def _at(thing: Object, pointer: str) -> Any:
    value: Any = thing
    for part in pointer.split("/")[1:]:
        value = value.get(_unescaped(part)) if isinstance(value, dict) else None
    return value


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
