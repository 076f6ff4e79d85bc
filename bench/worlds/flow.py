"""Requests through a cluster: errors, latency and load of each service, by fixed point over who calls whom."""

from __future__ import annotations

import msgspec

from bench.worlds.cluster import World

TIMEOUT_MS = 1000.0


class Local(msgspec.Struct):
    """What is wrong with one workload by itself."""

    errors: float = 0.0
    slower: float = 1.0
    up: float = 1.0
    """Share of its pods that serve."""
    unreachable: bool = False
    surge: float = 1.0
    """How many times the usual load comes in from outside."""
    capacity: float = 1.0
    """Factor on what it can take."""


class Felt(msgspec.Struct):
    """What its callers feel."""

    errors: float = 0.0
    ms: float = 0.0
    usual_ms: float = 0.0
    load: float = 1.0
    traffic: float = 1.0
    """Requests that reach it, against usual."""
    saturation: float = 0.0


def solve(world: World, local: dict[str, Local], external: dict[str, Local]) -> dict[str, Felt]:
    """Errors and latency go up from callees to callers, load goes down; 30 rounds are more than any chain is long."""
    felt = {name: Felt() for name in world.workloads}
    for _ in range(30):
        _down(world, local, felt)
        for name, each in world.workloads.items():
            mine, state = local.get(name, Local()), felt[name]
            room = each.capacity * mine.capacity * max(mine.up, 0.01)
            state.saturation = state.load / room
            queue = 1.0 if state.saturation < 0.7 else min(30.0, 1 / max(0.03, 1.05 - state.saturation) / 2)
            dropped = max(0.0, 1 - 1 / state.saturation) if state.saturation > 1 else 0.0
            works = (1 - mine.errors) * (1 - dropped) * (1.0 if mine.up > 0 else 0.0)
            # Requests that meet a dying pod before it leaves the endpoints fail.
            works *= 1 - 0.25 * (1 - mine.up) if mine.up < 1 else 1.0
            ms, usual = each.work_ms * mine.slower * queue, each.work_ms
            for callee, share in each.calls.items():
                failing, slow, normally = _callee(callee, local, external, felt)
                works *= 1 - share * failing
                ms += share * min(slow, TIMEOUT_MS)
                usual += share * normally
                if slow > TIMEOUT_MS:
                    works *= 1 - share * 0.9
            state.errors, state.ms, state.usual_ms = 1 - works, ms, usual
    return felt


def _callee(
    name: str, local: dict[str, Local], external: dict[str, Local], felt: dict[str, Felt]
) -> tuple[float, float, float]:
    """(share of failed calls, milliseconds, usual milliseconds) that a caller sees."""
    if name not in felt:
        mine = external.get(name, Local())
        return (1.0 if mine.up == 0 else mine.errors), 50 * mine.slower, 50.0
    if local.get(name, Local()).unreachable:
        return 1.0, TIMEOUT_MS * 0.9, felt[name].usual_ms
    return felt[name].errors, felt[name].ms, felt[name].usual_ms


def _down(world: World, local: dict[str, Local], felt: dict[str, Felt]) -> None:
    load: dict[str, list[float]] = {name: [] for name in felt}
    for name, each in world.workloads.items():
        sent = felt[name].load if local.get(name, Local()).up > 0 else 0.0
        for callee in each.calls:
            if callee in load:
                load[callee].append(0.0 if local.get(callee, Local()).unreachable else sent)
    for name, state in felt.items():
        came = sum(load[name]) / len(load[name]) if load[name] else 1.0
        state.traffic = came
        state.load = came * local.get(name, Local()).surge
