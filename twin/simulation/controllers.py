"""The controllers: Deployments roll their ReplicaSets, ReplicaSets keep their pods, sick nodes are tainted and emptied.

Each function is one visit of its control loop: it looks at what is there and takes the steps that are due.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec

from twin.api import budgets, defaults, deletion
from twin.api.selectors import labels_of, selects
from twin.errors import ApiError
from twin.kinds import BY_KIND
from twin.objects import Object, Store, clone, stamp

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
UNREACHABLE = "node.kubernetes.io/unreachable"
GRACE = timedelta(seconds=8)
"""How long a node may be silent before it counts as not ready. (A real cluster waits 40 s; the twin is impatient.)"""
TOLERATED = timedelta(seconds=300)
"""How long pods stay on a node that is unreachable, unless somebody moves them."""


def owned(store: Store, kind: str, owner: Object) -> list[Object]:
    """Children of an owner that are not going, by name."""
    uid, namespace = owner["metadata"]["uid"], owner["metadata"]["namespace"]
    return [
        each
        for each in store.all(kind, namespace)
        if any(reference["uid"] == uid for reference in each["metadata"].get("ownerReferences") or [])
    ]


def claimed(store: Store, owner: Object) -> list[Object]:
    """The pods of an owner by its selector: those that match and nobody has are taken, those that do not are let go
    (Kubernetes docs, ReplicaSet: non-template pod acquisitions)."""
    meta, selector = owner["metadata"], owner["spec"].get("selector")
    for pod in list(store.all("Pod", meta["namespace"])):
        references = pod["metadata"].get("ownerReferences") or []
        fits, mine = selects(selector, labels_of(pod)), any(each["uid"] == meta["uid"] for each in references)
        if mine and not fits:
            kept = [each for each in references if each["uid"] != meta["uid"]]
        elif fits and not references and "deletionTimestamp" not in pod["metadata"]:
            kept = [reference(owner)]
        else:
            continue
        store.edit("Pod", pod["metadata"]["name"], meta["namespace"], functools.partial(_owned_by, references=kept))
    return owned(store, "Pod", owner)


def _owned_by(draft: Object, references: list[Object]) -> None:
    draft["metadata"]["ownerReferences"] = references
    if not references:
        del draft["metadata"]["ownerReferences"]


def template_hash(template: Object) -> str:
    return hashlib.sha256(msgspec.json.encode(template, order="deterministic")).hexdigest()[:10]


def deployments(store: Store, now: datetime) -> None:
    for deployment in list(store.all("Deployment")):
        # What its API refuses (a namespace that is going) a controller tries again at its next visit.
        with contextlib.suppress(ApiError):
            _roll(store, deployment, now)


def _roll(store: Store, deployment: Object, now: datetime) -> None:
    spec, meta = deployment["spec"], deployment["metadata"]
    sets = owned(store, "ReplicaSet", deployment)
    new = _current_set(store, deployment, sets)
    old = [each for each in owned(store, "ReplicaSet", deployment) if each["metadata"]["uid"] != new["metadata"]["uid"]]
    wanted = int(spec["replicas"])
    rolling = spec["strategy"].get("rollingUpdate") or {}
    surge = budgets.share(rolling.get("maxSurge", "25%"), wanted)
    unavailable = budgets.share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if not surge and not unavailable:
        unavailable = 1
    total_old = sum(each["spec"]["replicas"] for each in old)
    _size(store, new, min(wanted, max(new["spec"]["replicas"], wanted + surge - total_old)) if old else wanted)
    available = sum(_ready_pods(store, each) for each in [new, *old])
    spare = max(0, available - (wanted - unavailable))
    for each in sorted(old, key=_revision):
        size = each["spec"]["replicas"]
        # Pods that are not ready serve nobody: they go first and cost nothing.
        idle = max(0, size - _ready_pods(store, each))
        drop = min(size, idle + spare)
        spare -= max(0, drop - idle)
        if drop:
            _size(store, each, size - drop)
    _report(store, deployment, now, meta["name"], new)


def _current_set(store: Store, deployment: Object, sets: list[Object]) -> Object:
    """The ReplicaSet of the present template: made, or an old one that is the present one again."""
    wanted = template_hash(deployment["spec"]["template"])
    meta = deployment["metadata"]
    found = next((each for each in sets if each["metadata"]["labels"].get(HASH) == wanted), None)
    newest = max((_revision(each) for each in sets), default=0)
    if found is None:
        found = store.create("ReplicaSet", _new_set(store, deployment, wanted, newest + 1))
    elif _revision(found) < newest:
        found = store.edit(
            "ReplicaSet",
            found["metadata"]["name"],
            meta["namespace"],
            lambda draft: draft["metadata"]["annotations"].update({REVISION: str(newest + 1)}),
        )
    elif not _handed_down(deployment).items() <= found["metadata"]["annotations"].items():
        handed = _handed_down(deployment)
        found = store.edit(
            "ReplicaSet", found["metadata"]["name"], meta["namespace"],
            lambda draft: draft["metadata"]["annotations"].update(handed),
        )  # fmt: skip
    revision = str(_revision(found))
    if (meta.get("annotations") or {}).get(REVISION) != revision:
        store.edit(
            "Deployment",
            meta["name"],
            meta["namespace"],
            lambda draft: draft["metadata"].setdefault("annotations", {}).update({REVISION: revision}),
        )
    return found


def _handed_down(deployment: Object) -> dict[str, str]:
    """The annotations that a ReplicaSet gets from its Deployment (deployment controller: all but its own)."""
    marks = deployment["metadata"].get("annotations") or {}
    return {
        key: value
        for key, value in marks.items()
        if not key.startswith("deployment.kubernetes.io/") and not key.endswith("last-applied-configuration")
    }


def _new_set(store: Store, deployment: Object, name: str, revision: int) -> Object:
    meta, template = deployment["metadata"], clone(deployment["spec"]["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = name
    labels = dict(template["metadata"]["labels"])
    made: Object = {
        "metadata": {
            "name": f"{meta['name']}-{name}",
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": {**_handed_down(deployment), REVISION: str(revision)},
            "ownerReferences": [reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        "status": {"replicas": 0},
    }
    defaults.fill(store, "ReplicaSet", made)
    return made


def reference(owner: Object) -> dict[str, Any]:
    """What a child says of the owner that keeps it."""
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, "0"))


def _ready_pods(store: Store, owner: Object) -> int:
    pods = owned(store, "Pod", owner)
    return sum(1 for pod in pods if budgets.ready(pod) and "deletionTimestamp" not in pod["metadata"])


def _size(store: Store, replica_set: Object, replicas: int) -> None:
    if replica_set["spec"]["replicas"] != replicas:
        meta = replica_set["metadata"]
        store.edit(
            "ReplicaSet", meta["name"], meta["namespace"], lambda draft: draft["spec"].update({"replicas": replicas})
        )


def _report(store: Store, deployment: Object, now: datetime, name: str, new: Object) -> None:
    namespace = deployment["metadata"]["namespace"]
    current = store.get("Deployment", name, namespace)
    sets = owned(store, "ReplicaSet", current)
    pods = [pod for each in sets for pod in owned(store, "Pod", each) if "deletionTimestamp" not in pod["metadata"]]
    updated = sum(1 for pod in pods if pod["metadata"]["ownerReferences"][0]["uid"] == new["metadata"]["uid"])
    ready = sum(1 for pod in pods if budgets.ready(pod))
    wanted = int(current["spec"]["replicas"])
    status = {
        "observedGeneration": current["metadata"]["generation"],
        "replicas": len(pods),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
        "conditions": [
            {"type": "Available", "status": "True" if ready >= wanted else "False", "reason": "MinimumReplicas"},
        ],
    }
    store.edit("Deployment", name, namespace, lambda draft: draft.update({"status": status}))


def replica_sets(store: Store) -> None:
    for replica_set in list(store.all("ReplicaSet")):
        with contextlib.suppress(ApiError):
            _keep(store, replica_set)


def _keep(store: Store, replica_set: Object) -> None:
    """As many pods of a ReplicaSet as it wants."""
    pods = [pod for pod in claimed(store, replica_set) if "deletionTimestamp" not in pod["metadata"]]
    alive = [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Failed", "Succeeded")]
    wanted = int(replica_set["spec"]["replicas"])
    for _ in range(wanted - len(alive)):
        _new_pod(store, replica_set)
    # Not ready ones first, then the youngest, as the real controller does.
    surplus = sorted(alive, key=lambda pod: (budgets.ready(pod), pod["metadata"]["creationTimestamp"]))
    for pod in surplus[: max(0, len(alive) - wanted)]:
        deletion.delete(store, BY_KIND["Pod"], pod, {"gracePeriodSeconds": 1})
    meta = replica_set["metadata"]
    ready = sum(1 for pod in alive if budgets.ready(pod))
    status = {"replicas": len(alive), "readyReplicas": ready, "observedGeneration": meta.get("generation", 1)}
    store.edit("ReplicaSet", meta["name"], meta["namespace"], functools.partial(_set_status, status=status))


def _set_status(draft: Object, status: dict[str, Any]) -> None:
    draft["status"] = status


def _new_pod(store: Store, replica_set: Object) -> None:
    made_pod(store, replica_set, replica_set["spec"]["template"], generateName=f"{replica_set['metadata']['name']}-")


def made_pod(store: Store, owner: Object, template: Object, *, node: str = "", **meta: Any) -> Object:
    """A pod of a template, owned; `meta` adds to its metadata, `node` says where it stands."""
    made = clone(template)
    pod: Object = {
        "metadata": {
            **made.get("metadata", {}),
            "namespace": owner["metadata"]["namespace"],
            "ownerReferences": [reference(owner)],
            **meta,
        },
        "spec": {**made["spec"], **({"nodeName": node} if node else {})},
    }
    defaults.fill(store, "Pod", pod)
    return store.create("Pod", pod)


def nodes(store: Store, heartbeats: dict[str, datetime], now: datetime) -> None:
    """The node controller: silence makes a node unknown and tainted, its pods not ready, and in the end evicted."""
    for node in list(store.all("Node")):
        name = node["metadata"]["name"]
        silent = now - heartbeats.get(name, now)
        ready = silent < GRACE
        if _ready(node) != ready:
            store.edit("Node", name, "", functools.partial(_set_node, ready=ready, now=now))
        if ready:
            continue
        for pod in list(store.all("Pod")):
            if pod["spec"].get("nodeName") != name:
                continue
            meta = pod["metadata"]
            if budgets.ready(pod):
                store.edit("Pod", meta["name"], meta["namespace"], lambda draft: set_ready(draft, False, now))
            if silent > GRACE + TOLERATED and "deletionTimestamp" not in meta:
                deletion.delete(store, BY_KIND["Pod"], pod, {})


def _ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _set_node(draft: Object, ready: bool, now: datetime) -> None:
    for condition in draft["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = "True" if ready else "Unknown"
            condition["reason"] = "KubeletReady" if ready else "NodeStatusUnknown"
            condition["lastTransitionTime"] = stamp(now)
    taints = [each for each in draft["spec"].get("taints", []) if each["key"] != UNREACHABLE]
    if not ready:
        taints += [{"key": UNREACHABLE, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    draft["spec"]["taints"] = taints


def set_ready(draft: Object, ready: bool, now: datetime) -> None:
    """Write a pod's Ready condition."""
    conditions = draft["status"].setdefault("conditions", [])
    conditions[:] = [each for each in conditions if each["type"] != "Ready"]
    value = "True" if ready else "False"
    conditions.append({"type": "Ready", "status": value, "lastTransitionTime": stamp(now)})
