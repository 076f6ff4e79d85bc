"""A person's own action: an HTTP request to an address that operators allow, with a key for repeating it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from remediate.actions.base import CannotAct, Left, Mark, Outcome, called, fenced, fetch, target_of
from remediate.cluster import Cluster, Object
from remediate.limits import Limits
from remediate.outward import allowed, post, scope_of
from remediate.plan import Step

NOTHING = "the playbook names no address that would take it back"


class CallWebhook:
    """POST with JSON: action (the id), playbook's `about`, kind, namespace, name. `Idempotency-Key` is the action's id:
    after a crash in between the request is sent again, and whoever takes it must do it once for one key."""

    name = "call-webhook"
    rules = (
        *(("apps", resource, "get") for resource in ("deployments", "statefulsets", "daemonsets")),
        ("", "pods", "get"),
        ("", "nodes", "get"),
    )
    declared = False

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """`url`, and `undo_url` if it can be taken back; both must be under one of `webhooks` (guard.webhooks)."""
        at, url, undo = target_of(target), str(parameters.get("url", "")), str(parameters.get("undo_url", ""))
        for each in filter(None, (url, undo)):
            if not allowed(each, parameters.get("webhooks", ())):
                raise CannotAct(f"{each} is not under an address of guard.webhooks")
        if not url:
            raise CannotAct("the playbook gives no `url`")
        return Step(
            action=self.name,
            target=at,
            parameters={
                "url": url,
                "undo_url": undo,
                "webhooks": sorted(parameters.get("webhooks", ())),
                "scopes": {each: scope_of(each) for each in filter(None, (url, undo))},
            },
            summary=f"ask {url} to act on {called(at)}",
        )

    def held_to(self, step: Step, limits: Limits) -> Step:
        return msgspec.structs.replace(step, parameters={**step.parameters, "webhooks": sorted(limits.webhooks)})

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        fenced(fetch(cluster, step), mark.fencing)
        return _send(step, step.parameters["url"], mark.action, "do")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """Whether it arrived is not known from here; sending it again does no harm."""
        return None

    def settled(self, cluster: Cluster, step: Step) -> str:
        fetch(cluster, step)
        return ""

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left() if step.parameters["undo_url"] else Left(nothing=NOTHING)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        url = step.parameters["undo_url"]
        if not url:
            return Outcome(ok=True, detail=NOTHING)
        return _send(step, url, f"{action_id}-undo", "undo")


def _send(step: Step, url: str, key: str, what: str) -> Outcome:
    if not allowed(url, step.parameters["webhooks"]):
        raise CannotAct(f"{url} is not under an address of guard.webhooks")
    at = step.target
    body = {"id": key, "what": what, "kind": at.kind, "namespace": at.namespace, "name": at.name}
    return post(url, step.parameters["scopes"][url], key, body)
