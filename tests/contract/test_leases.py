"""What every keeper of leases promises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kt.incident.log import Grant, Leases
from kt.stores.neo4j_leases import Neo4jLeases
from kt.stores.sqlite_leases import SqliteLeases


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "neo4j"])
def leases(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[SqliteLeases | Neo4jLeases]:
    store: SqliteLeases | Neo4jLeases
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        store = Neo4jLeases(place.uri, place.auth, clock)
    else:
        store = SqliteLeases(tmp_path / "kt.db", clock)
    yield store
    store.close()


def test_one_holder_at_a_time(leases: Leases) -> None:
    assert leases.acquire("node", "a", ttl_s=10) == 1
    assert leases.acquire("node", "b", ttl_s=10) is None
    assert leases.acquire("other", "b", ttl_s=10) == 1


def test_who_has_it_is_told_until_it_lapses_or_is_given_back(leases: Leases, clock: Clock) -> None:
    assert leases.held_by("x") is None
    token = leases.acquire("x", "a", ttl_s=10)
    assert token is not None
    assert leases.held_by("x") == Grant(holder="a", token=token)
    clock.forward(10)
    assert leases.held_by("x") is None
    later = leases.acquire("x", "b", ttl_s=10)
    assert later is not None
    assert leases.held_by("x") == Grant(holder="b", token=later)
    leases.release("x", "b", later)
    assert leases.held_by("x") is None


def test_the_holder_gets_its_own_token_again(leases: Leases) -> None:
    assert leases.acquire("node", "a", ttl_s=10) == leases.acquire("node", "a", ttl_s=10)


def test_a_lapsed_lease_goes_to_the_next_under_a_higher_token(leases: Leases, clock: Clock) -> None:
    first = leases.acquire("node", "a", ttl_s=10)
    clock.forward(11)
    second = leases.acquire("node", "b", ttl_s=10)
    assert first is not None
    assert second is not None
    assert second > first
    assert not leases.renew("node", "a", first, ttl_s=10)


def test_renewing_keeps_it(leases: Leases, clock: Clock) -> None:
    token = leases.acquire("node", "a", ttl_s=10)
    assert token is not None
    clock.forward(8)
    assert leases.renew("node", "a", token, ttl_s=10)
    clock.forward(8)
    assert leases.acquire("node", "b", ttl_s=10) is None


def test_released_it_is_free_at_once_and_a_late_release_frees_nothing(leases: Leases) -> None:
    first = leases.acquire("node", "a", ttl_s=10)
    assert first is not None
    leases.release("node", "a", first)
    second = leases.acquire("node", "b", ttl_s=10)
    assert second == first + 1
    leases.release("node", "a", first)
    assert leases.acquire("node", "c", ttl_s=10) is None


def test_tokens_only_ever_rise_and_never_are_two_holders_alive(tmp_path: Path) -> None:
    numbers = iter(range(1_000_000))

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.clock = Clock()
            self.store = SqliteLeases(tmp_path / f"{next(numbers)}.db", self.clock)
            self.highest = 0
            self.grants: dict[str, tuple[int, datetime]] = {}

        @rule(holder=st.sampled_from("abc"), ttl=st.integers(1, 20))
        def acquire(self, holder: str, ttl: int) -> None:
            token = self.store.acquire("x", holder, ttl_s=ttl)
            if token is not None:
                assert token >= self.highest
                if self.grants.get(holder, (0, None))[0] != token:
                    assert token > self.highest
                self.highest = token
                self.grants[holder] = (token, self.clock.now + timedelta(seconds=ttl))

        @rule(seconds=st.integers(0, 15))
        def wait(self, seconds: int) -> None:
            self.clock.forward(seconds)

        @rule(holder=st.sampled_from("abc"))
        def release(self, holder: str) -> None:
            if holder in self.grants:
                self.store.release("x", holder, self.grants.pop(holder)[0])

        @invariant()
        def at_most_one_alive(self) -> None:
            assert sum(1 for _, until in self.grants.values() if until > self.clock.now) <= 1

        def teardown(self) -> None:
            self.store.close()

    run_state_machine_as_test(Machine, settings=settings(deadline=None, max_examples=50))
