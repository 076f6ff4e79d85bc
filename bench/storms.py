"""Large clusters and storms of alerts in them, made by chance from a seed, for measuring diagnosis."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from datetime import UTC, datetime, timedelta

import msgspec

from graph_schema.model import Change, Entity, Relation, Signal

AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
PODS = 3
EACH = 5 + PODS
"""Entities of one service: Service, Deployment, ReplicaSet, ConfigMap, Secret, and its pods."""
SERVICES_PER_NODE, SERVICES_PER_NAMESPACE = 6, 40
BEHIND = ("not_ready", "restarts", "errors", "latency")
"""What pods and workloads complain of in a storm that is larger than the cluster has Services."""
STRAY = 0.05
"""Share of the alerts of a muffled storm that nothing is behind, besides one at least."""
INNOCENT = 3
"""Rollouts of a muffled storm that did nothing."""


class Cluster(msgspec.Struct):
    entities: list[Entity]
    relations: list[Relation]
    callers: dict[str, list[str]]
    """Service → those that call it."""
    services: list[str]


def cluster(count: int, chance: random.Random) -> Cluster:
    """A cluster of about `count` entities with about three relations each, as KT's follower writes them down."""
    services = max(4, count // (EACH + 1))
    found = Cluster([], [], defaultdict(list), [])
    nodes = [_add(found, "Node", f"node-{number}") for number in range(max(2, services // SERVICES_PER_NODE))]
    for number in range(services):
        space = f"team-{number // SERVICES_PER_NAMESPACE}"
        if number % SERVICES_PER_NAMESPACE == 0:
            _add(found, "Namespace", space)
        name = f"svc-{number}"
        service, owner = _add(found, "Service", name, space), _add(found, "Deployment", name, space)
        revision, config = (
            _add(found, "ReplicaSet", f"{name}-1", space),
            _add(found, "ConfigMap", f"{name}-conf", space),
        )
        secret = _add(found, "Secret", f"{name}-credentials", space)
        found.relations.append(Relation(owner, revision, "OWNS"))
        for place in range(PODS):
            pod = _add(found, "Pod", f"{name}-1-{place}", space)
            found.relations += [
                Relation(revision, pod, "OWNS"), Relation(service, pod, "SELECTS"), Relation(pod, config, "MOUNTS"),
                Relation(pod, chance.choice(nodes), "RUNS_ON"), Relation(pod, secret, "MOUNTS"),
            ]  # fmt: skip
        found.services.append(service)
        # Calls go to services made before; now and then to one of the oldest, which many share, as databases are.
        for callee in {_callee(number, chance) for _ in range(chance.choice((1, 2, 2, 3)))} if number else ():
            found.relations.append(Relation(service, found.services[callee], "CALLS"))
            found.callers[found.services[callee]].append(service)
    return found


def _callee(number: int, chance: random.Random) -> int:
    near = max(0, number - 60)
    return near // 50 * 50 if chance.random() < 0.2 else chance.randrange(near, number)


def _add(found: Cluster, kind: str, name: str, namespace: str = "") -> str:
    key = f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}"
    found.entities.append(Entity(id=key, kind=kind, name=name, namespace=namespace))
    if namespace:
        found.relations.append(Relation(f"Namespace/{namespace}", key, "CONTAINS"))
    return key


def storm(world: Cluster, count: int, chance: random.Random) -> tuple[list[Signal], list[Change], list[str]]:
    """Alerts of `count` (service, symptom) along the calls from as few sick workloads as it takes; the workloads."""
    signals: dict[tuple[str, str], Signal] = {}
    changes: list[Change] = []
    guilty: list[str] = []
    symptoms = [("", each) for each in ("errors", "latency")]
    if count > len(world.services):
        symptoms += [(f"-1-{number}", each) for number in range(PODS) for each in BEHIND]
    for _ in range(count):
        if len(signals) >= count:
            break
        root = chance.choice(world.services)
        workload = root.replace("Service/", "Deployment/")
        guilty.append(workload)
        changes.append(Change(entity=workload, at=AT - timedelta(seconds=90), kind="rollout", detail="1.1"))
        reached, front = {root}, deque([root])
        while front and len(signals) < count:
            here = front.popleft()
            for place, symptom in symptoms:
                if chance.random() < 0.8 and len(signals) < count:
                    where = here.replace("Service/", "Pod/") + place if place else here
                    signals.setdefault((where, symptom), _signal(where, symptom, chance))
            onward = [each for each in world.callers.get(here, ()) if each not in reached]
            reached.update(onward)
            front.extend(onward)
    return list(signals.values()), changes, guilty


def _signal(entity: str, symptom: str, chance: random.Random) -> Signal:
    return Signal(
        fingerprint=f"{symptom}@{entity}", entity=entity, symptom=symptom, name=f"Service{symptom.title()}",
        starts_at=AT + timedelta(seconds=chance.uniform(0, 60)), severity="warning", confidence=0.95,
    )  # fmt: skip


def muffled(
    world: Cluster, count: int, chance: random.Random, heard: float
) -> tuple[list[Signal], list[Change], list[str]]:
    """A storm of which only this share of the alerts is heard, among stray ones and innocent rollouts; of every other
    storm the rollouts that brought it about are not recorded."""
    signals, changes, guilty = storm(world, round(count / heard), chance)
    signals = [each for each in signals if chance.random() < heard]
    for _ in range(max(1, round(count * STRAY))):
        signals.append(_signal(chance.choice(world.services), chance.choice(("errors", "latency")), chance))
    if chance.random() < 0.5:
        changes = []
    for _ in range(INNOCENT):
        workload = chance.choice(world.services).replace("Service/", "Deployment/")
        at = AT - timedelta(seconds=chance.uniform(30, 600))
        changes.append(Change(entity=workload, at=at, kind="rollout", detail="1.2"))
    return list({each.fingerprint: each for each in signals}.values()), changes, guilty
