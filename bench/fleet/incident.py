"""One incident of a campaign: an application that is well, one or two disturbances, and what can be known of it some
time after the first alert: topology with states as KT's follower keeps them, changes, alerts, series.
"""

from __future__ import annotations

import functools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from bench.fleet.application import Application, build
from bench.fleet.disturbance import Done, pod_name
from bench.fleet.disturbances import MAKERS
from bench.fleet.mechanism import Mechanism
from bench.fleet.monitoring import Fired, Monitoring, labels, reason, title
from bench.fleet.topology import topology
from graph_schema.model import Change, Entity, Relation

BEGINS = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
APPLICATIONS = {50: 60, 500: 12, 5000: 3}
"""How many different applications there are of each size; incidents of one size take them in turn."""
SETTLE_S, PATIENCE_S = 60, 420
LOOK_S = (15.0, 120.0)
"""How long after its first alert an incident is looked at."""
TWO = 0.15
RECORDED = 0.95
"""How surely a change is known to the follower."""
CHANGED_PER_HOUR = 0.03
"""Innocent changes of a service in an hour."""
INNOCENT_H = 4.0
NODES_CHANGED = 0.04
"""Of these, the share that is about a node (cordoned, drained)."""
TRIES = 40


class Told(msgspec.Struct):
    """What is known of an incident, before anything is lost, late or wrong."""

    seed: int
    services: int
    faults: list[Done]
    began: float
    looked: float
    """Simulated seconds."""
    alerts: list[dict[str, Any]]
    changes: list[Change]
    entities: dict[str, Entity]
    relations: list[Relation]
    ended: list[Relation]
    """Relations with what was deleted."""
    series: dict[str, dict[str, list[tuple[float, float]]]]
    """Entity → metric → (seconds since 1970, value)."""
    rules: list[tuple[str, dict[str, str]]]
    """The rules of the site: name, labels."""
    silent: int
    """Disturbances that were drawn before and raised no alert."""


def moment(at: float) -> datetime:
    return BEGINS + timedelta(seconds=at)


@functools.cache
def calm(services: int, number: int) -> Monitoring:
    """An application that is well, watched for some minutes."""
    made = build(services, number)
    chance = random.Random(f"site {services} {number}")
    world = Mechanism(made, chance.randrange(1 << 30))
    for _ in range(SETTLE_S):
        world.step()
    site = Monitoring(world, chance)
    site.calm()
    return site


def application(services: int, seed: int) -> int:
    """The number of the application of a seed; sets of seeds a million apart have none in common."""
    return seed // 1_000_000 * 1000 + seed % APPLICATIONS.get(services, 10)


def tell(services: int, seed: int) -> Told:
    """The incident of a seed. Disturbances that raise no alert are drawn again and counted."""
    chance = random.Random(f"incident {services} {seed}")
    base = calm(services, application(services, seed))
    for silent in range(TRIES):
        site = base.fork(chance.randrange(1 << 30), chance)
        began = site.seen.world.now
        faults = _disturb(site, chance)
        if faults and _until_alert(site):
            for _ in range(int(chance.uniform(*LOOK_S))):
                site.seen.world.step()
                site.step()
            if firing := site.firing():
                return _told(services, seed, site, faults, began, firing, chance, silent)
    raise RuntimeError(f"{TRIES} disturbances of seed {seed} raised no alert; is the monitoring without rules?")


def _disturb(site: Monitoring, chance: random.Random) -> list[Done]:
    found: list[Done] = []
    for _ in range(2 if chance.random() < TWO else 1):
        maker = chance.choices([each for each, _ in MAKERS], [weight for _, weight in MAKERS])[0]
        done = maker(site, chance)
        if done is not None:
            found.append(done)
    return found


def _until_alert(site: Monitoring) -> bool:
    for _ in range(PATIENCE_S):
        site.seen.world.step()
        site.step()
        if site.firing():
            return True
    return False


def _told(
    services: int, seed: int, site: Monitoring, faults: list[Done], began: float, firing: list[Fired],
    chance: random.Random, silent: int,
) -> Told:  # fmt: skip
    world = site.seen.world
    gone = {thing for each in faults for thing in each.gone}
    entities, relations, ended = topology(site, gone)
    for each in faults:
        for thing, states in each.states.items():
            if thing in entities:
                entities[thing] = _with(entities[thing], states)
    changes = [
        Change(entity=entity, at=moment(began - chance.uniform(0, 2)), kind=kind, detail=detail)
        for each in faults
        for entity, kind, detail in each.changes
        if chance.random() < RECORDED
    ]
    guilty = {thing for each in faults for thing in each.entities}
    changes += _innocent(world.made, chance, began, guilty)
    alerts = [_alert(site, each) for each in sorted(firing, key=lambda one: (one.at, one.rule.alert, one.index))]
    rules = [(each.alert.replace("{Store}", "Postgresql"), {"severity": each.severity}) for each in site.rules]
    return Told(seed, services, faults, began, world.now, alerts, sorted(changes, key=lambda each: each.at),
                entities, relations, ended, _series(site), rules, silent)  # fmt: skip


def _with(entity: Entity, states: dict[str, Any]) -> Entity:
    return msgspec.structs.replace(entity, properties={**entity.properties, **states})


def _alert(site: Monitoring, fired: Fired) -> dict[str, Any]:
    made, pod = site.seen.world.made, ""
    if fired.rule.about == "pod":
        space = made.workloads[int(site.seen.world.pods.of[fired.index])].namespace
        pod = f"{space}/{pod_name(site, fired.index)}"
    named = {**labels(made, fired, pod), **reason(fired, site.seen), "alertname": title(made, fired)}
    return {"status": "firing", "labels": named, "annotations": {}, "startsAt": moment(fired.at).isoformat(),
            "endsAt": "0001-01-01T00:00:00Z"}  # fmt: skip


def _innocent(made: Application, chance: random.Random, began: float, guilty: set[str]) -> list[Change]:
    """What is altered every day without harm, in the hours before and a little after."""
    count = np.random.default_rng(chance.randrange(1 << 30)).poisson(
        len(made.workloads) * CHANGED_PER_HOUR * INNOCENT_H
    )
    found: list[Change] = []
    for _ in range(int(count)):
        each = chance.choice(made.workloads)
        kind, entity = chance.choice((
            ("rollout", each.id), ("rollout", each.id), ("rollout", each.id), ("scale", each.id),
            ("config", each.config[0] if each.config else each.id), ("config", each.service),
        )) if chance.random() > NODES_CHANGED else ("node", f"Node/{chance.choice(made.nodes).name}")  # fmt: skip
        if each.role == "external" or entity in guilty:
            continue
        at = began - chance.uniform(-60, INNOCENT_H * 3600)
        found.append(Change(entity=entity, at=moment(at), kind=kind, detail="by pipeline"))
    return found


def _series(site: Monitoring) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The series of the services that tell of themselves, as KT's own rules record them."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    looks = list(site.seen.kept)
    for number, each in enumerate(site.seen.world.made.workloads):
        if each.role == "external" or not any(look[1][number] for look in looks):
            continue
        mine: dict[str, list[tuple[float, float]]] = {}
        for at, requests, failed, seconds, p99, saturation in looks:
            when, some = moment(at).timestamp(), max(requests[number], 1e-9)
            mine.setdefault("requests_per_second", []).append((when, float(requests[number])))
            if requests[number] > 0:
                mine.setdefault("error_ratio", []).append((when, float(failed[number] / some)))
                mine.setdefault("latency_average_seconds", []).append((when, float(seconds[number] / some)))
                mine.setdefault("latency_p99_seconds", []).append((when, float(p99[number])))
                mine.setdefault("saturation", []).append((when, float(saturation[number])))
        found[each.service] = mine
    return found
