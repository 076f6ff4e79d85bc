"""What every keeper of the record of remedies promises: each trial once, whoever notes it how often."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kt.stores.neo4j_trials import Neo4jTrials
from kt.stores.sqlite_trials import SqliteTrials
from remediate.trials import Trial, Trials

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "neo4j"])
def trials(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trials]:
    store: Trials
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        store = Neo4jTrials(place.uri, place.auth)
    else:
        store = SqliteTrials(tmp_path / "kt.db")
    yield store
    store.close()


def trial(number: int, playbook: str = "restart", fault: str = "Workload.Stuck", *, helped: bool = True) -> Trial:
    return Trial(
        id=f"i{number}", at=NOW + timedelta(seconds=number), playbook=playbook, fault=fault,
        target="Deployment/shop/cart", helped=helped, effect_s=12.5 if helped else None,
    )  # fmt: skip


def test_what_was_noted_is_told_oldest_first(trials: Trials) -> None:
    given = [trial(2), trial(0, helped=False), trial(1)]
    trials.note(given)
    assert trials.of() == sorted(given, key=lambda each: each.at)


def test_it_is_told_by_playbook_and_by_fault(trials: Trials) -> None:
    trials.note([trial(0), trial(1, "rollback"), trial(2, "rollback", "Workload.BadRevision")])
    assert [each.id for each in trials.of(playbook="rollback")] == ["i1", "i2"]
    assert [each.id for each in trials.of(fault="Workload.Stuck")] == ["i0", "i1"]
    assert [each.id for each in trials.of(playbook="rollback", fault="Workload.Stuck")] == ["i1"]
    assert trials.of(playbook="none") == []


def test_noting_one_again_changes_nothing(trials: Trials) -> None:
    trials.note([trial(0)])
    trials.note([msgspec.structs.replace(trial(0), helped=False), trial(1)])
    assert trials.of() == [trial(0), trial(1)]


def test_two_records_are_merged_by_putting_them_together_in_any_order(trials: Trials, tmp_path: Path) -> None:
    other = SqliteTrials(tmp_path / "other.db")
    other.note([trial(1), trial(2)])
    trials.note([trial(0), trial(1)])
    trials.note(other.of())
    other.note(trials.of())
    assert trials.of() == other.of() == [trial(0), trial(1), trial(2)]
    other.close()


def test_many_at_once_count_each_once(trials: Trials) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: trials.note([trial(number % 4)]), range(32)))
    assert [each.id for each in trials.of()] == ["i0", "i1", "i2", "i3"]
