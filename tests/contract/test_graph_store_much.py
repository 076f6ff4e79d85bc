"""What every graph store promises of writes that are too large for one transaction of a server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graph_schema.model import Entity, Relation, Subgraph
from graph_schema.ontology import load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.neo4j import Neo4jGraphStore
from graph_schema.stores.sqlite import SqliteGraphStore
from tests.contract.clusters import until

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
PODS, NODES = 6_000, 60
Open = Callable[[], GraphStore]


def opened(place: str) -> GraphStore:
    """`place`: the address of a Neo4j without authentication, or the path of a file."""
    fault_from = load_ontology().fault_from
    return Neo4jGraphStore(place, None, fault_from) if "://" in place else SqliteGraphStore(place, fault_from)


def write_much(store: GraphStore, at: datetime = T0, state: str = "") -> None:
    """Pods before their nodes, and all pods related to something that nobody has seen."""
    kinds = [("Pod", number) for number in range(PODS)] + [("Node", number) for number in range(NODES)]
    things = [
        Entity(id=f"{kind}/{number}", kind=kind, name=str(number), properties={"state": state} if state else {})
        for kind, number in kinds
    ]
    relations = [Relation(f"Pod/{number}", f"Node/{number % NODES}", "RUNS_ON") for number in range(PODS)]
    relations += [Relation(f"Pod/{number}", "ConfigMap/unseen", "MOUNTS") for number in range(PODS)]
    store.upsert(things, relations, at=at)


def a_node(store: GraphStore) -> Subgraph:
    return store.neighbourhood(["Node/7"], hops=1)


def is_whole(store: GraphStore, state: str = "") -> None:
    assert len(store.find(kind="Pod")) == PODS
    assert len(store.find(kind="Node")) == NODES
    assert len(store.find(properties={"state": state})) == (PODS + NODES if state else 0)
    piece = a_node(store)
    pods = sorted(f"Pod/{number}" for number in range(7, PODS, NODES))
    assert sorted(piece.entities) == ["Node/7", *pods]
    assert piece.relations == tuple(Relation(pod, "Node/7", "RUNS_ON") for pod in pods)


@pytest.fixture(params=["sqlite", "neo4j"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("empty_neo4j").uri if request.param == "neo4j" else str(tmp_path / "graph.db")


@pytest.fixture
def another(place: str) -> Iterator[Open]:
    stores: list[GraphStore] = []

    def one() -> GraphStore:
        stores.append(opened(place))
        return stores[-1]

    yield one
    for store in stores:
        store.close()


def test_much_is_written_like_little(another: Open) -> None:
    store = another()
    write_much(store)
    is_whole(store)
    # What the relations waited for comes later.
    store.upsert([Entity(id="ConfigMap/unseen", kind="ConfigMap", name="unseen")], at=T0 + timedelta(seconds=1))
    assert len(store.neighbourhood(["ConfigMap/unseen"], hops=0).entities) == PODS + 1


def test_two_that_write_much_at_once_lose_nothing(another: Open) -> None:
    stores, failed = [another(), another()], list[BaseException]()

    def write(number: int) -> None:
        try:
            write_much(stores[number], T0 + timedelta(seconds=number), state=f"of {number}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    for store in stores:
        is_whole(store, "of 1")


def test_who_was_killed_in_the_middle_completes_it_by_writing_again(another: Open, place: str) -> None:
    store = another()
    assert store.get(["Pod/0"]) == {}
    writer = subprocess.Popen([sys.executable, "-m", "tests.contract.test_graph_store_much", place])
    until(lambda: store.get(["Pod/0"]), "the first pod is there", 60)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait(10)
    # Only whole things are there, and no relation without its ends.
    piece = a_node(store)
    assert all(each.source in piece.entities and each.target in piece.entities for each in piece.relations)
    write_much(store, T0 + timedelta(seconds=1))
    is_whole(store)


def test_relations_of_many_are_replaced_each_for_itself(another: Open) -> None:
    store = another()
    write_much(store)
    moved = [Relation(f"Pod/{number}", "Node/7", "RUNS_ON") for number in range(0, PODS, 2)]
    later = T0 + timedelta(seconds=1)
    store.set_relations([each.source for each in moved], ["RUNS_ON"], moved, at=later)
    on = {each.source for each in another().neighbourhood(["Node/7"], hops=1).relations}
    stayed = {f"Pod/{number}" for number in range(1, PODS, 2) if number % NODES == 7}
    assert on == {each.source for each in moved} | stayed
    assert store.neighbourhood(["Node/8"], hops=1).relations == ()


def test_much_is_deleted_like_little(another: Open) -> None:
    store = another()
    write_much(store)
    store.delete([f"Pod/{number}" for number in range(PODS)], at=T0 + timedelta(seconds=1))
    assert store.find(kind="Pod") == []
    assert a_node(store).relations == ()


if __name__ == "__main__":
    write_much(opened(sys.argv[1]))
