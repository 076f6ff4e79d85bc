"""Restart users: the workloads that read a ConfigMap, so that what it holds now takes effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from remediate.actions.base import (
    ACTION,
    CannotAct,
    Left,
    Mark,
    Outcome,
    called,
    fenced,
    fetch,
    marks_of,
    rolled_out,
    target_of,
)
from remediate.actions.field import patch, written
from remediate.actions.pods import must_be_allowed
from remediate.actions.restart import NOTHING, RESTARTED, WORKLOADS
from remediate.cluster import PATHS, Cluster, Object
from remediate.plan import Step


class RestartUsers:
    name = "restart-users"
    rules = (
        ("", "configmaps", "get"),
        *(("apps", resource, "get list patch") for resource in ("deployments", "statefulsets", "daemonsets")),
    )
    declared = False

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        at = target_of(target)
        if at.kind != "ConfigMap":
            raise CannotAct(f"a {at.kind} has no users that are known")
        users = [
            f"{kind}/{thing['metadata']['name']}"
            for kind in WORKLOADS
            for thing in cluster.list(kind, at.namespace)
            if at.name in set(_read(thing)) and not thing["spec"].get("paused")
        ]
        for kind in sorted({user.partition("/")[0] for user in users}):
            must_be_allowed(cluster, ("apps", PATHS[kind][1], "patch"), at.namespace)
        return Step(
            action=self.name,
            target=at,
            parameters={"users": users, "to": datetime.now(UTC).isoformat(timespec="seconds")},
            summary=f"restart what reads {called(at)} in turn: {', '.join(users) or 'nothing does'}",
            touches=tuple(_key(user, at.namespace) for user in users),
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        """Each user once, whatever interrupted it before: those that carry the mark are done."""
        fenced(fetch(cluster, step), mark.fencing)
        done = []
        for user in _users(cluster, step):
            if marks_of(user).get(ACTION) != mark.action:
                theirs = mark.on(_key(f"{user['kind']}/{user['metadata']['name']}", step.target.namespace))
                written(cluster, _step_on(user, step), partial(_restart, step, theirs))
            done.append(f"{user['kind']} {user['metadata']['name']}")
        return Outcome(ok=True, detail=f"rolling restart begun of {', '.join(done) or 'nothing'}")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        users = _users(cluster, step)
        if not users or any(marks_of(user).get(ACTION) != action_id for user in users):
            return None
        return Outcome(ok=True, detail="found done after an interruption")

    def settled(self, cluster: Cluster, step: Step) -> str:
        return next((why for user in _users(cluster, step) if (why := rolled_out(user))), "")

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left(nothing=NOTHING)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail=NOTHING)


def _users(cluster: Cluster, step: Step) -> list[Object]:
    """The workloads of the plan that are still there."""
    found = []
    for user in step.parameters["users"]:
        kind, _, name = user.partition("/")
        thing = cluster.get(kind, name, step.target.namespace)
        if thing is not None:
            found.append({**thing, "kind": kind})
    return found


def _step_on(user: Object, step: Step) -> Step:
    return Step(action=step.action, target=target_of(user), parameters=step.parameters)


def _key(user: str, namespace: str) -> str:
    kind, _, name = user.partition("/")
    return f"{kind}/{namespace}/{name}"


def _restart(step: Step, mark: Mark, now: Object) -> tuple[list[Object], Outcome]:
    fenced(now, mark.fencing)
    return patch(now, {RESTARTED: step.parameters["to"]}, mark.annotations), Outcome(ok=True)


def _read(workload: Object) -> Iterator[str]:
    """The names of the ConfigMaps that a workload's pods read."""
    spec = workload["spec"]["template"]["spec"]
    for volume in spec.get("volumes") or []:
        yield (volume.get("configMap") or {}).get("name", "")
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield (source.get("configMap") or {}).get("name", "")
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        for source in container.get("envFrom") or []:
            yield (source.get("configMapRef") or {}).get("name", "")
        for variable in container.get("env") or []:
            yield ((variable.get("valueFrom") or {}).get("configMapKeyRef") or {}).get("name", "")
