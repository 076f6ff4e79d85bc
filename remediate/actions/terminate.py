"""Terminate: end one pod that is stuck, when its siblings serve meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from remediate.actions.base import CannotAct, Left, Mark, Outcome, called, fenced, target_of
from remediate.actions.pods import MIRROR, controller_of, must_be_allowed, serving, siblings_of
from remediate.cluster import Cluster, Object
from remediate.conditions import ready
from remediate.plan import Step
from remediate.rights import DELETE

OVERDUE_S = 30.0
"""How long after the end of its grace a pod that should be gone counts as stuck."""
SIBLING_DELAY_S = 60.0
NOTHING = "a pod that was ended has a successor; there is nothing to go back to"


class TerminatePod:
    name = "terminate-pod"
    rules = (("", "pods", "get list delete"), ("", "nodes", "get"))
    declared = False

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """`sibling_delay_s`: how old the youngest sibling must be; `now`: the time, RFC 3339.

        A pod whose deletion hangs is forced out, unless it is of a StatefulSet on a node that does not answer: there
        the old one may still run, and two of one identity do harm."""
        at = target_of(target)
        if at.kind != "Pod":
            raise CannotAct(f"a {at.kind} is not terminated")
        if MIRROR in (target["metadata"].get("annotations") or {}):
            raise CannotAct("it is a static pod of its node; the API server cannot end it")
        now = datetime.fromisoformat(parameters["now"]) if "now" in parameters else datetime.now(UTC)
        others = [pod for pod in siblings_of(cluster, target) if serving(pod)]
        if not others:
            raise CannotAct("no sibling of it serves meanwhile")
        delay = float(parameters.get("sibling_delay_s", SIBLING_DELAY_S))
        youngest = min((now - _moment(pod["metadata"]["creationTimestamp"])).total_seconds() for pod in others)
        if youngest < delay:
            raise CannotAct(
                f"a sibling was started {youngest:.0f} s ago; it waits {delay:.0f} s between two", later=True
            )
        force = overdue(target, now)
        if force:
            may_be_forced(cluster, target)
        must_be_allowed(cluster, DELETE, at.namespace)
        how = "force out" if force else "end"
        return Step(
            action=self.name,
            target=at,
            parameters={"force": force},
            summary=f"{how} {called(at)}; {len(others)} siblings serve, its owner makes a new one",
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        at = step.target
        found = cluster.get("Pod", at.name, at.namespace)
        if found is None or found["metadata"]["uid"] != at.uid:
            raise CannotAct(f"{called(at)} is not there any more")
        fenced(found, mark.fencing)
        if not any(serving(pod) for pod in siblings_of(cluster, found)):
            raise CannotAct("no sibling of it serves any more")
        cluster.delete("Pod", at.name, at.namespace, uid=at.uid, grace_s=0 if step.parameters["force"] else None)
        return Outcome(ok=True, detail="ended")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        at = step.target
        found = cluster.get("Pod", at.name, at.namespace)
        if found is None or found["metadata"]["uid"] != at.uid:
            return Outcome(ok=True, detail="the pod is gone")
        going = "deletionTimestamp" in found["metadata"] and not step.parameters["force"]
        return Outcome(ok=True, detail="the pod is going") if going else None

    def settled(self, cluster: Cluster, step: Step) -> str:
        at = step.target
        found = cluster.get("Pod", at.name, at.namespace)
        return f"Pod {at.name} is still ending" if found and found["metadata"]["uid"] == at.uid else ""

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left(nothing=NOTHING)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail=NOTHING)


def overdue(pod: Object, now: datetime) -> bool:
    """Whether it should have been gone for a while: `deletionTimestamp` is the end of its grace."""
    at = pod["metadata"].get("deletionTimestamp")
    return bool(at) and (now - _moment(at)).total_seconds() >= OVERDUE_S


def may_be_forced(cluster: Cluster, pod: Object) -> None:
    """Raises `CannotAct` when the pod may still run somewhere, or somebody holds it."""
    if pod["metadata"].get("finalizers"):
        raise CannotAct(f"finalizers hold it: {', '.join(pod['metadata']['finalizers'])}; their owner has to let go")
    owner = controller_of(pod)
    node = cluster.get("Node", pod["spec"].get("nodeName", "")) if pod["spec"].get("nodeName") else None
    if owner and owner["kind"] == "StatefulSet" and node is not None and not ready(node):
        raise CannotAct("its node does not answer, so it may still run; a StatefulSet must not have two of one name")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
