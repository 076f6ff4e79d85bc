"""Clean up: pods that have ended and are kept for nobody, and such that should be gone and are not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from remediate.actions.base import CannotAct, Left, Mark, Outcome, called, fenced, fetch, target_of
from remediate.actions.pods import belongs_to, chosen_left, controller_of, workloads_of
from remediate.actions.terminate import may_be_forced, overdue
from remediate.cluster import Cluster, Object
from remediate.granting import granting
from remediate.plan import Step
from remediate.rights import DELETE, in_words, lacking

ENDED = ("Failed", "Succeeded")
MIN_AGE_S = 600.0
NOTHING = "pods that had ended are gone; there is nothing to go back to"
MOST = 50
"""Pods of one plan; the next one takes the rest."""


class CleanUpPods:
    name = "clean-up-pods"
    rules = (("", "pods", "get list delete"), ("", "nodes", "get"))
    declared = False

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """Of a Namespace, of a Node (in the namespaces opted in), or one Pod.

        `min_age_s`: how long ago a pod must have begun; `now`: the time, RFC 3339. Pods of Jobs are left to them:
        they are counted and kept for their logs by the Job's own limits."""
        at = target_of(target)
        now = datetime.fromisoformat(parameters["now"]) if "now" in parameters else datetime.now(UTC)
        # One that is named has been looked at; age protects what nobody has had the time to look into.
        age = 0.0 if at.kind == "Pod" else float(parameters.get("min_age_s", MIN_AGE_S))
        chosen: list[Object] = []
        held: list[str] = []
        for pod in _looked_at(cluster, target, parameters):
            why = _why_not(cluster, pod, now, age)
            if why is None:
                chosen.append(pod)
            elif why:
                held.append(f"{pod['metadata']['name']}: {why}")
        if not chosen:
            raise CannotAct("; ".join(held) or "no pod of it has ended or is stuck")
        without = lacking(cluster, (DELETE,), {pod["metadata"]["namespace"] for pod in chosen})
        chosen = [pod for pod in chosen if pod["metadata"]["namespace"] not in without]
        if not chosen:
            raise CannotAct(f"KT lacks rights: {in_words(without)}; {granting(without)}")
        held += [f"all in {space}: KT lacks {rights} there" for space, rights in sorted(without.items())]
        chosen.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        pods = {_key(pod): {"uid": pod["metadata"]["uid"], "force": _stuck(pod)} for pod in chosen[:MOST]}
        return Step(
            action=self.name,
            target=at,
            parameters={"pods": pods, "namespaces": sorted({key.partition("/")[0] for key in pods})},
            summary=f"clean up {len(pods)} pods of {called(at)} ({', '.join(list(pods)[:6])}"
            + (", …)" if len(pods) > 6 else ")")
            + (f"; left alone: {'; '.join(held[:3])}" if held else ""),
            touches=workloads_of(cluster, chosen[:MOST]),
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        if step.target.kind != "Pod":
            fenced(fetch(cluster, step), mark.fencing)
        done = []
        for key, pod in chosen_left(cluster, step.parameters["pods"]):
            fenced(pod, mark.on(belongs_to(pod)).fencing)
            meta, force = pod["metadata"], step.parameters["pods"][key]["force"]
            cluster.delete("Pod", meta["name"], meta["namespace"], uid=meta["uid"], grace_s=0 if force else None)
            done.append(key)
        return Outcome(ok=True, detail=f"cleaned up {', '.join(done) or 'nothing: no pod was left'}")

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """Deleting is the same when done again: only what is still there is deleted."""
        return (
            None
            if list(chosen_left(cluster, step.parameters["pods"]))
            else Outcome(ok=True, detail="its pods are gone already")
        )

    def settled(self, cluster: Cluster, step: Step) -> str:
        left = [key for key, _ in chosen_left(cluster, step.parameters["pods"])]
        return f"still there: {', '.join(left)}" if left else ""

    def left(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Left:
        return Left(nothing=NOTHING)

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        return Outcome(ok=True, detail=NOTHING)


def _looked_at(cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> list[Object]:
    """The pods that a plan may be about. Raises `CannotAct`."""
    name = target["metadata"]["name"]
    match target["kind"]:
        case "Pod":
            return [target]
        case "Namespace":
            return cluster.list("Pod", name)
        case "Node":
            spaces = sorted(parameters.get("namespaces", ()))
            return [pod for space in spaces for pod in cluster.list("Pod", space, fields=f"spec.nodeName={name}")]
    raise CannotAct(f"a {target['kind']} has no pods that could be cleaned up")


def _why_not(cluster: Cluster, pod: Object, now: datetime, min_age_s: float) -> str | None:
    """Why a pod is left alone: in words where a person should know, empty where all is well; None: it goes."""
    if _stuck(pod):
        if not overdue(pod, now):
            return ""
        try:
            may_be_forced(cluster, pod)
        except CannotAct as error:
            return str(error)
        return None
    if pod.get("status", {}).get("phase") not in ENDED:
        return ""
    if (controller_of(pod) or {}).get("kind") == "Job":
        return "its Job keeps it"
    begun = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).astimezone(UTC)
    return None if (now - begun).total_seconds() >= min_age_s else ""


def _stuck(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _key(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
