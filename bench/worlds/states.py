"""What the cluster's API says of its objects while the faults are there: readiness, waiting reasons, endpoints.

KT's own graph always has it, a topology file may not. It is drawn from the mechanism of the faults alone, whoever
watches for what, and says nothing of faults that no object shows (a slow revision, a wrong value, a policy).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench.worlds.cluster import World
from bench.worlds.fault import Fault

SHOWN: dict[str, dict[str, Any]] = {
    "crash": {"ready": False, "waiting": "CrashLoopBackOff"},
    "oom": {"ready": False, "terminated": "OOMKilled"},
    "image": {"ready": False, "waiting": "ImagePullBackOff"},
    "config": {"ready": False, "waiting": "CreateContainerConfigError"},
    "unready": {"ready": False},
    "evicted": {"ready": False, "phase": "Failed", "reason": "Evicted"},
    "node-down": {"ready": False},
    "node-memory": {"pressure": ["MemoryPressure"]},
    "certificate": {"ready": False},
}
"""What is the matter with a thing → its state."""


def states(world: World, faults: Sequence[Fault]) -> dict[str, dict[str, Any]]:
    """Entity → properties."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, thing in world.entities.items():
        if thing.kind == "Pod":
            found[key] = {"ready": True, "phase": "Running"}
        elif thing.kind == "Node":
            found[key] = {"ready": True, "pressure": []}
        elif thing.kind == "Certificate":
            found[key] = {"ready": True}
    for fault in faults:
        for entity, what, _ in fault.complains:
            found[entity].update(SHOWN.get(what, {}))
    down = {entity for entity, shown in found.items() if entity.startswith("Node/") and not shown["ready"]}
    without = {name for fault in faults for name, local in fault.local.items() if local.up == 0}
    empty = {each.kind for each in faults} & {"scaled-to-zero", "workload-deleted"}
    for name, each in world.workloads.items():
        for pod, node in zip(each.pods, each.pod_nodes, strict=True):
            if node in down:
                found[pod]["ready"] = False
        gone = bool(empty) and name in without
        ready = 0 if gone else sum(found[pod]["ready"] for pod in each.pods)
        found[each.id] |= {"replicas": len(each.pods), "ready": ready}
        if gone:
            found[each.id]["replicas"] = 0
            for pod in each.pods:
                found.pop(pod)
        if each.service:
            selected = 0 if gone else len(each.pods)
            found[each.service] = {"selected_pods": selected, "ready_endpoints": ready, "port_declared": True}
    for fault in faults:
        if fault.kind == "service-selector":
            # One of two mistakes, which one does not matter here: the selector, or the port.
            wrong = (
                {"selected_pods": 0, "ready_endpoints": 0} if len(fault.entities[0]) % 2 else {"port_declared": False}
            )
            found[fault.entities[0]].update(wrong)
    return dict(found)
