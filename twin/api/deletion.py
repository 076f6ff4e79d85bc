"""How an object goes: at once, after a grace, or after what depends on it."""

from __future__ import annotations

from typing import Any

from twin import errors
from twin.kinds import KINDS, Kind
from twin.objects import Object, Store

_FOREGROUND = "foregroundDeletion"
_PRECONDITIONS = {"uid": ("UID", "deleted and then recreated"), "resourceVersion": ("ResourceVersion", "modified")}


def delete(store: Store, kind: Kind, given: Object, options: dict[str, Any]) -> tuple[Object, bool]:
    """Begin or do the deletion; gives the object as it is now and whether it is gone already.

    `options` are DeleteOptions: gracePeriodSeconds, propagationPolicy, preconditions (409 when they do not hold).
    """
    _preconditions(kind, given, options.get("preconditions") or {})
    if kind.kind == "Pod":
        return _pod(store, given, options)
    if kind.kind == "Namespace":
        return _namespace(store, given)
    policy = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else "Background")
    if policy == "Orphan":
        orphan(store, given["metadata"]["uid"])
    if policy == "Foreground":
        return store.mark_deleted(kind.kind, given, 0, _FOREGROUND), False
    if given["metadata"].get("finalizers"):
        return store.mark_deleted(kind.kind, given, 0), False
    return store.remove(kind.kind, given), True


def _preconditions(kind: Kind, given: Object, asked: dict[str, Any]) -> None:
    meta = given["metadata"]
    for field in ("uid", "resourceVersion"):
        if asked.get(field) and asked[field] != meta[field]:
            word, then = _PRECONDITIONS[field]
            why = (
                f"the {word} in the precondition ({asked[field]}) does not match the {word} in record "
                f"({meta[field]}). The object might have been {then}"
            )
            raise errors.conflict(kind.kind, "", meta["name"], why)


def _pod(store: Store, pod: Object, options: dict[str, Any]) -> tuple[Object, bool]:
    grace = options.get("gracePeriodSeconds")
    if grace is None:
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        grace = 0
    if grace <= 0 and not pod["metadata"].get("finalizers"):
        return store.remove("Pod", pod), True
    return store.mark_deleted("Pod", pod, max(0, grace)), False


def _namespace(store: Store, space: Object) -> tuple[Object, bool]:
    """Marked; the namespace controller empties and ends it."""

    def terminate(draft: Object) -> None:
        draft["status"]["phase"] = "Terminating"

    store.mark_deleted("Namespace", space, 0, "kubernetes")
    return store.edit("Namespace", space["metadata"]["name"], "", terminate), False


def orphan(store: Store, uid: str) -> None:
    """Let go of everything that this owner owns."""

    def release(draft: Object) -> None:
        owners = draft["metadata"].get("ownerReferences", [])
        draft["metadata"]["ownerReferences"] = [each for each in owners if each["uid"] != uid]

    for kind, child in dependents(store, uid):
        store.edit(kind, child["metadata"]["name"], child["metadata"].get("namespace", ""), release)


def dependents(store: Store, uid: str) -> list[tuple[str, Object]]:
    return [
        (kind.kind, each)
        for kind in KINDS
        for each in store.all(kind.kind)
        if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences") or [])
    ]


def collect_garbage(store: Store) -> None:
    """The garbage collector: what lost its last owner goes, and owners that waited for their dependents."""
    uids = {each["metadata"]["uid"] for kind in KINDS for each in store.all(kind.kind)}
    leaving = {
        each["metadata"]["uid"]
        for kind in KINDS
        for each in store.all(kind.kind)
        if _FOREGROUND in (each["metadata"].get("finalizers") or [])
    }
    for kind in KINDS:
        for each in list(store.all(kind.kind)):
            meta = each["metadata"]
            owners = meta.get("ownerReferences") or []
            lost = owners and all(owner["uid"] not in uids or owner["uid"] in leaving for owner in owners)
            if lost and "deletionTimestamp" not in meta:
                delete(store, kind, each, {})
            elif meta["uid"] in leaving and not dependents(store, meta["uid"]):
                store.edit(kind.kind, meta["name"], meta.get("namespace", ""), _let_go)


def _let_go(draft: Object) -> None:
    finalizers = draft["metadata"]["finalizers"]
    draft["metadata"]["finalizers"] = [each for each in finalizers if each != _FOREGROUND]


def empty_namespaces(store: Store) -> None:
    """The namespace controller: a terminating namespace loses its contents, then itself."""
    for space in list(store.all("Namespace")):
        if "deletionTimestamp" not in space["metadata"]:
            continue
        name = space["metadata"]["name"]
        contents = [(kind, each) for kind in KINDS if kind.namespaced for each in store.all(kind.kind, name)]
        for kind, each in contents:
            if "deletionTimestamp" not in each["metadata"] and store.find(kind.kind, each["metadata"]["name"], name):
                delete(store, kind, each, {})
        if not contents:
            store.remove("Namespace", store.get("Namespace", name))
