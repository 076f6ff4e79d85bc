"""What every keeper of chaos schedules and runs promises."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kt.chaos.model import Run, Schedule, What
from kt.chaos.planning import claim_due
from kt.chaos.store import ChaosStore, NameTaken
from kt.incident.log import LogUnavailable, VersionConflict
from kt.stores.neo4j_chaos import Neo4jChaosStore
from kt.stores.sqlite_chaos import SqliteChaosStore
from verify.plain import Plain

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEXT = "title: ünïcode\r\n# a comment\nmethod: []\n\n"
replace = msgspec.structs.replace


@pytest.fixture(params=["sqlite", "neo4j"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChaosStore]:
    one: ChaosStore
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        one = Neo4jChaosStore(place.uri, place.auth)
    else:
        one = SqliteChaosStore(tmp_path / "kt.db")
    yield one
    one.close()


def what(name: str = "nightly") -> What:
    return What(name=name, plain=Plain(text=TEXT, format="yaml", source="x.yaml"), variables=("a=1",), game_day=True)


def schedule(name: str = "nightly", *, due: datetime | None = T0, version: int = 1) -> Schedule:
    return Schedule(id=f"s-{name}", version=version, what=what(name), cron="0 * * * *", due_at=due, created_at=T0)


def run(name: str = "r1", *, at: datetime = T0, **more: object) -> Run:
    return replace(Run(id=name, schedule="s-nightly", what=what(), due_at=at, claimed_at=at), **more)


def test_what_was_written_is_read_back_to_the_letter(store: ChaosStore) -> None:
    store.commit(schedule(), run(why="ü", covers_until=T0))
    assert store.schedule("s-nightly") == schedule()
    assert store.run("r1") == run(why="ü", covers_until=T0)
    kept = store.schedule("s-nightly")
    assert kept is not None
    assert (kept.what.plain.text, kept.what.plain.digest) == (TEXT, schedule().what.plain.digest)
    assert (store.schedule("other"), store.run("other"), store.journals("other")) == (None, None, {})


def test_a_record_that_somebody_else_moved_is_not_written_and_neither_are_the_others(store: ChaosStore) -> None:
    store.commit(schedule(), run())
    for conflict in (schedule(), schedule(version=4), run(), run(version=3)):
        with pytest.raises(VersionConflict):
            store.commit(schedule(version=2, due=None), run("r2"), conflict)
    with pytest.raises(VersionConflict):
        store.commit(schedule("new", version=2))
    assert store.schedule("s-nightly") == schedule()
    assert store.runs() == [run()]
    assert store.schedules() == [schedule()]
    store.commit(schedule(version=2, due=None), run(version=2, phase="running"))
    assert store.schedule("s-nightly") == schedule(version=2, due=None)


def test_names_are_unique_and_free_again_once_removed(store: ChaosStore) -> None:
    store.commit(schedule("a"), schedule("b"))
    with pytest.raises(NameTaken, match="a"):
        store.commit(replace(schedule("a"), id="another"))
    assert store.remove("s-a")
    assert not store.remove("s-a")
    store.commit(replace(schedule("a"), id="another"))
    assert [each.id for each in store.schedules()] == ["another", "s-b"]


def test_due_are_those_whose_time_has_come_longest_first(store: ChaosStore) -> None:
    store.commit(schedule("late", due=T0), schedule("later", due=T0 + timedelta(seconds=1)), schedule("no", due=None))
    assert [each.what.name for each in store.due(T0)] == ["late"]
    assert [each.what.name for each in store.due(T0 + timedelta(hours=1))] == ["late", "later"]


def test_the_history_tells_what_was_on_and_what_is(store: ChaosStore) -> None:
    hour = timedelta(hours=1)
    store.commit(
        run("claimed", at=T0 + 3 * hour),
        run("on", at=T0 + 2 * hour, phase="running", started_at=T0 + 2 * hour),
        run("over", at=T0, phase="ended", started_at=T0, ended_at=T0 + hour, outcome="held"),
        run("refused", at=T0 + hour, phase="ended", ended_at=T0 + hour, outcome="refused"),
        replace(run("other", at=T0 - hour, phase="ended"), schedule=""),
    )
    assert [each.id for each in store.runs()] == ["claimed", "on", "refused", "over", "other"]
    assert [each.id for each in store.runs(schedule="s-nightly", limit=2)] == ["claimed", "on"]
    assert [each.id for each in store.runs(schedule="")] == ["other"]
    assert [each.id for each in store.open_runs()] == ["on", "claimed"]
    assert [each.id for each in store.runs_during(T0 + hour)] == ["over", "on"]
    assert [each.id for each in store.runs_during(T0 + hour + timedelta(seconds=1))] == ["on"]


def test_journals_are_kept_beside_a_run_and_replaced(store: ChaosStore) -> None:
    store.keep("r1", "run", {"status": "interrupted"})
    store.keep("r1", "run", {"status": "completed", "run": [{"output": "ü", "duration": 0.5}]})
    store.keep("r1", "undo", {"rollbacks": []})
    kept = {"run": {"status": "completed", "run": [{"output": "ü", "duration": 0.5}]}, "undo": {"rollbacks": []}}
    assert store.journals("r1") == kept


def test_of_many_beats_at_once_exactly_one_claims_a_due_run(store: ChaosStore) -> None:
    store.commit(schedule())
    claims: list[list[Run]] = []
    start = threading.Barrier(8)

    def beat() -> None:
        start.wait()
        claims.append(claim_due(store, T0, late_s=60))

    threads = [threading.Thread(target=beat) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) == 8
    assert [one.due_at for claimed in claims for one in claimed] == [T0]
    assert len(store.runs()) == 1
    moved = store.schedule("s-nightly")
    assert moved is not None
    assert moved.due_at == T0 + timedelta(hours=1)


def test_it_lives_beside_the_incidents_in_one_file_and_tells_when_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqliteChaosStore(tmp_path / "file" / "kt.db")
    with pytest.raises(LogUnavailable, match=r"kt\.db"):
        store.commit(schedule())
    from kt.stores.sqlite_log import SqliteIncidentLog

    log, good = SqliteIncidentLog(tmp_path / "kt.db"), SqliteChaosStore(tmp_path / "kt.db")
    good.commit(schedule())
    assert log.entries() == []
    good.close()
    log.close()
    with sqlite3.connect(tmp_path / "kt.db") as connection:
        assert connection.execute("SELECT count(*) FROM chaos_schedules").fetchone() == (1,)
