"""What every graph store promises, run against each of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graph_schema.model import Change, Entity, Relation
from graph_schema.ontology import load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.neo4j import Neo4jGraphStore
from graph_schema.stores.sqlite import SqliteGraphStore

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
Open = Callable[[], GraphStore]


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@pytest.fixture(params=["sqlite", "neo4j"])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same graph once more, as another process would."""
    opened: list[GraphStore] = []
    fault_from = load_ontology().fault_from
    place = request.getfixturevalue("empty_neo4j") if request.param == "neo4j" else None

    def one() -> GraphStore:
        if place:
            opened.append(Neo4jGraphStore(place.uri, place.auth, fault_from))
        else:
            opened.append(SqliteGraphStore(tmp_path / "graph.db", fault_from))
        return opened[-1]

    yield one
    for store in opened:
        store.close()


@pytest.fixture
def store(another: Open) -> GraphStore:
    return another()


def thing(kind: str, name: str, **properties: object) -> Entity:
    return Entity(id=f"{kind}/{name}", kind=kind, name=name, namespace="shop", properties=properties)


def shop(store: GraphStore) -> None:
    """front calls cart; each has a pod; both pods run on one node beside a pod of nobody."""
    kinds = [
        ("Service", "front"),
        ("Service", "cart"),
        ("Pod", "front"),
        ("Pod", "cart"),
        ("Pod", "idle"),
        ("Node", "n"),
    ]
    store.upsert(
        [thing(*each) for each in kinds],
        [
            Relation("Service/front", "Service/cart", "CALLS"),
            Relation("Service/front", "Pod/front", "SELECTS"),
            Relation("Service/cart", "Pod/cart", "SELECTS"),
            Relation("Pod/front", "Node/n", "RUNS_ON"),
            Relation("Pod/cart", "Node/n", "RUNS_ON"),
            Relation("Pod/idle", "Node/n", "RUNS_ON"),
        ],
        at=T0,
    )


def test_what_is_written_is_found(store: GraphStore, another: Open) -> None:
    shop(store)
    for reader in (store, another()):
        assert reader.get(["Pod/cart", "Pod/none"]) == {"Pod/cart": thing("Pod", "cart")}
        assert [each.id for each in reader.find(kind="Service", namespace="shop")] == ["Service/cart", "Service/front"]
        assert reader.find(kind="Pod", name="none") == []


def test_properties_can_be_asked_for(store: GraphStore) -> None:
    store.upsert([thing("Node", "a", address="10.0.0.1"), thing("Node", "b", address="10.0.0.2")], at=T0)
    assert [each.name for each in store.find(kind="Node", properties={"address": "10.0.0.2"})] == ["b"]


def test_the_walk_goes_against_the_direction_of_faults(store: GraphStore) -> None:
    shop(store)
    one = store.neighbourhood(["Service/cart"], hops=1)
    assert {"Service/cart", "Pod/cart"} <= set(one.entities)
    # The node is two steps away; what else it would make sick comes along, one step beyond.
    two = store.neighbourhood(["Pod/cart"], hops=1)
    assert {"Pod/cart", "Node/n", "Pod/front", "Pod/idle"} <= set(two.entities)
    assert all(each.source in two.entities and each.target in two.entities for each in two.relations)


def test_the_walk_is_bounded_and_repeatable(store: GraphStore) -> None:
    shop(store)
    piece = store.neighbourhood(["Service/front"], hops=6, limit=3)
    assert len(piece.entities) == 3
    assert "Service/front" in piece.entities
    assert piece == store.neighbourhood(["Service/front"], hops=6, limit=3)
    assert store.neighbourhood(["nobody"], hops=3).entities == {}


def plainly(there: set[str], relations: set[Relation], seeds: list[str], hops: int, limit: int) -> list[str]:
    """The walk as the port tells of it, over all relations at each step."""
    fault_from = load_ontology().fault_from
    order = sorted(set(seeds) & there)[:limit]

    def widen(front: list[str], causes: bool) -> list[str]:
        beside, near = set(), set(front)
        for each in relations:
            ends = fault_from(each.kind)
            for here, other, end in ((each.source, each.target, "target"), (each.target, each.source, "source")):
                if here in near and (end if causes else {"target": "source", "source": "target"}[end]) in ends:
                    beside.add(other)
        new = sorted((beside & there) - set(order))[: limit - len(order)]
        order.extend(new)
        return new

    front = list(order)
    for _ in range(hops):
        front = widen(front, causes=True)
    widen(list(order), causes=False)
    return order


@pytest.mark.parametrize(("seed", "size"), [(0, 40), (1, 40), (2, 40), (3, 600), (4, 600)])
def test_the_walk_finds_what_a_plain_one_finds_also_after_changes(store: GraphStore, seed: int, size: int) -> None:
    """The larger ones change so much that a store which prepares for reading has to do it several times, and reads in
    between what it is not prepared for."""
    chance = random.Random(seed)
    kinds = ("CALLS", "SELECTS", "RUNS_ON", "OWNS", "MOUNTS", "DEPENDS_ON")
    names = [f"Pod/{number}" for number in range(size)]
    there, relations = set(names), set[Relation]()
    store.upsert([thing("Pod", name.removeprefix("Pod/")) for name in names], at=T0)
    for turn in range(1, 7):
        ends = [chance.sample(names, 2) for _ in range(25 if turn > 1 else size)]
        new = {Relation(source, target, chance.choice(kinds)) for source, target in ends}
        born = [] if turn == 1 else [f"Pod/{turn}{number}" for number in range(size // 10)]
        new |= {Relation(each, chance.choice(names), chance.choice(kinds)) for each in born[::3]}
        store.upsert([thing("Pod", each.removeprefix("Pod/")) for each in born], new, at=at(turn))
        there.update(born)
        relations |= new
        gone = set(chance.sample(sorted(there), 3))
        store.delete(gone, at=at(turn + 0.5))
        there -= gone
        relations = {each for each in relations if not {each.source, each.target} & gone}
        names = sorted(there)
        for hops, limit in ((1, 1000), (3, 1000), (3, 12)):
            seeds = chance.sample(names, size // 13)
            piece = store.neighbourhood(seeds, hops=hops, limit=limit)
            assert list(piece.entities) == plainly(there, relations, seeds, hops, limit)
            among = {each for each in relations if {each.source, each.target} <= set(piece.entities)}
            assert list(piece.relations) == sorted(among, key=lambda each: (each.source, each.target, each.kind))


def test_a_relation_waits_for_its_ends(store: GraphStore) -> None:
    store.upsert([thing("Pod", "a")], [Relation("Pod/a", "Node/n", "RUNS_ON")], at=T0)
    assert store.neighbourhood(["Pod/a"], hops=2).relations == ()
    store.upsert([thing("Node", "n")], at=at(1))
    assert store.neighbourhood(["Pod/a"], hops=2).relations == (Relation("Pod/a", "Node/n", "RUNS_ON"),)


def test_late_writers_do_no_harm(store: GraphStore) -> None:
    store.upsert([thing("Pod", "a", ready=True)], at=at(10))
    store.upsert([thing("Pod", "a", ready=False)], at=at(5))
    assert store.get(["Pod/a"])["Pod/a"].properties == {"ready": True}


def test_history_keeps_every_version_and_the_end(store: GraphStore) -> None:
    store.upsert([thing("Pod", "a", ready=True)], at=at(1))
    store.upsert([thing("Pod", "a", ready=True)], at=at(2))
    store.upsert([thing("Pod", "a", ready=False)], at=at(3))
    store.delete(["Pod/a", "Pod/unknown"], at=at(4))
    seen = [(entry.at, entry.entity and entry.entity.properties) for entry in store.history("Pod/a")]
    assert seen == [(at(1), {"ready": True}), (at(3), {"ready": False}), (at(4), None)]
    assert store.history("Pod/unknown") == []


def test_a_deleted_entity_leaves_with_its_relations_and_may_come_back(store: GraphStore, another: Open) -> None:
    shop(store)
    reader = another()
    assert "Node/n" in reader.neighbourhood(["Pod/cart"], hops=2).entities
    store.delete(["Node/n"], at=at(1))
    assert "Node/n" not in reader.neighbourhood(["Pod/cart"], hops=2).entities
    store.upsert([thing("Node", "n")], at=at(0.5))
    assert reader.get(["Node/n"]) == {}
    store.upsert([thing("Node", "n")], at=at(2))
    assert reader.neighbourhood(["Pod/cart"], hops=2).relations == (Relation("Service/cart", "Pod/cart", "SELECTS"),)


def test_relations_of_a_kind_are_replaced_as_a_whole(store: GraphStore) -> None:
    shop(store)
    store.set_relations(["Service/front"], ["CALLS"], [Relation("Service/front", "Service/front", "CALLS")], at=at(1))
    kinds = {(each.kind, each.target) for each in store.neighbourhood(["Service/front"], hops=1).relations}
    assert ("CALLS", "Service/cart") not in kinds
    assert ("SELECTS", "Pod/front") in kinds


def test_changes_come_in_order_once_and_with_the_walk(store: GraphStore) -> None:
    shop(store)
    rollout = Change(entity="Pod/cart", at=at(5), kind="rollout", id="r1")
    config = Change(entity="Elsewhere", at=at(3), kind="config", id="c1")
    store.record_changes([rollout, config])
    store.record_changes([rollout])
    assert store.changes_since(T0) == [config, rollout]
    assert store.changes_since(at(4)) == [rollout]
    assert store.changes_since(T0, ["Pod/cart"]) == [rollout]
    assert store.neighbourhood(["Service/cart"], hops=1).changes == (rollout,)


def test_changes_of_what_was_deleted_come_along(store: GraphStore) -> None:
    shop(store)
    gone = Change(entity="Service/cart", at=at(1), kind="delete", id="d1")
    store.record_changes([gone])
    store.delete(["Service/cart"], at=at(1))
    piece = store.neighbourhood(["Service/front"], hops=2)
    assert gone in piece.changes
    # Who called it is what makes it a cause that can be named.
    assert Relation("Service/front", "Service/cart", "CALLS") in piece.ended
    assert "Service/cart" not in piece.entities


def test_what_went_without_a_change_leaves_no_ended_relation(store: GraphStore) -> None:
    shop(store)
    store.delete(["Service/cart"], at=at(1))
    assert store.neighbourhood(["Service/front"], hops=2).ended == ()


def test_a_relation_that_ended_is_forgotten_after_a_day(store: GraphStore) -> None:
    shop(store)
    deleted = Change(entity="Service/cart", at=at(1), kind="delete", id="d1")
    store.record_changes([deleted])
    store.delete(["Service/cart"], at=at(1))
    call = Relation("Service/front", "Service/cart", "CALLS")
    store.upsert([Entity(id="Pod/other", kind="Pod", name="other")], at=at(2))
    store.delete(["Pod/other"], at=at(3))
    assert call in store.neighbourhood(["Service/front"], hops=2).ended
    # It comes back, goes again, and is kept from then on.
    store.upsert([Entity(id="Service/cart", kind="Service", name="cart")], [call], at=at(4))
    store.delete(["Service/cart"], at=at(5))
    near, later = at(3) + timedelta(days=1), at(6) + timedelta(days=1)
    for time, known in ((near, True), (later, False)):
        edge = Relation("Service/front", f"Pod/{time:%s}", "SELECTS")
        store.upsert([Entity(id=edge.target, kind="Pod", name="x")], [edge], at=time)
        store.delete([edge.target], at=time)
        assert (call in store.neighbourhood(["Service/front"], hops=2).ended) is known


def test_writers_at_once_lose_nothing(another: Open) -> None:
    stores = [another() for _ in range(4)]

    def write(number: int) -> None:
        for count in range(20):
            store = stores[number]
            pod = thing("Pod", f"{number}-{count}")
            store.upsert([pod, thing("Node", "n")], [Relation(pod.id, "Node/n", "RUNS_ON")], at=at(count))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        assert len(store.find(kind="Pod")) == 80
        assert len(store.neighbourhood(["Pod/0-0"], hops=1).relations) == 80
