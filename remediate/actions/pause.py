"""Pause and resume a Deployment's rollout: nothing new is rolled out while somebody looks at what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct, fetch, rolled_out
from remediate.actions.field import FieldChange, Wish
from remediate.cluster import Cluster, Object
from remediate.plan import Step


class PauseRollout(FieldChange):
    name = "pause-rollout"
    rules = (("apps", "deployments", "get patch"),)
    pointers = ("/spec/paused",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        _deployment(target, "paused")
        if not rolled_out(target):
            raise CannotAct("no rollout is under way")
        return _wish(target, "pause", True)

    def settled(self, cluster: Cluster, step: Step) -> str:
        """A paused rollout stands still: there is nothing to wait for but its controller seeing it."""
        now = fetch(cluster, step)
        seen = now.get("status", {}).get("observedGeneration", 0) >= now["metadata"].get("generation", 0)
        return "" if seen else f"Deployment {step.target.name} is not yet seen by its controller"


class ResumeRollout(FieldChange):
    name = "resume-rollout"
    rules = (("apps", "deployments", "get patch"),)
    pointers = ("/spec/paused",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        _deployment(target, "resumed")
        if not target["spec"].get("paused"):
            raise CannotAct("its rollout is not paused")
        return _wish(target, "resume", None)


def _deployment(target: Object, what: str) -> None:
    if target["kind"] != "Deployment":
        raise CannotAct(f"the rollout of a {target['kind']} cannot be {what}")


def _wish(target: Object, what: str, value: bool | None) -> Wish:
    meta = target["metadata"]
    return Wish(
        thing=target,
        values={"/spec/paused": value},
        summary=f"{what} the rollout of Deployment {meta['namespace']}/{meta['name']}",
        parameters={"to": value},
    )
