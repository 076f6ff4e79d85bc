"""One thing that goes wrong in a world, and what those that make faults have in common."""

from __future__ import annotations

import random

import msgspec

from bench.worlds.cluster import Workload, World
from bench.worlds.flow import Local


class Fault(msgspec.Struct):
    kind: str
    entities: tuple[str, ...]
    """Naming any of these is right."""
    modes: tuple[str, ...]
    """Naming any of these fault modes is right."""
    local: dict[str, Local] = {}
    external: dict[str, Local] = {}
    complains: list[tuple[str, str, float]] = []
    """(entity, what Kubernetes would say of it, how surely it is watched)."""
    change: tuple[str, str, str] | None = None
    """(entity, kind, detail)."""
    certain_change: bool = False
    gone: str = ""
    """Deleted: not in the topology any more."""


def crash(each: Workload, share: float = 1.0, what: str = "crash") -> list[tuple[str, str, float]]:
    sick = each.pods[: max(1, round(len(each.pods) * share))]
    found = [(pod, what, 0.75) for pod in sick]
    if each.kind != "DaemonSet":
        found.append((each.id, "replicas", 0.8))
    return found


def some(world: World, chance: random.Random, *, store: bool | None = None, called: bool = False) -> Workload | None:
    callees = {name for each in world.workloads.values() for name in each.calls}
    fitting = [
        each
        for each in world.workloads.values()
        if each.namespace in world.namespaces
        and (store is None or each.store == store)
        and (not called or each.name in callees)
    ]
    return chance.choice(fitting) if fitting else None
