"""Quarantine: a pod is cut off and kept running for whoever looks into it, and its owner makes another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediate.actions.base import ACTION, CannotAct, Mark, Outcome, called, diff, fenced, fetch, marks_of
from remediate.actions.field import FieldChange, Values, Wish
from remediate.actions.pods import MIRROR, controller_of, gone, must_be_allowed
from remediate.cluster import Cluster, ClusterError, Object
from remediate.plan import Step

LABEL = "kt.io/quarantine"
"""Label of a pod in quarantine, with its own name as the value: what its policy selects."""
LABELS = "/metadata/labels"
LONGEST_VALUE = 63


class Quarantine(FieldChange):
    """First the policy that denies everything, then the labels in one write: the label of the quarantine on, those by
    which Services and the pod's owner select it off. The policy belongs to the pod and goes with it."""

    name = "quarantine"
    rules = (
        ("", "pods", "get patch"),
        ("", "services", "list"),
        ("apps", "replicasets", "get"),
        ("apps", "daemonsets", "get"),
        ("networking.k8s.io", "networkpolicies", "get create delete"),
    )
    declared = False
    of_the_spec = False
    pointers = (LABELS,)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        if target["kind"] != "Pod":
            raise CannotAct(f"a {target['kind']} cannot be put into quarantine; a pod can")
        meta = target["metadata"]
        labels: dict[str, str] = dict(meta.get("labels") or {})
        if "deletionTimestamp" in meta:
            raise CannotAct("it is ending already")
        if LABEL in labels:
            raise CannotAct("it is in quarantine already")
        if MIRROR in marks_of(target):
            raise CannotAct("it is a static pod of its node; the API server cannot change it")
        owner = controller_of(target)
        if owner and owner["kind"] not in ("ReplicaSet", "DaemonSet"):
            raise CannotAct(f"its {owner['kind']} could not make another one beside it")
        services = [
            each["metadata"]["name"] for each in cluster.list("Service", meta["namespace"]) if _selects(each, labels)
        ]
        off = _selected_by(cluster, target, labels)
        kept = {key: value for key, value in labels.items() if key not in off}
        left = f"off {', '.join(f'Service {name}' for name in services)}" if services else "no Service selects it"
        return Wish(
            thing=target,
            values={LABELS: {**kept, LABEL: meta["name"][:LONGEST_VALUE].rstrip("-.")}},
            summary=f"quarantine Pod {meta['namespace']}/{meta['name']}: nothing in, nothing out, kept running; {left}"
            + ("; its owner makes another one" if owner else ""),
            parameters={"to": {**kept, LABEL: meta["name"][:LONGEST_VALUE].rstrip("-.")}},
        )

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        step = super().prepare(cluster, target, parameters)
        must_be_allowed(
            cluster, ("networking.k8s.io", "networkpolicies", "delete"), step.target.namespace
        )  # to go back
        mark = Mark(action="dry", fencing=0, at="")
        tried = cluster.create("NetworkPolicy", step.target.namespace, _policy(step, mark), dry=True)
        empty: Object = {"metadata": {}, "spec": {}}
        return Step(
            action=step.action, target=step.target, parameters=step.parameters, summary=step.summary,
            diff=step.diff + diff(empty, tried),
        )  # fmt: skip

    def wanted(self, cluster: Cluster, step: Step, thing: Object) -> Values:
        return {LABELS: step.parameters["to"]}

    def said(self, values: Values) -> str:
        return f"labels {', '.join(f'{key}={value}' for key, value in sorted((values[LABELS] or {}).items()))}"

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        now = fetch(cluster, step)
        fenced(now, mark.fencing)
        if now["metadata"].get("labels") == step.parameters["was"]:
            _deny(cluster, step, mark)
        return super().apply(cluster, step, mark)

    def settled(self, cluster: Cluster, step: Step) -> str:
        now = fetch(cluster, step)["metadata"].get("labels") or {}
        return "" if LABEL in now else f"Pod {step.target.name} is not in quarantine any more"

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        at = step.target
        if gone(cluster.get("Pod", at.name, at.namespace), at.uid):
            return Outcome(ok=True, detail="the pod is gone, and its policy with it")
        outcome = super().undo(cluster, step, action_id, undo)
        found = cluster.get("NetworkPolicy", _name(step), step.target.namespace)
        if outcome.ok and found and marks_of(found).get(ACTION) == action_id:
            # Its owner has it back, and may have ended it by now as one too many.
            pod = cluster.get("Pod", at.name, at.namespace)
            if pod is None or LABEL not in (pod["metadata"].get("labels") or {}):
                cluster.delete("NetworkPolicy", _name(step), step.target.namespace, uid=found["metadata"]["uid"])
        return outcome


def _selected_by(cluster: Cluster, pod: Object, labels: Mapping[str, str]) -> set[str]:
    """The keys of the labels by which Services and its owner hold the pod."""
    namespace = pod["metadata"]["namespace"]
    off = {
        key for each in cluster.list("Service", namespace) if _selects(each, labels) for key in each["spec"]["selector"]
    }
    owner = controller_of(pod)
    found = cluster.get(owner["kind"], owner["name"], namespace) if owner else None
    if found is not None:
        selector = found["spec"].get("selector") or {}
        keys = set(selector.get("matchLabels") or {}) | {each["key"] for each in selector.get("matchExpressions") or []}
        # The hash alone would do; what else its owner selects by is what Services go by as well.
        off |= keys
    return off


def _selects(service: Object, labels: Mapping[str, str]) -> bool:
    wanted = service["spec"].get("selector") or {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def _name(step: Step) -> str:
    return f"kt-quarantine-{step.target.name}"


def _policy(step: Step, mark: Mark) -> Object:
    at = step.target
    owner = {"apiVersion": "v1", "kind": "Pod", "name": at.name, "uid": at.uid}
    return {
        "metadata": {"name": _name(step), "annotations": mark.annotations, "ownerReferences": [owner]},
        "spec": {
            "podSelector": {"matchLabels": {LABEL: step.parameters["to"][LABEL]}},
            "policyTypes": ["Ingress", "Egress"],
        },
    }


def _deny(cluster: Cluster, step: Step, mark: Mark) -> None:
    """The policy, unless it is there: an interruption may have come between it and the labels."""
    try:
        cluster.create("NetworkPolicy", step.target.namespace, _policy(step, mark))
    except ClusterError as error:
        if error.code != 409:
            raise
        found = cluster.get("NetworkPolicy", _name(step), step.target.namespace)
        if found is None or marks_of(found).get(ACTION) != mark.action:
            raise CannotAct(
                f"a policy {_name(step)} of somebody else is in the way of {called(step.target)}"
            ) from error
