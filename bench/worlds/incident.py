"""One incident: a cluster, one or two faults in it, and what would be in the files of `kt diagnose`."""

from __future__ import annotations

import random
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bench.worlds.cluster import World, build
from bench.worlds.fault import Fault
from bench.worlds.faults import MAKERS
from bench.worlds.flow import Felt, Local, solve
from bench.worlds.monitors import Alerts, Site, habits
from bench.worlds.states import states
from graph_schema.model import Change, Entity, Relation

BEGINS = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
CALL_UNSEEN = 0.04
"""Share of the calls that nobody saw."""
INNOCENT = ("rollout", "rollout", "rollout", "scale", "config", "config", "node", "policy", "delete")


class Truth(msgspec.Struct):
    kind: str
    entities: tuple[str, ...]
    modes: tuple[str, ...]


class Incident(msgspec.Struct):
    seed: int
    entities: list[Entity]
    relations: list[Relation]
    changes: list[Change]
    alerts: list[dict[str, Any]]
    about: list[str]
    """For each alert, the entity that it really speaks of."""
    truths: list[Truth]
    states: dict[str, dict[str, Any]] = {}
    """Entity → its properties as the cluster's API tells them; not part of what is given unless asked for."""
    began: datetime = BEGINS
    """When the faults began."""


def incident(seed: int) -> Incident:
    """The incident of a seed; seeds that show nothing at all are drawn again from the next draw of the same chance."""
    chance = random.Random(seed)  # repeatable on purpose
    while True:
        found = _drawn(seed, chance)
        if found is not None:
            return found


class Place(msgspec.Struct):
    """A cluster that stays, with its habits: many incidents happen in it, one after the other."""

    world: World
    site: Site
    unseen: frozenset[tuple[str, str]]
    """Calls that nobody ever saw."""


def place(seed: int) -> Place:
    chance = random.Random(seed)  # repeatable on purpose
    world = build(chance)
    calls = [(each.source, each.target) for each in world.relations if each.kind == "CALLS"]
    return Place(world, habits(world, chance), frozenset(each for each in calls if chance.random() < CALL_UNSEEN))


def incident_in(where: Place, seed: int) -> Incident:
    """The incident of a seed in a cluster that stays."""
    chance = random.Random(seed)  # repeatable on purpose
    while True:
        found = _happening(seed, chance, where.world, _faults(where.world, chance), where)
        if found is not None:
            return found


def run_in(where: Place, seed: int, kinds: Collection[str]) -> Incident:
    """What a run of chaos raises that repeats one fault of these kinds; it may raise nothing."""
    chance = random.Random(seed)  # repeatable on purpose
    while True:
        maker = chance.choice([each for each, _ in MAKERS])
        fault = maker(where.world, chance)
        if fault is not None and fault.kind in kinds:
            found = _happening(seed, chance, where.world, [fault], where, quiet=True)
            if found is not None:
                return found


def _drawn(seed: int, chance: random.Random) -> Incident | None:
    world = build(chance)
    return _happening(seed, chance, world, _faults(world, chance))


def _faults(world: World, chance: random.Random) -> list[Fault]:
    faults: list[Fault] = []
    for _ in range(2 if chance.random() < 0.15 else 1):
        maker = chance.choices([each for each, _ in MAKERS], [weight for _, weight in MAKERS])[0]
        fault = maker(world, chance)
        taken = {entity for each in faults for entity in each.entities} | {
            name for each in faults for name in each.local
        }
        if fault is not None and not taken & ({*fault.entities} | {*fault.local}):
            faults.append(fault)
    return faults


def _happening(
    seed: int, chance: random.Random, world: World, faults: list[Fault], where: Place | None = None,
    *, quiet: bool = False,
) -> Incident | None:  # fmt: skip
    """What these faults look like; None when nothing is seen of them, unless that is an answer, too (`quiet`)."""
    if not faults:
        return None
    local: dict[str, Local] = {}
    external: dict[str, Local] = {}
    for fault in faults:
        local |= fault.local
        external |= fault.external
    usual, felt = solve(world, {}, {}), solve(world, local, external)
    at = BEGINS + timedelta(seconds=chance.randint(0, 80_000))
    alerts = Alerts(world, where.site if where else habits(world, chance), chance, at)
    alerts.services(felt, usual, {name for name, each in local.items() if each.unreachable})
    for fault in faults:
        alerts.kubernetes([each for each in fault.complains if each[0] not in {other.gone for other in faults}])
    if not alerts.found and not quiet:
        return None
    alerts.spurious(chance.choice([0, 0, 0, 1, 1, 2]))
    changes = [change for fault in faults if (change := _cause(fault, chance, at))]
    changes += _innocent(world, chance, at, {entity for fault in faults for entity in fault.entities})
    gone = {fault.gone for fault in faults if fault.gone}
    entities, relations = _as_seen(world, chance, gone, where.unseen if where else None)
    kept = [number for number, entity in enumerate(alerts.entities) if entity not in gone]
    if not any(alerts.entities[number] for number in kept) and not quiet:
        return None
    chance.shuffle(entities)
    chance.shuffle(relations)
    return Incident(
        seed,
        entities,
        relations,
        sorted(changes, key=lambda each: each.at),
        [alerts.found[each] for each in kept],
        [alerts.entities[each] for each in kept],
        [Truth(each.kind, each.entities, each.modes) for each in faults],
        states(world, faults),
        at,
    )


def _cause(fault: Fault, chance: random.Random, at: datetime) -> Change | None:
    if fault.change is None or (not fault.certain_change and chance.random() > 0.9):
        return None
    entity, kind, detail = fault.change
    return Change(entity=entity, at=at - timedelta(seconds=chance.uniform(5, 300)), kind=kind, detail=detail)


def _innocent(world: World, chance: random.Random, at: datetime, guilty: set[str]) -> list[Change]:
    """Changes that nobody suffers from, spread over four hours before and a little after."""
    found = []
    gone = 0
    for _ in range(chance.choice([0, 2, 5, 9, 15])):
        kind = chance.choice(INNOCENT)
        kinds = {
            "rollout": ("Deployment", "StatefulSet"),
            "scale": ("Deployment",),
            "config": ("ConfigMap", "Secret", "Service"),
            "node": ("Node",),
            "policy": ("NetworkPolicy", "ResourceQuota"),
            "delete": ("ConfigMap",),
        }[kind]
        fitting = [key for key, each in world.entities.items() if each.kind in kinds and key not in guilty]
        if not fitting:
            continue
        entity = chance.choice(fitting)
        if kind == "delete":
            gone += 1
            entity = f"ConfigMap/{chance.choice(world.namespaces)}/old-{gone}"
        when = at + timedelta(seconds=chance.triangular(-14_400, 300, -600))
        found.append(Change(entity=entity, at=when, kind=kind, detail=chance.choice(["", "by pipeline", "by hand"])))
    return found


def _as_seen(
    world: World, chance: random.Random, gone: set[str], unseen: Collection[tuple[str, str]] | None
) -> tuple[list[Entity], list[Relation]]:
    """The topology as it was written down: without what is gone, with calls that nobody saw missing.

    `unseen`: those calls; None: some, by chance.
    """
    entities = [each for key, each in world.entities.items() if key not in gone]
    relations = []
    for each in world.relations:
        if each.source in gone or each.target in gone:
            # Callers and readers still name it; what it pointed to itself went with it.
            if each.target in gone and each.kind in ("CALLS", "MOUNTS", "DEPENDS_ON", "USES") and chance.random() < 0.7:
                relations.append(each)
            continue
        if each.kind == "CALLS" and (
            chance.random() < CALL_UNSEEN if unseen is None else (each.source, each.target) in unseen
        ):
            continue
        relations.append(each)
    return entities, relations


__all__ = ["Felt", "Incident", "Place", "Truth", "incident", "incident_in", "place", "run_in"]
