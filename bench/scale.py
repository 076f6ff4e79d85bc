"""How long a diagnosis takes, by the size of the graph and of the storm, and what an entity costs in memory.

Clusters of 10^4 entities and up (services that call each other, their workloads, pods, nodes, configuration, and
namespaces; about three relations each) are kept in a store of KT's; a storm is the alerts that a few sick workloads
bring about along the calls; one that is larger than the cluster has Services tells of pods and workloads as well. Timed
is what the pipeline does: the neighbourhood out of the store, then the diagnosis. In memory it is processor time of
this process, which other load bears on less than on the time of the clock; with Neo4j, which is waited for, it is the
time of the clock.

    python -m bench.scale [--stores memory neo4j] [--entities 10000 100000 1000000] [--storms 10 100 1000 10000]
                          [--rounds N] [--heard SHARE] [--profile]

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import neo4j

from bench.alert_rankers import by_pagerank
from bench.storms import AT, Cluster, cluster, muffled, storm
from diagnose import diagnose, hops_around
from graph_schema.catalogue import Catalogue, load_catalogue
from graph_schema.ontology import Ontology, load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.neo4j import Neo4jGraphStore
from graph_schema.stores.sqlite import SqliteGraphStore

HOPS = 6
"""As the settings have it (`diagnose.hops`)."""
GOAL_ALERTS, MOST_ALERTS = 100, 10_000
WARM = 3
"""Storms before those that are measured: stores are only asked about them, since servers plan first."""
MOST_TRACED = 100_000
"""Entities up to which memory is counted: every allocation is noted then, which is slow."""
URI = "KT_TEST_NEO4J_URI"
SHOWN = 25
"""Lines of a profile."""


class Timed(msgspec.Struct):
    """Milliseconds of each round."""

    walk: list[float] = []
    diagnosis: list[float] = []
    baseline: list[float] = []
    named: int = 0
    """Rounds in which the first one named is guilty."""
    found: int = 0
    """Guilty ones among the first five of each round,"""
    guilty: int = 0
    """of so many."""

    def total(self) -> list[float]:
        return [one + two for one, two in zip(self.walk, self.diagnosis, strict=True)]


def fill(store: GraphStore, world: Cluster) -> float:
    """Seconds that it took to load the cluster."""
    began = time.perf_counter()
    store.upsert(world.entities, world.relations, at=AT - timedelta(days=1))
    return time.perf_counter() - began


def measure(
    store: GraphStore, world: Cluster, alerts: int, rounds: int, knowledge: tuple[Catalogue, Ontology],
    clock: Callable[[], float], heard: float,
) -> Timed:  # fmt: skip
    """Every round is another storm: nothing that was found out for one helps the next."""
    catalogue, ontology = knowledge
    found = Timed([], [], [])
    for number in range(-WARM if alerts <= GOAL_ALERTS else 0, rounds):
        chance = random.Random(f"{alerts}/{number}")
        made = storm(world, alerts, chance) if heard == 1 else muffled(world, alerts, chance, heard)
        signals, changes, guilty = made
        if number < 0:
            store.neighbourhood(sorted({each.entity for each in signals}), hops=hops_around(len(signals), HOPS))
            continue
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
        named = [each.entity for each in answer.hypotheses[:5]]
        found.named += bool(named and named[0] in guilty)
        found.found += len({*named}.intersection(guilty))
        found.guilty += len(guilty)
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
        f"  first right {found.named}/{len(found.walk)}, found {found.found}/{found.guilty}", flush=True,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", choices=["memory", "neo4j"], help="the latter if there is an address")
    parser.add_argument("--entities", type=int, nargs="+", default=[10_000, 100_000], help="sizes of the graph")
    parser.add_argument("--storms", type=int, nargs="+", default=[10, 100, 1000, 10_000], help="numbers of alerts")
    parser.add_argument("--rounds", type=int, default=20, help="storms of each number; a few for the large ones")
    parser.add_argument("--heard", type=float, default=1.0, help="share of the alerts; below 1 with stray ones besides")
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
                    found = measure(store, world, alerts, rounds, knowledge, clock, given.heard)
                    show(name, len(world.entities), alerts, found)
                    if given.profile:
                        with profiled():
                            measure(store, world, alerts, 1, knowledge, clock, given.heard)
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
    _empty(uri, auth)
    store = Neo4jGraphStore(uri, auth, ontology.fault_from)
    try:
        yield store
    finally:
        store.close()
        # Tests that come later empty it in one transaction, which so much does not fit in.
        _empty(uri, auth)


def _empty(uri: str, auth: tuple[str, str] | None) -> None:
    with neo4j.GraphDatabase.driver(uri, auth=auth) as driver, driver.session() as session:
        session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS").consume()


if __name__ == "__main__":
    main()
