"""What every keeper of the global stop and of the account of actions promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kt.stores.neo4j_brakes import Neo4jBrakes
from kt.stores.sqlite_brakes import SqliteBrakes
from remediate.brakes import Brakes, Spent, Stop, Trip

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "neo4j"])
def brakes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Brakes]:
    store: Brakes
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        store = Neo4jBrakes(place.uri, place.auth)
    else:
        store = SqliteBrakes(tmp_path / "kt.db")
    yield store
    store.close()


def spent(action: str, seconds: float = 0) -> Spent:
    return Spent(
        action=action, at=NOW + timedelta(seconds=seconds), target="Deployment/shop/cart", namespace="shop",
        playbook="restart",
    )  # fmt: skip


def free(before: Sequence[Spent]) -> str:
    return ""


def test_nothing_is_stopped_at_first(brakes: Brakes) -> None:
    assert brakes.stopped() is None
    assert brakes.resume() is None


def test_a_stop_holds_until_it_is_resumed(brakes: Brakes) -> None:
    stop = Stop(at=NOW, by="ada", why="migration")
    brakes.stop(stop)
    assert brakes.stopped() == stop
    assert brakes.resume() == stop
    assert brakes.stopped() is None


def test_a_stop_survives_a_restart(tmp_path: Path) -> None:
    first = SqliteBrakes(tmp_path / "kt.db")
    first.stop(Stop(at=NOW, by="ada"))
    first.close()
    second = SqliteBrakes(tmp_path / "kt.db")
    assert second.stopped() == Stop(at=NOW, by="ada")
    second.close()


def test_the_later_of_two_stops_counts(brakes: Brakes) -> None:
    brakes.stop(Stop(at=NOW, by="ada"))
    brakes.stop(Stop(at=NOW, by="grace", why="really"))
    assert brakes.stopped() == Stop(at=NOW, by="grace", why="really")


def test_an_open_breaker_is_remembered_also_when_it_is_over(brakes: Brakes) -> None:
    assert brakes.tripped() is None
    trip = Trip(at=NOW, until=NOW + timedelta(minutes=30), why="three failed")
    brakes.trip(trip)
    assert brakes.tripped() == trip
    closed = msgspec.structs.replace(trip, until=NOW, closed_by="ada")
    brakes.trip(closed)
    assert brakes.tripped() == closed
    assert brakes.stopped() is None, "a stop is something else"


def test_an_open_breaker_survives_a_restart(tmp_path: Path) -> None:
    trip = Trip(at=NOW, until=NOW + timedelta(minutes=30), why="three failed")
    first = SqliteBrakes(tmp_path / "kt.db")
    first.trip(trip)
    first.close()
    second = SqliteBrakes(tmp_path / "kt.db")
    assert second.tripped() == trip
    second.close()


def test_what_was_spent_is_told_from_a_time_on(brakes: Brakes) -> None:
    for action, seconds in (("c", 20), ("a", 0), ("b", 10)):
        assert brakes.spend(spent(action, seconds), NOW, free) == ""
    assert [each.action for each in brakes.since(NOW)] == ["a", "b", "c"]
    assert brakes.since(NOW + timedelta(seconds=10)) == [spent("b", 10), spent("c", 20)]


def test_an_objection_spends_nothing_and_sees_only_its_window(brakes: Brakes) -> None:
    brakes.spend(spent("a"), NOW, free)
    brakes.spend(spent("b", 10), NOW, free)
    window = NOW + timedelta(seconds=5)
    assert brakes.spend(spent("c", 20), window, lambda before: ",".join(each.action for each in before)) == "b"
    assert len(brakes.since(NOW)) == 2


def test_the_same_action_counts_once_and_not_against_itself(brakes: Brakes) -> None:
    def only_one(before: Sequence[Spent]) -> str:
        return "too many" if before else ""

    assert brakes.spend(spent("a"), NOW, only_one) == ""
    assert brakes.spend(spent("a"), NOW, only_one) == ""
    assert brakes.since(NOW) == [spent("a")]


def test_an_outcome_is_kept(brakes: Brakes) -> None:
    brakes.spend(spent("a"), NOW, free)
    brakes.conclude("a", "ineffective")
    brakes.conclude("unknown", "held")
    assert brakes.since(NOW) == [msgspec.structs.replace(spent("a"), outcome="ineffective")]


def test_no_cap_is_exceeded_by_many_workers_at_once(brakes: Brakes) -> None:
    def at_most_three(before: Sequence[Spent]) -> str:
        return "too many" if len(before) >= 3 else ""

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: brakes.spend(spent(f"a{n}", n), NOW, at_most_three), range(12)))
    assert answers.count("") == 3
    assert len(brakes.since(NOW)) == 3
