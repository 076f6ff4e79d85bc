"""How long a diagnosis takes, by the size of the graph and of the storm, and what an entity costs in memory.

Clusters of 10^4 entities and up (services that call each other, their workloads, pods, nodes, configuration; about two
relations each) are kept in KT's own store; a storm is the alerts that a few sick workloads bring about along the calls.
Timed is what the pipeline does: the neighbourhood out of the store, then the diagnosis; in processor time of this
process, which other load bears on less than on the time of the clock.

    python -m bench.scale [--entities 10000 100000] [--storms 10 100 1000 10000] [--rounds N]

Neo4j is measured as well when KT_TEST_NEO4J_URI is set (user and password in KT_TEST_NEO4J_USER and _PASSWORD): what is
in that database is lost. Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import statistics
import tempfile
import time
import tracemalloc
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import neo4j

from bench.alert_rankers import by_pagerank
from diagnose import diagnose
from graph_schema.catalogue import Catalogue, load_catalogue
from graph_schema.model import Change, Entity, Relation, Signal
from graph_schema.ontology import Ontology, load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.neo4j import Neo4jGraphStore
from graph_schema.stores.sqlite import SqliteGraphStore

AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
PODS = 3
EACH = 5 + PODS
"""Entities of one service: Service, Deployment, ReplicaSet, ConfigMap, autoscaler or Secret, and its pods."""
SERVICES_PER_NODE = 6
HOPS = 6
"""As the settings have it (`pipeline.hops`)."""
CHUNK = 5000
GOAL_ALERTS, MOST_ALERTS = 100, 10_000


class Cluster(msgspec.Struct):
    entities: list[Entity]
    relations: list[Relation]
    callers: dict[str, list[str]]
    """Service → those that call it."""
    services: list[str]


class Timed(msgspec.Struct):
    """Milliseconds of processor time of each round."""

    walk: list[float] = []
    diagnosis: list[float] = []
    baseline: list[float] = []
    named: int = 0

    def total(self) -> list[float]:
        return [one + two for one, two in zip(self.walk, self.diagnosis, strict=True)]


def cluster(count: int, chance: random.Random) -> Cluster:
    """A cluster of about `count` entities."""
    services = max(4, count // (EACH + 1))
    found = Cluster([], [], defaultdict(list), [])
    nodes = [_add(found, "Node", f"node-{number}") for number in range(max(2, services // SERVICES_PER_NODE))]
    for number in range(services):
        space = f"team-{number // 40}"
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
    return key


def storm(world: Cluster, count: int, chance: random.Random) -> tuple[list[Signal], list[Change], list[str]]:
    """Alerts of `count` (service, symptom) along the calls from as few sick workloads as it takes; the workloads."""
    signals: dict[tuple[str, str], Signal] = {}
    changes: list[Change] = []
    guilty: list[str] = []
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
            for symptom in ("errors", "latency"):
                if chance.random() < 0.8 and len(signals) < count:
                    signals.setdefault((here, symptom), _signal(here, symptom, chance))
            onward = [each for each in world.callers.get(here, ()) if each not in reached]
            reached.update(onward)
            front.extend(onward)
    return list(signals.values()), changes, guilty


def _signal(entity: str, symptom: str, chance: random.Random) -> Signal:
    return Signal(
        fingerprint=f"{symptom}@{entity}", entity=entity, symptom=symptom, name=f"Service{symptom.title()}",
        starts_at=AT + timedelta(seconds=chance.uniform(0, 60)), severity="warning", confidence=0.95,
    )  # fmt: skip


def fill(store: GraphStore, world: Cluster) -> float:
    """Seconds that it took to load the cluster."""
    began = time.perf_counter()
    for start in range(0, len(world.entities), CHUNK):
        store.upsert(world.entities[start : start + CHUNK], at=AT - timedelta(days=1))
    for start in range(0, len(world.relations), CHUNK):
        store.upsert((), world.relations[start : start + CHUNK], at=AT - timedelta(days=1))
    return time.perf_counter() - began


def measure(
    store: GraphStore, world: Cluster, alerts: int, rounds: int, knowledge: tuple[Catalogue, Ontology]
) -> Timed:
    """Every round is another storm: nothing that was found out for one helps the next."""
    catalogue, ontology = knowledge
    found = Timed([], [], [])
    for number in range(rounds):
        chance = random.Random(f"{alerts}/{number}")
        signals, changes, guilty = storm(world, alerts, chance)
        gc.collect()
        began = time.process_time()
        piece = store.neighbourhood(sorted({each.entity for each in signals}), hops=HOPS)
        piece = msgspec.structs.replace(piece, changes=(*piece.changes, *changes))
        walked = time.process_time()
        answer = diagnose(piece, signals, catalogue, ontology, now=AT)
        ended = time.process_time()
        by_pagerank(piece, signals)
        found.baseline.append(1000 * (time.process_time() - ended))
        found.walk.append(1000 * (walked - began))
        found.diagnosis.append(1000 * (ended - walked))
        found.named += bool(answer.hypotheses and answer.hypotheses[0].entity in guilty)
    return found


def memory_per_entity(world: Cluster, ontology: Ontology) -> float:
    """Bytes of Python memory that the store needs for one entity with its relations."""
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        tracemalloc.start()
        store = SqliteGraphStore(Path(folder) / "graph.db", ontology.fault_from)
        fill(store, world)
        store.neighbourhood([world.services[0]], hops=1)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        store.close()
    return used / len(world.entities)


def p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def show(where: str, entities: int, alerts: int, found: Timed) -> None:
    print(
        f"{where:7s} {entities:8d} entities {alerts:6d} alerts  p50 {statistics.median(found.total()):9.1f} ms"
        f"  p99 {p99(found.total()):9.1f} ms  (walk {statistics.median(found.walk):8.1f},"
        f" diagnosis {statistics.median(found.diagnosis):9.1f}; PageRank {statistics.median(found.baseline):8.1f})"
        f"  named {found.named}/{len(found.walk)}", flush=True,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, nargs="+", default=[10_000, 100_000], help="sizes of the graph")
    parser.add_argument("--storms", type=int, nargs="+", default=[10, 100, 1000, 10_000], help="numbers of alerts")
    parser.add_argument("--rounds", type=int, default=20, help="storms of each number; a few for the large ones")
    given = parser.parse_args()
    ontology = load_ontology()
    knowledge = load_catalogue(ontology=ontology), ontology
    answer: dict[str, object] = {}
    medians: dict[int, float] = {}
    for size in given.entities:
        world = cluster(size, random.Random(size))
        count = len(world.entities)
        with tempfile.TemporaryDirectory() as folder:
            store = SqliteGraphStore(Path(folder) / "graph.db", ontology.fault_from)
            loaded = fill(store, world)
            store.neighbourhood([world.services[0]], hops=1)
            print(f"memory  {count:8d} entities, {len(world.relations)} relations loaded in {loaded:.1f} s", flush=True)
            for alerts in given.storms if size == given.entities[0] else [GOAL_ALERTS]:
                rounds = max(1, min(given.rounds, GOAL_ALERTS * given.rounds // alerts))
                found = measure(store, world, alerts, rounds, knowledge)
                show("memory", count, alerts, found)
                if alerts == GOAL_ALERTS:
                    medians[size] = statistics.median(found.total())
                    answer.setdefault("p99_ms_100_memory", round(p99(found.total()), 1))
                    answer.setdefault("p50_ms_100_memory", round(medians[size], 1))
                    answer.setdefault("pagerank_p50_ms_100", round(statistics.median(found.baseline), 1))
                if alerts == MOST_ALERTS:
                    answer["s_10000"] = round(statistics.median(found.total()) / 1000, 2)
            store.close()
        if size == given.entities[0]:
            answer["bytes_per_entity"] = round(memory_per_entity(world, ontology))
            if uri := os.environ.get("KT_TEST_NEO4J_URI"):
                answer |= _on_neo4j(uri, world, given.rounds, knowledge)
    if len(medians) > 1:
        answer["growth"] = round(medians[max(medians)] / medians[min(medians)], 2)
    print(json.dumps(answer))


def _on_neo4j(uri: str, world: Cluster, rounds: int, knowledge: tuple[Catalogue, Ontology]) -> dict[str, object]:
    user, password = os.environ.get("KT_TEST_NEO4J_USER", ""), os.environ.get("KT_TEST_NEO4J_PASSWORD", "")
    auth = (user, password) if user else None
    with neo4j.GraphDatabase.driver(uri, auth=auth) as driver:
        driver.execute_query("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS")
    store = Neo4jGraphStore(uri, auth, knowledge[1].fault_from)
    loaded = fill(store, world)
    found = measure(store, world, GOAL_ALERTS, rounds, knowledge)
    show("neo4j", len(world.entities), GOAL_ALERTS, found)
    store.close()
    return {"p99_ms_100_neo4j": round(p99(found.total()), 1), "load_s_neo4j": round(loaded, 1)}


if __name__ == "__main__":
    main()
