"""Hibernate a workload and wake it: no replicas while nobody needs it, and then exactly as many as it had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct, marks_of
from remediate.actions.field import FieldChange, Wish
from remediate.actions.scale import SCALABLE
from remediate.cluster import Cluster, Object
from remediate.plan import Step

HIBERNATED = "kt.io/hibernated"
"""Annotation with the replicas that a workload had when it was sent to sleep. An autoscaler leaves one alone that has
none (Kubernetes docs, horizontal pod autoscaling: implicit maintenance-mode deactivation)."""
RULES = (("apps", "deployments", "get patch"), ("apps", "statefulsets", "get patch"))


class Hibernate(FieldChange):
    name = "hibernate"
    rules = RULES
    pointers = ("/spec/replicas",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        _scalable(target)
        now = int(target["spec"].get("replicas", 1))
        if not now:
            raise CannotAct("it has no replicas already")
        meta = target["metadata"]
        return Wish(
            thing=target,
            values={"/spec/replicas": 0},
            summary=f"hibernate {target['kind']} {meta['namespace']}/{meta['name']}: no replicas, {now} when it wakes",
            parameters={"to": 0},
        )

    def beside(self, step: Step, *, done: bool) -> Mapping[str, str | None]:
        return {HIBERNATED: str(step.parameters["was"]) if done else None}


class Wake(FieldChange):
    name = "wake"
    rules = RULES
    pointers = ("/spec/replicas",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        _scalable(target)
        kept = marks_of(target).get(HIBERNATED, "")
        if not kept.isdigit():
            raise CannotAct("it was not sent to sleep by KT, so how many replicas it had is not known")
        if int(target["spec"].get("replicas", 1)):
            raise CannotAct("it has replicas: somebody has woken it already")
        meta = target["metadata"]
        return Wish(
            thing=target,
            values={"/spec/replicas": int(kept)},
            summary=f"wake {target['kind']} {meta['namespace']}/{meta['name']}: {kept} replicas as before",
            parameters={"to": int(kept)},
        )

    def beside(self, step: Step, *, done: bool) -> Mapping[str, str | None]:
        return {HIBERNATED: None if done else str(step.parameters["to"])}


def _scalable(target: Object) -> None:
    if target["kind"] not in SCALABLE:
        raise CannotAct(f"a {target['kind']} cannot be hibernated")
