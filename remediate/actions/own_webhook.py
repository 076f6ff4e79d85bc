"""A person's own action: an HTTP request to an address that operators allow, with a key for repeating it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from remediate.actions.base import CannotAct, Mark, Outcome, called, fenced, fetch, target_of
from remediate.cluster import Cluster, Object
from remediate.plan import Step

TIMEOUT_S = 10.0
MOST_SHOWN = 200


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
            parameters={"url": url, "undo_url": undo, "webhooks": sorted(parameters.get("webhooks", ()))},
            summary=f"ask {url} to act on {called(at)}",
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        fenced(fetch(cluster, step), mark.fencing)
        return _send(step, step.parameters["url"], mark.action, "do")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """Whether it arrived is not known from here; sending it again does no harm."""
        return None

    def settled(self, cluster: Cluster, step: Step) -> str:
        fetch(cluster, step)
        return ""

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        url = step.parameters["undo_url"]
        if not url:
            return Outcome(ok=True, detail="the playbook names no address that would take it back")
        return _send(step, url, f"{action_id}-undo", "undo")


def allowed(url: str, prefixes: Sequence[str]) -> bool:
    """Whether an address is under one of the prefixes: same scheme, host and port, and its path at or below theirs."""
    asked = urlsplit(url)
    if asked.scheme not in ("http", "https") or asked.username or ".." in asked.path.split("/"):
        return False
    for prefix in prefixes:
        given = urlsplit(prefix)
        below = asked.path == given.path or asked.path.startswith(given.path.rstrip("/") + "/")
        if (asked.scheme, asked.netloc) == (given.scheme, given.netloc) and below:
            return True
    return False


def _send(step: Step, url: str, key: str, what: str) -> Outcome:
    import httpx  # slow to import, and few use it

    if not allowed(url, step.parameters["webhooks"]):
        raise CannotAct(f"{url} is not under an address of guard.webhooks")
    at = step.target
    body = {"id": key, "what": what, "kind": at.kind, "namespace": at.namespace, "name": at.name}
    try:
        # No redirect is followed: it could lead to an address that nobody allowed.
        answer = httpx.post(url, json=body, headers={"Idempotency-Key": key}, timeout=TIMEOUT_S, follow_redirects=False)
    except httpx.HTTPError as error:
        return Outcome(ok=False, later=True, detail=f"{url}: {error}")
    said = f"{url} answered {answer.status_code}: {answer.text[:MOST_SHOWN].strip() or 'nothing'}"
    if answer.is_success:
        return Outcome(ok=True, detail=said)
    return Outcome(ok=False, later=answer.status_code == 429 or answer.status_code >= 500, detail=said)
