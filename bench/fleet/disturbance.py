"""A disturbance and its right answer, and what those that make them have in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from bench.fleet.monitoring import Monitoring
from bench.fleet.pods import Ints


class Done(msgspec.Struct):
    kind: str
    entities: tuple[str, ...]
    """Naming any of these is right."""
    modes: tuple[str, ...]
    changes: list[tuple[str, str, str]] = []
    """(entity, kind, detail) of what was altered on purpose."""
    gone: list[str] = []
    """Deleted: no longer in the topology."""
    states: dict[str, dict[str, object]] = {}
    """What the cluster's API tells of it beside what follows from pods and nodes."""


Maker = Callable[[Monitoring, random.Random], Done | None]


def some(site: Monitoring, chance: random.Random, *roles: str, least: int = 1) -> int | None:
    """A workload that gets requests."""
    world = site.seen.world
    fitting = [
        number
        for number, each in enumerate(world.made.workloads)
        if each.role in roles and each.usual_per_s > 1 and each.replicas >= least and not touched(site, number)
    ]
    return chance.choice(fitting) if fitting else None


def touched(site: Monitoring, number: int) -> bool:
    """Whether something was done to it already: of two faults at once each has its own place."""
    world = site.seen.world
    here = world.pods.of == number
    return bool(world.cut[number] or not world.selects[number] or world.extra[number] or world.stall[number] != 1
                or world.slots_share[number] != 1 or (world.pods.revision[here] > 0).any()
                or (world.pods.why[here] > 0).any() or world.pods.hangs[here].any())  # fmt: skip


def places_of(site: Monitoring, numbers: Iterable[int]) -> Ints:
    """The places of the pods that these workloads have."""
    pods = site.seen.world.pods
    return np.flatnonzero(pods.there & np.isin(pods.of, list(numbers)))


def pod_name(site: Monitoring, place: int) -> str:
    """The name of the pod that has a place now: another one for each pod that ever had it."""
    pods = site.seen.world.pods
    each = site.seen.world.made.workloads[int(pods.of[place])]
    if each.kind == "StatefulSet":
        return f"{each.name}-{place - int(np.flatnonzero(pods.of == pods.of[place])[0])}"
    return f"{each.name}-r{int(pods.revision[place])}-{place}x{int(pods.generation[place])}"
