"""KT as processes on a real Redis, healing the twin, while parts of it are killed: nothing is lost or done twice."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from kt.incident.events import ActionStarted, AlertsReceived
from tests.e2e.installation import until
from tests.e2e.on_twin import OnTwin, stored
from twin.server import Twin

ENDED = ("healed", "escalated")
PHASES = ["", "new", "diagnosed", "awaiting approval", "acting", "verifying", "undoing", *ENDED]


@pytest.fixture
def twin() -> Iterator[Twin]:
    one = Twin(seed=3, speed=5.0).start()
    yield one
    one.stop()


@pytest.fixture(params=["sqlite", "neo4j"])
def kt(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, twin: Twin) -> Iterator[OnTwin]:
    redis.Redis.from_url(redis_url).flushall()
    one = OnTwin(tmp_path, redis_url, twin, stored(request))
    yield one
    print(one.output())
    one.end()


def begin(kt: OnTwin) -> subprocess.Popen[bytes]:
    """Everything runs, the cluster is known, the bad image is rolled out. The worker."""
    url = kt.serve()
    kt.start("beat")
    worker = kt.start("worker")
    kt.twin.notify(url, None)
    until(lambda: kt.knows("Deployment/shop/cart"), "the beat follows the cluster")
    kt.twin.inject("bad-rollout")
    return worker


def test_a_worker_killed_in_every_phase_leaves_nothing_undone_and_nothing_done_twice(kt: OnTwin) -> None:
    worker = begin(kt)
    for phase in PHASES[1:6]:
        reached(kt, phase)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker = kt.start("worker")
    healed_by_one_change(kt)


def test_redis_emptied_all_through_beside_two_workers_and_two_beats(kt: OnTwin, redis_url: str) -> None:
    kt.start("worker")
    kt.start("beat")
    begin(kt)
    client = redis.Redis.from_url(redis_url)
    until(lambda: bool(client.flushall()) and kt.phase() in ("verifying", *ENDED), "the fix is verified")
    client.flushall()
    healed_by_one_change(kt)


def reached(kt: OnTwin, phase: str) -> None:
    """The incident is in that phase or beyond it."""
    until(lambda: PHASES.index(kt.phase()) >= PHASES.index(phase), f"the incident is {phase}")


def healed_by_one_change(kt: OnTwin) -> None:
    until(lambda: kt.phase() in ENDED, "the incident ends")
    assert kt.phase() == "healed"
    assert len(kt.events(ActionStarted)) == 1
    assert kt.rolled_back() == 1


def test_the_same_webhook_a_hundred_times_is_one_incident(kt: OnTwin) -> None:
    url = kt.serve()
    kt.start("beat")
    kt.start("worker")
    alert = {
        "status": "firing",
        "labels": {"alertname": "Odd", "namespace": "shop"},
        "startsAt": "2026-03-01T12:00:00Z",
        "fingerprint": "f",
    }
    payload = {"version": "4", "groupKey": "g", "alerts": [alert]}
    for _ in range(100):
        assert httpx.post(url, content=json.dumps(payload)).status_code == 200
    until(lambda: kt.log.counts() == (100, 0), "all of them are taken in")
    assert len(kt.log.entries()) == 1
    assert len(kt.events(AlertsReceived)) == 1
