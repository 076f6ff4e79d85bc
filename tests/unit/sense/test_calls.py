"""Calls between services: what metrics tell, for how long it counts, and how it lives beside the annotations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from graph_schema.model import Relation
from graph_schema.ontology import load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.sqlite import SqliteGraphStore
from sense.calls import FORGOTTEN_AFTER, ObservedCalls, relations
from sense.kubernetes.follower import TopologyFollower

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


def call(caller: str, callee: str) -> Relation:
    return Relation(f"Service/{caller}", f"Service/{callee}", "CALLS")


def test_a_callee_is_in_the_namespace_of_its_caller_unless_told_otherwise() -> None:
    here = {"namespace": "shop", "service": "cart", "callee": "store"}
    assert relations([here, {**here, "callee_namespace": "data"}]) == {
        call("shop/cart", "shop/store"),
        call("shop/cart", "data/store"),
    }


def test_series_that_lack_a_label_and_calls_to_oneself_tell_nothing() -> None:
    whole = {"namespace": "shop", "service": "cart", "callee": "store"}
    broken = [{key: value for key, value in whole.items() if key != missing} for missing in whole]
    assert relations([*broken, {**whole, "callee": "cart"}]) == set()


def test_a_call_counts_for_a_while_after_it_was_seen_last() -> None:
    observed, seen = ObservedCalls(), {call("shop/cart", "shop/store")}
    assert observed.update(seen, T0) == seen
    assert observed.update([], T0 + FORGOTTEN_AFTER / 2) == seen
    assert observed.update([], T0 + FORGOTTEN_AFTER) == set()


@pytest.fixture
def store(tmp_path: Path) -> GraphStore:
    return SqliteGraphStore(tmp_path / "graph.db", load_ontology().fault_from)


@pytest.fixture
def follower(store: GraphStore) -> TopologyFollower:
    times = iter(T0 + timedelta(seconds=number) for number in range(1000))
    following = TopologyFollower(None, store, lambda: next(times), "cluster")
    following.replace("Service", [service("cart", calls="store"), service("store"), service("mail")])
    return following


def service(name: str, calls: str = "") -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop", "annotations": {"kt.io/calls": calls} if calls else {}}
    return {"kind": "Service", "metadata": meta, "spec": {}}


def calls_in(store: GraphStore) -> set[Relation]:
    piece = store.neighbourhood([f"Service/shop/{name}" for name in ("cart", "store", "mail")], hops=2)
    return {relation for relation in piece.relations if relation.kind == "CALLS"}


def test_observed_calls_stand_beside_annotated_ones_and_go_when_they_are_no_more(
    follower: TopologyFollower, store: GraphStore
) -> None:
    annotated, observed = call("shop/cart", "shop/store"), call("shop/cart", "shop/mail")
    follower.observe_calls([observed])
    assert calls_in(store) == {annotated, observed}
    follower.observe_calls([])
    assert calls_in(store) == {annotated}


def test_a_call_that_is_annotated_too_stays_when_metrics_lose_sight_of_it(
    follower: TopologyFollower, store: GraphStore
) -> None:
    annotated = call("shop/cart", "shop/store")
    follower.observe_calls([annotated])
    follower.observe_calls([])
    assert calls_in(store) == {annotated}


def test_an_observed_call_outlives_a_change_of_the_annotation(follower: TopologyFollower, store: GraphStore) -> None:
    observed = call("shop/cart", "shop/mail")
    follower.observe_calls([observed])
    follower.changed("Service", service("cart"))
    assert calls_in(store) == {observed}


def test_the_time_of_a_write_is_taken_when_its_turn_has_come(store: GraphStore) -> None:
    """Two threads that took theirs in the other order had a Service forget the pods that were listed just before it."""
    in_turn: list[bool] = []

    def clock() -> datetime:
        in_turn.append(following._lock.locked())
        return T0

    following = TopologyFollower(None, store, clock, "cluster")
    following.replace("Service", [service("cart", calls="store"), service("store")])
    following.changed("Service", service("cart"))
    following.observe_calls([call("shop/cart", "shop/store")])
    following.deleted("Service", service("cart"))
    assert in_turn
    assert all(in_turn)
