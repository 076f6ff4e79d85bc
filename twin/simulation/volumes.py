"""Claims and volumes: a claim is bound to a free volume of its class that is large enough, and grows where it may."""

from __future__ import annotations

import functools

from twin.objects import Object, Store
from twin.simulation.placing import amount


def claims(store: Store) -> None:
    for claim in list(store.all("PersistentVolumeClaim")):
        if claim["status"]["phase"] == "Pending":
            _bind(store, claim)
        elif claim["status"]["phase"] == "Bound":
            _grow(store, claim)


def _bind(store: Store, claim: Object) -> None:
    meta, wanted = claim["metadata"], claim["spec"]["resources"]["requests"]["storage"]
    name = claim["spec"].get("storageClassName", "")
    free = [
        each
        for each in store.all("PersistentVolume")
        if each["status"]["phase"] == "Available" and each["spec"].get("storageClassName", "") == name
    ]
    large = [each for each in free if amount(each["spec"]["capacity"]["storage"]) >= amount(wanted)]
    if not large:
        return
    volume = min(large, key=lambda each: (amount(each["spec"]["capacity"]["storage"]), each["metadata"]["name"]))
    reference = {"kind": "PersistentVolumeClaim", "namespace": meta["namespace"], "name": meta["name"]}
    store.edit("PersistentVolume", volume["metadata"]["name"], "", functools.partial(_taken, reference=reference))
    capacity = dict(volume["spec"]["capacity"])
    bound = functools.partial(_bound, volume=volume["metadata"]["name"], capacity=capacity)
    store.edit("PersistentVolumeClaim", meta["name"], meta["namespace"], bound)


def _taken(draft: Object, reference: Object) -> None:
    draft["spec"]["claimRef"], draft["status"]["phase"] = reference, "Bound"


def _bound(draft: Object, volume: str, capacity: Object) -> None:
    draft["spec"]["volumeName"] = volume
    draft["status"] |= {"phase": "Bound", "capacity": capacity, "accessModes": draft["spec"].get("accessModes", [])}


def _grow(store: Store, claim: Object) -> None:
    """What the driver of a class does that lets volumes grow."""
    wanted, there = claim["spec"]["resources"]["requests"]["storage"], claim["status"]["capacity"]["storage"]
    found = store.find("StorageClass", claim["spec"].get("storageClassName") or "")
    if amount(wanted) <= amount(there) or found is None or not found.get("allowVolumeExpansion"):
        return
    meta = claim["metadata"]

    def grown(draft: Object) -> None:
        draft["status"]["capacity"] = {**draft["status"]["capacity"], "storage": wanted}

    store.edit("PersistentVolumeClaim", meta["name"], meta["namespace"], grown)
