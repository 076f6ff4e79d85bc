"""How long a diagnosis takes, by the size of the graph and of the storm, and what an entity costs in memory.

Clusters of 10^4 entities and up (services that call each other, their workloads, pods, nodes, configuration; about two
relations each) are kept in a store of KT's; a storm is the alerts that a few sick workloads bring about along the
calls; one that is larger than the cluster has Services tells of pods and workloads as well. Timed is what the pipeline
does: the neighbourhood out of the store, then the diagnosis. In memory it is processor time of this process, which
other load bears on less than on the time of the clock; with Neo4j, which is waited for, it is the time of the clock.

    python -m bench.scale [--stores memory neo4j] [--entities 10000 100000 1000000] [--storms 10 100 1000 10000]
                          [--rounds N] [--profile]

A million entities take their time: run the sizes one by one, 10^6 with few rounds. Neo4j is that
of KT_TEST_NEO4J_URI (user and password in KT_TEST_NEO4J_USER and _PASSWORD): what is in that database is lost.
`--profile` shows for each size and storm where the time of one round goes. Prints a table and, as its last line, one
JSON object; "growth" is the median of the last size over that of the first, for 100 alerts in memory.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import random
import statistics
import tempfile
import time
import tracemalloc
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import neo4j

from bench.alert_rankers import by_pagerank
from diagnose import diagnose, hops_around
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
MOST_TRACED = 100_000
"""Entities up to which memory is counted: every allocation is noted then, which is slow."""
URI = "KT_TEST_NEO4J_URI"


class Cluster(msgspec.Struct):
    entities: list[Entity]
    relations: list[Relation]
    callers: dict[str, list[str]]
    """Service → those that call it."""
    services: list[str]


BEHIND = ("not_ready", "restarts", "errors", "latency")
"""What pods and workloads complain of in a storm that is larger than the cluster has Services."""
SHOWN = 25
"""Lines of a profile."""


class Timed(msgspec.Struct):
    """Milliseconds of each round."""

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


def fill(store: GraphStore, world: Cluster) -> float:
    """Seconds that it took to load the cluster."""
    began = time.perf_counter()
    for start in range(0, len(world.entities), CHUNK):
        store.upsert(world.entities[start : start + CHUNK], at=AT - timedelta(days=1))
    for start in range(0, len(world.relations), CHUNK):
        store.upsert((), world.relations[start : start + CHUNK], at=AT - timedelta(days=1))
    return time.perf_counter() - began


def measure(
    store: GraphStore, world: Cluster, alerts: int, rounds: int, knowledge: tuple[Catalogue, Ontology],
    clock: Callable[[], float],
) -> Timed:  # fmt: skip
    """Every round is another storm: nothing that was found out for one helps the next."""
    catalogue, ontology = knowledge
    found = Timed([], [], [])
    for number in range(rounds):
        signals, changes, guilty = storm(world, alerts, random.Random(f"{alerts}/{number}"))
        gc.collect()
        began = clock()
        seeds = sorted({each.entity for each in signals})
        piece = store.neighbourhood(seeds, hops=hops_around(len(signals), HOPS))
        piece = msgspec.structs.replace(piece, changes=(*piece.changes, *changes))
        walked = clock()
        answer = diagnose(piece, signals, catalogue, ontology, now=AT)
        ended = clock()
        by_pagerank(piece, signals)
        found.baseline.append(1000 * (clock() - ended))
        found.walk.append(1000 * (walked - began))
        found.diagnosis.append(1000 * (ended - walked))
        found.named += bool(answer.hypotheses and answer.hypotheses[0].entity in guilty)
    return found


@contextmanager
def profiled() -> Iterator[None]:
    """Print where the time of the block went."""
    with cProfile.Profile() as profile:
        yield
    pstats.Stats(profile).sort_stats("tottime").print_stats(SHOWN)


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
    parser.add_argument("--stores", nargs="+", choices=["memory", "neo4j"], help="the latter if there is an address")
    parser.add_argument("--entities", type=int, nargs="+", default=[10_000, 100_000], help="sizes of the graph")
    parser.add_argument("--storms", type=int, nargs="+", default=[10, 100, 1000, 10_000], help="numbers of alerts")
    parser.add_argument("--rounds", type=int, default=20, help="storms of each number; a few for the large ones")
    parser.add_argument("--profile", action="store_true", help="show where the time of one round goes")
    given = parser.parse_args()
    ontology = load_ontology()
    knowledge = load_catalogue(ontology=ontology), ontology
    answer: dict[str, object] = {}
    medians: list[float] = []
    for size in given.entities:
        world = cluster(size, random.Random(size))
        if size == given.entities[0]:
            answer["bytes_per_entity"] = round(memory_per_entity(world, ontology)) if size <= MOST_TRACED else None
        for name in given.stores or (["memory", "neo4j"] if URI in os.environ else ["memory"]):
            with opened(name, ontology) as store:
                loaded = fill(store, world)
                store.neighbourhood([world.services[0]], hops=1)
                figures = {f"load_s_{name}": round(loaded, 1)}
                print(
                    f"{name:7s} {len(world.entities):8d} entities, {len(world.relations)} relations loaded"
                    f" in {loaded:.1f} s", flush=True,
                )  # fmt: skip
                clock = time.process_time if name == "memory" else time.perf_counter
                for alerts in given.storms:
                    rounds = max(1, min(given.rounds, GOAL_ALERTS * given.rounds // alerts))
                    found = measure(store, world, alerts, rounds, knowledge, clock)
                    show(name, len(world.entities), alerts, found)
                    if given.profile:
                        with profiled():
                            measure(store, world, alerts, 1, knowledge, clock)
                    figures |= told(name, alerts, found)
                    if alerts == GOAL_ALERTS and name == "memory":
                        medians.append(statistics.median(found.total()))
            answer |= {key: value for key, value in figures.items() if key not in answer}
            answer |= {f"{key}_at_{size}": value for key, value in figures.items()}
    if len(medians) > 1:
        answer["growth"] = round(medians[-1] / medians[0], 2)
    print(json.dumps(answer))


def told(name: str, alerts: int, found: Timed) -> dict[str, float]:
    """The figures that goals are set for."""
    if alerts == GOAL_ALERTS:
        return {
            f"p50_ms_100_{name}": round(statistics.median(found.total()), 1),
            f"p99_ms_100_{name}": round(p99(found.total()), 1),
            f"pagerank_p50_ms_100_{name}": round(statistics.median(found.baseline), 1),
        }
    if alerts == MOST_ALERTS:
        seconds = round(statistics.median(found.total()) / 1000, 2)
        return {"s_10000" if name == "memory" else f"s_10000_{name}": seconds}
    return {}


@contextmanager
def opened(name: str, ontology: Ontology) -> Iterator[GraphStore]:
    """An empty store of this name."""
    if name == "memory":
        with tempfile.TemporaryDirectory() as folder:
            store: GraphStore = SqliteGraphStore(Path(folder) / "graph.db", ontology.fault_from)
            yield store
            store.close()
        return
    uri, user = os.environ[URI], os.environ.get("KT_TEST_NEO4J_USER", "")
    auth = (user, os.environ.get("KT_TEST_NEO4J_PASSWORD", "")) if user else None
    with neo4j.GraphDatabase.driver(uri, auth=auth) as driver, driver.session() as session:
        session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS").consume()
    store = Neo4jGraphStore(uri, auth, ontology.fault_from)
    yield store
    store.close()


if __name__ == "__main__":
    main()
