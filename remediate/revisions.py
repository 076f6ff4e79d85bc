"""The revisions of a workload that a cluster keeps, and what is known of how each did while it was the present one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise

import msgspec

from graph_schema.model import HistoryEntry, entity_id
from remediate.cluster import Cluster, Object, match_labels
from remediate.conditions import ready

REVISION = "deployment.kubernetes.io/revision"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
POD_HASH = "controller-revision-hash"
CHAOS = "kt.io/chaos-undo"
"""What an experiment notes on a workload that it disturbs (`verify.actions`): JSON pointer → what it set. A ReplicaSet
keeps what was noted while it was the present one."""
TEMPLATE = "/spec/template"
HELD = timedelta(seconds=60)
"""So long all replicas of a revision must have been ready for it to count as healthy then."""
History = Callable[[str], Sequence[HistoryEntry]]
"""Entity → its versions in the graph, the oldest first."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    name: str
    """Of the ReplicaSet or ControllerRevision that keeps it."""
    template: Object
    kept: Object
    """That object itself."""

    @property
    def broken_on_purpose(self) -> bool:
        """An experiment rolled it out, as far as the cluster keeps that: nothing to go back to. One that changed the
        replicas, say, disturbed a revision that is well."""
        try:
            noted = json.loads(_marks(self.kept).get(CHAOS, "{}"))
        except ValueError:
            return False
        return any(pointer.startswith(TEMPLATE) for pointer in noted)


def revisions_of(cluster: Cluster, target: Object) -> dict[int, Revision]:
    """By number; empty for a kind that has none."""
    match target["kind"]:
        case "Deployment":
            owned = _owned(cluster, "ReplicaSet", target)
            numbered = ((int(_marks(each).get(REVISION, "0")), each["spec"]["template"], each) for each in owned)
        case "StatefulSet" | "DaemonSet":
            owned = _owned(cluster, "ControllerRevision", target)
            numbered = ((int(each["revision"]), each["data"]["spec"]["template"], each) for each in owned)
        case _:
            return {}
    return {
        number: Revision(number=number, name=each["metadata"]["name"], template=clean(template), kept=each)
        for number, template, each in numbered
    }


def known_healthy(
    cluster: Cluster, target: Object, revisions: Mapping[int, Revision], history: History
) -> dict[int, str]:
    """Number of a revision → how it is known that it was healthy. What is not in it is not known to be sick."""
    namespace = target["metadata"]["namespace"]
    found: dict[int, str] = {}
    if target["kind"] == "Deployment":
        for number, each in revisions.items():
            if ready := int((each.kept.get("status") or {}).get("readyReplicas") or 0):
                found[number] = f"{ready} of its pods serve now"
            elif why := _held(history(entity_id("ReplicaSet", each.name, namespace))):
                found[number] = why
        return found
    serving = _serving(cluster, target)
    whole = (target.get("status") or {}).get("currentRevision", "")
    versions = list(history(entity_id(target["kind"], target["metadata"]["name"], namespace)))
    for number, each in revisions.items():
        mine = [_images(other.template) for other in revisions.values()].count(_images(each.template)) == 1
        if ready := serving.get((each.kept["metadata"].get("labels") or {}).get(POD_HASH, each.name), 0):
            found[number] = f"{ready} of its pods serve now"
        elif each.name == whole:
            found[number] = "it was rolled out wholly, as the status tells"
        # The graph tells revisions of these apart by their images alone.
        elif mine and (why := _held(_with_images(versions, _images(each.template)))):
            found[number] = why
    return found


def _held(versions: Sequence[HistoryEntry]) -> str:
    """When all its replicas were ready for long enough, in words; empty when that was not seen."""
    last = ""
    since = None
    for one, then in pairwise([*versions, None]):
        entity = one.entity if one else None
        wanted, ready = (entity.properties.get(key, 0) if entity else 0 for key in ("replicas", "ready"))
        if one is None or not wanted or ready < wanted:
            since = None
            continue
        since = since or one.at
        # The last version is still so; nobody says for how long it was looked at, so it does not count.
        if then is not None and then.at - since >= HELD:
            last = f"all its {wanted} replicas were ready from {since:%Y-%m-%d %H:%M:%S} to {then.at:%H:%M:%S}"
    return last


def _with_images(versions: Iterable[HistoryEntry], images: list[str]) -> list[HistoryEntry]:
    """The versions of a workload, those of other images as if it had not been there."""
    return [
        each
        if each.entity and each.entity.properties.get("images") == images
        else HistoryEntry(at=each.at, entity=None)
        for each in versions
    ]


def _serving(cluster: Cluster, target: Object) -> dict[str, int]:
    """Hash of a revision → pods of it that are ready."""
    found: dict[str, int] = {}
    for pod in _owned(cluster, "Pod", target):
        if ready(pod):
            name = (pod["metadata"].get("labels") or {}).get(POD_HASH, "")
            found[name] = found.get(name, 0) + 1
    return found


def present_pods(cluster: Cluster, target: Object) -> list[Object]:
    """The pods of a workload that are of its present revision; those of a DaemonSet all. Raises `ClusterError`."""
    if target["kind"] == "Deployment":
        return _of_newest(cluster, target)
    pods = _owned(cluster, "Pod", target)
    if target["kind"] == "DaemonSet":
        return pods
    present = (target.get("status") or {}).get("updateRevision", "")
    return [each for each in pods if (each["metadata"].get("labels") or {}).get(POD_HASH, "") == present]


def _of_newest(cluster: Cluster, target: Object) -> list[Object]:
    number = _marks(target).get(REVISION, "")
    newest = {
        each["metadata"]["uid"]
        for each in _owned(cluster, "ReplicaSet", target)
        if _marks(each).get(REVISION, "") == number
    }
    return [
        each
        for each in cluster.list("Pod", target["metadata"]["namespace"], labels=match_labels(target))
        if any(owner["uid"] in newest for owner in each["metadata"].get("ownerReferences") or [])
    ]


def _images(template: Object) -> list[str]:
    return [each["image"] for each in template["spec"]["containers"]]


def _owned(cluster: Cluster, kind: str, target: Object) -> list[Object]:
    """What a workload owns of a kind; it all carries the labels that the workload selects by."""
    uid = target["metadata"]["uid"]
    return [
        each
        for each in cluster.list(kind, target["metadata"]["namespace"], labels=match_labels(target))
        if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences") or [])
    ]


def _marks(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("annotations") or {}


def program(template: Object) -> Object:
    """A template without the mark of a restart: one that differs in nothing else is no other program to go back to."""
    meta = template["metadata"]
    kept = {key: value for key, value in (meta.get("annotations") or {}).items() if key != RESTARTED}
    return {**template, "metadata": {**meta, "annotations": kept}}


def clean(template: Object) -> Object:
    """A template without what controllers add to it."""
    cleaned = copy.deepcopy(template)
    cleaned.pop("$patch", None)
    meta = cleaned.setdefault("metadata", {})
    (meta.get("labels") or {}).pop("pod-template-hash", None)
    if meta.get("creationTimestamp", "") is None:
        del meta["creationTimestamp"]
    return cleaned
