"""What every incident log promises, run against each of them."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graph_schema.model import Signal
from kt.incident.events import AlertsReceived, Escalated, Event, Postponed
from kt.incident.log import Append, IncidentLog, LogCorrupted, LogUnavailable, Notification, VersionConflict
from kt.stores.neo4j_log import Neo4jIncidentLog
from kt.stores.sqlite_log import SqliteIncidentLog

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "neo4j"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IncidentLog]:
    store: IncidentLog
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        store = Neo4jIncidentLog(place.uri, place.auth)
    else:
        store = SqliteIncidentLog(tmp_path / "kt.db")
    yield store
    store.close()


def opened(second: float = 0) -> Event:
    signal = Signal(fingerprint="f1", entity="Service/shop/cart", symptom="errors", name="Errors", starts_at=T0)
    return AlertsReceived(at=T0 + timedelta(seconds=second), signals=(signal,))


def notification(number: int) -> Notification:
    return Notification(id=f"{number:032x}", received_at=T0 + timedelta(seconds=number), body=b"{}")


def test_what_was_received_is_there_once_and_in_order(log: IncidentLog) -> None:
    log.receive([notification(2), notification(1)])
    log.receive([notification(2), notification(3)])
    assert [each.id[-1] for each in log.unsettled(10)] == ["1", "2", "3"]
    assert log.unsettled(1) == [notification(1)]
    assert log.counts() == (3, 3)


def test_a_commit_appends_settles_and_claims_at_once(log: IncidentLog) -> None:
    log.receive([notification(1)])
    log.commit([Append(incident="i", expected=0, events=(opened(),))], settle=[notification(1).id], keys=[("k", "i")])
    assert log.counts() == (1, 0)
    assert log.claimed(["k", "other"]) == {"k": "i"}
    assert [record.event for record in log.load("i")] == [opened()]


@pytest.mark.parametrize("fault", ["version", "settled", "key"])
def test_a_commit_that_conflicts_changes_nothing(log: IncidentLog, fault: str) -> None:
    log.receive([notification(1), notification(2)])
    log.commit([Append(incident="i", expected=0, events=(opened(),))], settle=[notification(1).id], keys=[("k", "i")])
    before = (log.counts(), log.load("i"), log.entries())
    with pytest.raises(VersionConflict):
        log.commit(
            [Append(incident="i", expected=0 if fault == "version" else 1, events=(opened(1),))],
            settle=[notification(1 if fault == "settled" else 2).id],
            keys=[("k" if fault == "key" else "k2", "i")],
        )
    assert (log.counts(), log.load("i"), log.entries()) == before


def test_of_many_writers_at_one_version_exactly_one_wins(log: IncidentLog) -> None:
    log.commit([Append(incident="i", expected=0, events=(opened(),))])
    won: list[int] = []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        try:
            log.commit([Append(incident="i", expected=1, events=(opened(number),))])
            won.append(number)
        except VersionConflict:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [record.event.at for record in log.load("i")] == [T0, T0 + timedelta(seconds=won[0])]


def test_a_reader_beside_a_writer_sees_whole_logs_only(log: IncidentLog) -> None:
    log.commit([Append(incident="i", expected=0, events=(opened(),))])
    done = threading.Event()

    def write() -> None:
        version = 1
        while version < 60:
            # A conflict means: load again and decide again.
            with contextlib.suppress(VersionConflict):
                log.commit([Append(incident="i", expected=version, events=(opened(version),))])
                version += 1
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = [len(log.load("i"))]
    while not done.is_set():
        seen.append(len(log.load("i")))
    writer.join()
    assert seen == sorted(seen)
    assert len(log.load("i")) == 60


def test_the_index_tells_phase_and_when_the_next_step_is_due(log: IncidentLog) -> None:
    log.commit([Append(incident="a", expected=0, events=(opened(),))])
    later = T0 + timedelta(hours=1)
    log.commit([Append(incident="b", expected=0, events=(opened(5), Postponed(at=T0, until=later, why="busy")))])
    log.commit([Append(incident="c", expected=0, events=(opened(9), Escalated(at=T0, why="enough")))])
    assert log.due(T0 + timedelta(seconds=10)) == ["a"]
    assert log.due(later) == ["a", "b"]
    assert log.due(later, limit=1) == ["a"]
    assert [(entry.incident, entry.phase, entry.version) for entry in log.entries()] == [
        ("c", "escalated", 2),
        ("b", "new", 2),
        ("a", "new", 1),
    ]
    assert [entry.incident for entry in log.entries(open_only=True)] == ["b", "a"]
    assert log.entries(limit=1)[0].due_at is None


def test_an_unknown_incident_has_an_empty_log(log: IncidentLog) -> None:
    assert log.load("nothing") == []
    assert log.due(T0) == []


def test_altering_an_event_behind_the_logs_back_is_noticed(tmp_path: Path) -> None:
    log = SqliteIncidentLog(tmp_path / "kt.db")
    log.commit([Append(incident="i", expected=0, events=(opened(), opened(1)))])
    with sqlite3.connect(tmp_path / "kt.db") as connection:
        connection.execute("UPDATE events SET event = replace(event, 'cart', 'till') WHERE version = 1")
    with pytest.raises(LogCorrupted, match="event 1"):
        log.load("i")
    with sqlite3.connect(tmp_path / "kt.db") as connection:
        connection.execute("DELETE FROM events WHERE version = 2")
        connection.execute("UPDATE events SET event = replace(event, 'till', 'cart') WHERE version = 1")
    with pytest.raises(LogCorrupted, match="ends at event 1"):
        log.load("i")
    log.close()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = SqliteIncidentLog(tmp_path / "file" / "kt.db")
    with pytest.raises(LogUnavailable, match=r"kt\.db"):
        log.receive([notification(1)])
