"""The sweep asks for what is due; where workers are behind it does not bury them under what they know already."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import Celery

from graph_schema.model import Signal
from kt.incident.events import AlertsReceived
from kt.incident.log import Append
from kt.pipeline.app import MOST_WAITING, STAGES, create_app, waiting
from kt.runtime import Runtime
from kt.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTLED = timedelta(seconds=10)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    runtime = Runtime(Settings(data_dir=str(tmp_path), broker_url="memory://"), clock=lambda: NOW + SETTLED)
    app = create_app(runtime)
    _purge(app)  # queues in memory are this process's, whoever used them before
    yield app
    _purge(app)
    runtime.close()


def _purge(app: Celery) -> None:
    with app.pool.acquire(block=True) as connection:
        for name in STAGES:
            connection.default_channel.queue_declare(queue=name)
            connection.default_channel.queue_purge(name)


def opened(app: Celery, count: int) -> None:
    for number in range(count):
        signal = Signal(
            fingerprint=f"f{number}", entity=f"Pod/shop/{number}", symptom="errors", name="E", starts_at=NOW
        )
        news = AlertsReceived(at=NOW, signals=(signal,))
        app.pipeline.runtime.log.commit([Append(incident=f"i{number}", expected=0, events=(news,))])


def asked(app: Celery) -> set[str]:
    """The incidents that the queues hold."""
    found = set()
    with app.pool.acquire(block=True) as connection:
        channel = connection.default_channel
        while (message := channel.basic_get("diagnose", no_ack=True)) is not None:
            found.add(channel.message_to_python(message).decode()[0][0])
    return found


def test_all_that_is_due_is_asked_for_where_the_queues_are_short(app: Celery) -> None:
    opened(app, 3)
    app.pipeline.sweep()
    assert asked(app) == {"i0", "i1", "i2"}


def test_however_often_it_sweeps_the_queues_stay_short(app: Celery) -> None:
    opened(app, MOST_WAITING // 2)
    for _ in range(10):
        app.pipeline.sweep()
    assert waiting(app) == MOST_WAITING


def test_none_is_left_out_for_good_where_not_all_have_room(app: Celery) -> None:
    opened(app, MOST_WAITING + 20)
    found: set[str] = set()
    for _ in range(30):
        app.pipeline.sweep()
        found |= asked(app)
    assert len(found) == MOST_WAITING + 20
