"""StatefulSets and DaemonSets: revisions of their template, and pods replaced in turn when it changes."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from twin.api import budgets, deletion
from twin.errors import ApiError
from twin.kinds import BY_KIND
from twin.objects import Object, Store, clone
from twin.simulation.controllers import claimed, made_pod, owned, reference, template_hash

HASH = "controller-revision-hash"


def stateful_sets(store: Store) -> None:
    for thing in list(store.all("StatefulSet")):
        with contextlib.suppress(ApiError):
            _keep_ordered(store, thing)


def _keep_ordered(store: Store, thing: Object) -> None:
    """One step at a time, in the order of the pods' numbers: made upwards, replaced and taken away downwards."""
    meta, revision = thing["metadata"], _revision(store, thing)
    pods = {pod["metadata"]["name"]: pod for pod in claimed(store, thing)}
    names = [f"{meta['name']}-{number}" for number in range(int(thing["spec"]["replicas"]))]
    _report_ordered(store, thing, pods, revision)
    for name in names:
        if name not in pods:
            _made(store, thing, revision, name=name)
            return
        if not budgets.ready(pods[name]) and _hash(pods[name]) == revision:
            return
    for name in sorted(pods, key=lambda each: -int(each.rpartition("-")[2])):
        going = "deletionTimestamp" in pods[name]["metadata"]
        if going or name not in names or _hash(pods[name]) != revision:
            if not going:
                deletion.delete(store, BY_KIND["Pod"], pods[name], {"gracePeriodSeconds": 1})
            return


def _report_ordered(store: Store, thing: Object, pods: dict[str, Object], revision: str) -> None:
    updated = sum(1 for pod in pods.values() if _hash(pod) == revision)
    ready = sum(1 for pod in pods.values() if budgets.ready(pod))
    whole = updated == len(pods) == int(thing["spec"]["replicas"]) == ready
    before = (thing.get("status") or {}).get("currentRevision") or f"{thing['metadata']['name']}-{revision}"
    status = {
        "observedGeneration": thing["metadata"]["generation"],
        "replicas": len(pods),
        "readyReplicas": ready,
        "updatedReplicas": updated,
        "updateRevision": f"{thing['metadata']['name']}-{revision}",
        "currentRevision": f"{thing['metadata']['name']}-{revision}" if whole else before,
    }
    _edit_status(store, thing, status)


def daemon_sets(store: Store) -> None:
    for thing in list(store.all("DaemonSet")):
        with contextlib.suppress(ApiError):
            _keep_everywhere(store, thing)


def _keep_everywhere(store: Store, thing: Object) -> None:
    """One pod on each node; of those that have an old template one at a time is replaced."""
    revision, nodes = _revision(store, thing), [node["metadata"]["name"] for node in store.all("Node")]
    pods = {pod["spec"].get("nodeName", ""): pod for pod in claimed(store, thing)}
    for node in nodes:
        if node not in pods:
            _made(store, thing, revision, node=node, generateName=f"{thing['metadata']['name']}-")
    old = [pod for pod in pods.values() if _hash(pod) != revision and "deletionTimestamp" not in pod["metadata"]]
    whole = [pod for pod in pods.values() if budgets.ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    # Those that serve nobody go first, and cost nothing; one that serves goes when all the others do.
    idle = [pod for pod in old if not budgets.ready(pod)]
    for pod in idle or (old[:1] if len(whole) == len(nodes) else []):
        deletion.delete(store, BY_KIND["Pod"], pod, {"gracePeriodSeconds": 1})
    now = owned(store, "Pod", thing)
    status = {
        "observedGeneration": thing["metadata"]["generation"],
        "desiredNumberScheduled": len(nodes),
        "currentNumberScheduled": len(now),
        "numberReady": sum(1 for pod in now if budgets.ready(pod)),
        "updatedNumberScheduled": sum(1 for pod in now if _hash(pod) == revision),
    }
    _edit_status(store, thing, status)


def _revision(store: Store, thing: Object) -> str:
    """The hash of the present template, for which there is a ControllerRevision of the highest number after this."""
    meta, template = thing["metadata"], thing["spec"]["template"]
    wanted = template_hash(template)
    kept = owned(store, "ControllerRevision", thing)
    newest = max((int(each["revision"]) for each in kept), default=0)
    found = next((each for each in kept if each["metadata"]["labels"].get(HASH) == wanted), None)
    if found is None:
        name = f"{meta['name']}-{wanted}"
        data = {"spec": {"template": {**clone(template), "$patch": "replace"}}}
        store.create("ControllerRevision", {
            "metadata": {"name": name, "namespace": meta["namespace"],
                         "labels": {**(template["metadata"].get("labels") or {}), HASH: wanted},
                         "annotations": dict(meta.get("annotations") or {}), "ownerReferences": [reference(thing)]},
            "data": data, "revision": newest + 1,
        })  # fmt: skip
    elif int(found["revision"]) < newest:
        number = functools.partial(_numbered, number=newest + 1)
        store.edit("ControllerRevision", found["metadata"]["name"], meta["namespace"], number)
    return wanted


def _numbered(draft: Object, number: int) -> None:
    draft["revision"] = number


def _hash(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH, ""))


def _made(store: Store, thing: Object, revision: str, *, node: str = "", **meta: Any) -> None:
    template = clone(thing["spec"]["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = revision
    made_pod(store, thing, template, node=node, **meta)


def _edit_status(store: Store, thing: Object, status: Object) -> None:
    meta = thing["metadata"]
    store.edit(thing["kind"], meta["name"], meta["namespace"], lambda draft: draft.update({"status": status}))
