"""What every store of pulses promises, run against each of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kt.incident.log import LogUnavailable, Pulses
from kt.stores.neo4j_pulses import Neo4jPulses
from kt.stores.sqlite_pulses import SqlitePulses


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "neo4j"])
def pulses(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Pulses]:
    store: Pulses
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        store = Neo4jPulses(place.uri, place.auth, clock)
    else:
        store = SqlitePulses(tmp_path / "kt.db", clock)
    yield store
    store.close()


def test_the_last_beat_of_each_name_is_kept(pulses: Pulses, clock: Clock) -> None:
    assert pulses.last("sweep") is None
    pulses.beat("sweep")
    first = clock.at
    clock.at += timedelta(seconds=5)
    pulses.beat("other")
    assert (pulses.last("sweep"), pulses.last("other")) == (first, clock.at)
    pulses.beat("sweep")
    assert pulses.last("sweep") == clock.at


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailable, match=r"kt\.db"):
        SqlitePulses(tmp_path / "file" / "kt.db", clock).beat("sweep")
