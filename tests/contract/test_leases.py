"""What every keeper of leases promises."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kt.incident.log import Grant, Leases
from kt.stores.neo4j_leases import Neo4jLeases
from kt.stores.sqlite_leases import SqliteLeases

DEADLINE_S = 60.0


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


def test_tokens_only_ever_rise_and_never_are_two_holders_of_one_thing_alive(tmp_path: Path) -> None:
    numbers = iter(range(1_000_000))

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.clock = Clock()
            self.store = SqliteLeases(tmp_path / f"{next(numbers)}.db", self.clock)
            self.highest: dict[str, int] = dict.fromkeys("xyz", 0)
            self.grants: dict[tuple[str, str], tuple[int, datetime]] = {}

        def alive(self, name: str, but: str = "") -> list[str]:
            return [
                holder
                for (of, holder), (_, until) in self.grants.items()
                if of == name and holder != but and until > self.clock.now
            ]

        @rule(holder=st.sampled_from("abc"), names=st.sets(st.sampled_from("xyz"), min_size=1), ttl=st.integers(1, 20))
        def acquire(self, holder: str, names: set[str], ttl: int) -> None:
            tokens = self.store.acquire_all(names, holder, ttl_s=ttl)
            assert (tokens is None) == any(self.alive(name, but=holder) for name in names), "all of them, or none"
            for name, token in (tokens or {}).items():
                assert token >= self.highest[name]
                if self.grants.get((name, holder), (0, None))[0] != token:
                    assert token > self.highest[name]
                self.highest[name] = token
                self.grants[name, holder] = (token, self.clock.now + timedelta(seconds=ttl))

        @rule(seconds=st.integers(0, 15))
        def wait(self, seconds: int) -> None:
            self.clock.forward(seconds)

        @rule(holder=st.sampled_from("abc"), names=st.sets(st.sampled_from("xyz")))
        def release(self, holder: str, names: set[str]) -> None:
            given = {name: self.grants.pop((name, holder))[0] for name in names if (name, holder) in self.grants}
            self.store.release_all(given, holder)

        @invariant()
        def at_most_one_alive(self) -> None:
            for name in "xyz":
                assert len(self.alive(name)) <= 1
                grant = self.store.held_by(name)
                assert ([grant.holder] if grant else []) == self.alive(name)

        def teardown(self) -> None:
            self.store.close()

    run_state_machine_as_test(Machine, settings=settings(deadline=None, max_examples=50))


class TestSeveralAtOnce:
    def test_all_are_granted_or_none_is_changed(self, leases: Leases) -> None:
        theirs = leases.acquire("b", "other", ttl_s=10)
        assert theirs is not None
        assert leases.acquire_all(["c", "a", "b"], "me", ttl_s=10) is None
        assert (leases.held_by("a"), leases.held_by("c")) == (None, None)
        leases.release("b", "other", theirs)
        assert leases.acquire_all(["c", "a", "b"], "me", ttl_s=10) == {"a": 1, "b": theirs + 1, "c": 1}
        assert leases.acquire("a", "other", ttl_s=10) is None

    def test_what_the_holder_has_already_keeps_its_token(self, leases: Leases) -> None:
        mine = leases.acquire("a", "me", ttl_s=10)
        assert leases.acquire_all(["a", "b"], "me", ttl_s=10) == {"a": mine, "b": 1}
        assert leases.acquire_all(["b", "a", "b"], "me", ttl_s=10) == {"a": mine, "b": 1}

    def test_none_at_all_is_granted_at_once(self, leases: Leases) -> None:
        assert leases.acquire_all([], "me", ttl_s=10) == {}
        leases.release_all({}, "me")

    def test_one_that_lapsed_is_granted_under_a_higher_token(self, leases: Leases, clock: Clock) -> None:
        before = leases.acquire_all(["a", "b"], "me", ttl_s=10)
        assert before is not None
        clock.forward(11)
        after = leases.acquire_all(["a", "b"], "other", ttl_s=10)
        assert after is not None
        assert all(after[name] > before[name] for name in before)

    def test_given_back_are_those_that_are_still_held(self, leases: Leases, clock: Clock) -> None:
        mine = leases.acquire_all(["a", "b"], "me", ttl_s=10)
        assert mine is not None
        clock.forward(11)
        assert leases.acquire("b", "other", ttl_s=100) is not None
        again = leases.acquire("a", "me", ttl_s=100)
        assert again is not None
        leases.release_all({"a": again, "b": mine["b"], "never": 1}, "me")
        assert leases.held_by("a") is None
        assert leases.acquire("b", "me", ttl_s=10) is None

    def test_many_that_want_the_same_in_any_order_all_come_to_have_them(self, leases: Leases) -> None:
        """Each at a time of its own, and none waits for ever."""
        names, inside, most, released = [f"n{number}" for number in range(5)], 0, 0, 0
        changed = threading.Condition()

        def work(number: int) -> int:
            nonlocal inside, most, released
            wanted = [*random.Random(number).sample(names, 3), "shared"]
            before = released
            while (tokens := leases.acquire_all(wanted, f"h{number}", ttl_s=1000)) is None:
                with changed:
                    while released == before:
                        assert changed.wait(DEADLINE_S), f"h{number} never had them"
                    before = released
            with changed:
                inside += 1
                most = max(most, inside)
            with changed:
                inside -= 1
            leases.release_all(tokens, f"h{number}")
            with changed:
                released += 1
                changed.notify_all()
            return tokens["shared"]

        with ThreadPoolExecutor(8) as pool:
            granted = list(pool.map(work, range(16)))
        assert most == 1
        assert sorted(granted) == list(range(1, 17)), "each under a right of its own"
