"""What the actions on pods look at: owners, siblings, readiness, what a budget says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from remediate.actions.base import CannotAct
from remediate.cluster import PATHS, Cluster, ClusterError, Object
from remediate.conditions import ready
from remediate.granting import granting
from remediate.rights import Right, in_words, lacking

MIRROR = "kubernetes.io/config.mirror"
NAMED = ("Deployment", "StatefulSet", "DaemonSet")
"""Kinds that a pod tells of by itself."""


def controller_of(thing: Object) -> Object | None:
    """The owner reference of what keeps this object."""
    owners = thing["metadata"].get("ownerReferences") or []
    return next((each for each in owners if each.get("controller")), None)


def workload_of(cluster: Cluster, pod: Object) -> Object | None:
    """What a person would call the workload of a pod: the Deployment of its ReplicaSet, else its own controller."""
    namespace, found = pod["metadata"].get("namespace", ""), pod
    while (owner := controller_of(found)) is not None and owner["kind"] in PATHS:
        above = cluster.get(owner["kind"], owner["name"], namespace)
        if above is None or above["metadata"]["uid"] != owner["uid"]:
            break
        found = {**above, "kind": owner["kind"]}
    return None if found is pod else found


def belongs_to(pod: Object) -> str:
    """What a pod belongs to, as `Kind/namespace/name`, by its own word; a Deployment by how it names ReplicaSets."""
    owner, meta = controller_of(pod) or {"kind": "Pod", "name": pod["metadata"]["name"]}, pod["metadata"]
    kind, name = owner["kind"], owner["name"]
    made_by, _, hashed = name.rpartition("-")
    if kind == "ReplicaSet" and made_by and hashed == (meta.get("labels") or {}).get("pod-template-hash"):
        kind, name = "Deployment", made_by
    return f"{kind}/{meta['namespace']}/{name}"


def workloads_of(cluster: Cluster, pods: Iterable[Object]) -> tuple[str, ...]:
    """The workloads of pods, as `Kind/namespace/name`. Asked for are only those that pods do not tell by themselves; of
    what KT may not see, what keeps the pod counts."""
    found = {}
    for pod in pods:
        name = belongs_to(pod)
        if name in found:
            continue
        found[name] = name
        if name.partition("/")[0] not in NAMED:
            try:
                thing = workload_of(cluster, pod)
            except ClusterError as error:
                if error.code != 403:
                    raise
                continue
            if thing is not None:
                found[name] = f"{thing['kind']}/{pod['metadata']['namespace']}/{thing['metadata']['name']}"
    return tuple(sorted(set(found.values())))


def siblings_of(cluster: Cluster, pod: Object) -> list[Object]:
    """The pods of the same controller, this one not among them."""
    owner = controller_of(pod)
    if owner is None:
        raise CannotAct("the pod has no owner that would make a new one")
    found = cluster.list("Pod", pod["metadata"]["namespace"])
    return [
        each
        for each in found
        if each["metadata"]["uid"] != pod["metadata"]["uid"] and (controller_of(each) or {}).get("uid") == owner["uid"]
    ]


def serving(pod: Object) -> bool:
    """Ready, and not about to go."""
    return ready(pod) and "deletionTimestamp" not in pod["metadata"]


def chosen_left(cluster: Cluster, chosen: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Object]]:
    """Of the pods that a plan chose (`namespace/name` → what is kept, with the uid) those that are still the same."""
    for key, kept in chosen.items():
        namespace, _, name = key.partition("/")
        pod = cluster.get("Pod", name, namespace)
        if pod is not None and pod["metadata"]["uid"] == kept["uid"]:
            yield key, pod


def gone(pod: Object | None, uid: str) -> bool:
    """Whether the pod of this uid is not there any more, or on its way out."""
    return pod is None or pod["metadata"]["uid"] != uid or "deletionTimestamp" in pod["metadata"]


def must_be_allowed(cluster: Cluster, right: Right, namespace: str) -> None:
    """Raises `CannotAct` when KT lacks the right there: told when the plan is made, not in the middle of it."""
    if without := lacking(cluster, (right,), [namespace]):
        raise CannotAct(f"KT lacks rights: {in_words(without)}; {granting(without)}")
