"""KT as processes on a real Redis, healing the twin, while parts of it are killed: nothing is lost or done twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from graph_schema.ontology import load_ontology
from kt.incident.events import ActionStarted, AlertsReceived, Happened
from kt.incident.log import IncidentLog
from kt.pipeline.journey import Journey
from kt.settings import load
from kt.stores.neo4j_log import Neo4jIncidentLog
from kt.stores.places import open_graph
from kt.stores.sqlite_log import SqliteIncidentLog
from twin.server import Twin

DEADLINE_S = 120.0


class Installation:
    """The processes of KT on one folder, one Redis and one twin."""

    def __init__(self, folder: Path, redis_url: str, twin: Twin, log: IncidentLog, store: dict[str, str]) -> None:
        self.twin, self._folder = twin, folder
        self._environment = {
            **os.environ,
            "KT_DATA_DIR": str(folder),
            "KT_BROKER_URL": redis_url,
            "KT_WEB__PORT": "0",
            "KT_KUBERNETES__KUBECONFIG": str(twin.kubeconfig),
            "KT_PROMETHEUS__URL": twin.prometheus_url,
            "KT_GUARD__ENABLED": "true",
            "KT_APPROVAL__MEDIUM": "0",
            "KT_PIPELINE__LEASE_TTL_S": "2",
            "KT_PIPELINE__VERIFY_QUIET_S": "0.5",
            **store,
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self.log = log

    def start(self, command: str) -> subprocess.Popen[bytes]:
        output = (self._folder / f"{command}-{len(self._running)}.log").open("wb")
        line = [sys.executable, "-c", "from kt.cli import main; main()", command]
        process = subprocess.Popen(line, env=self._environment, stdout=output, stderr=output)
        output.close()
        self._running.append(process)
        return process

    def serve(self) -> str:
        """Start the web process; the URL of its webhook."""
        self.start("serve")
        log = self._folder / f"serve-{len(self._running) - 1}.log"
        until(lambda: b"/webhook" in log.read_bytes(), "the web process listens")
        return next(word for word in log.read_text().split() if word.startswith("http"))

    def journey(self) -> Journey | None:
        entries = self.log.entries()
        return Journey(self.log, entries[-1].incident) if entries else None

    def events(self, kind: type[Happened]) -> list[Any]:
        journey = self.journey()
        return [record.event for record in journey.records if isinstance(record.event, kind)] if journey else []

    def phase(self) -> str:
        journey = self.journey()
        return journey.state.phase if journey else ""

    def rolled_back(self) -> int:
        """How often the API server saw the good image come back."""
        changes = self.twin.cluster.store.since("Deployment", 0)
        return sum(
            1
            for each in changes
            if each.before and image(each.before) == "shop:bad" and image(each.object) != "shop:bad"
        )

    def knows(self, entity: str) -> bool:
        with contextlib.closing(open_graph(load(None, self._environment), load_ontology())) as graph:
            return entity in graph.get([entity])

    def output(self) -> str:
        return "\n".join(f"== {file.name}\n{file.read_text()[-1500:]}" for file in sorted(self._folder.glob("*.log")))

    def end(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.log.close()


def image(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    pause = 0.02
    while not holds():
        assert time.monotonic() < deadline, f"it did not come about that {what}"
        time.sleep(pause)


@pytest.fixture
def twin() -> Iterator[Twin]:
    one = Twin(seed=3, speed=5.0).start()
    yield one
    one.stop()


@pytest.fixture(params=["sqlite", "neo4j"])
def kt(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, twin: Twin) -> Iterator[Installation]:
    redis.Redis.from_url(redis_url).flushall()
    log: IncidentLog = SqliteIncidentLog(tmp_path / "kt.db")
    store: dict[str, str] = {}
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        log = Neo4jIncidentLog(place.uri, place.auth)
        user, password = place.auth or ("", "")
        store = {"KT_STORE__KIND": "neo4j", "KT_STORE__URI": place.uri}
        store |= {"KT_STORE__USER": user, "KT_STORE__PASSWORD": password}
    one = Installation(tmp_path, redis_url, twin, log, store)
    yield one
    print(one.output())
    one.end()


def begin(kt: Installation) -> subprocess.Popen[bytes]:
    """Everything runs, the cluster is known, the bad image is rolled out. The worker."""
    url = kt.serve()
    kt.start("beat")
    worker = kt.start("worker")
    kt.twin.notify(url, None)
    until(lambda: kt.knows("Deployment/shop/cart"), "the beat follows the cluster")
    kt.twin.inject("bad-rollout")
    return worker


@pytest.mark.parametrize("phase", ["new", "diagnosed", "awaiting approval", "acting", "verifying"])
def test_a_worker_killed_in_any_phase_leaves_nothing_undone_and_nothing_done_twice(
    kt: Installation, phase: str
) -> None:
    worker = begin(kt)
    order = ["", "new", "diagnosed", "awaiting approval", "acting", "verifying", "undoing", "healed", "escalated"]
    until(lambda: order.index(kt.phase()) >= order.index(phase), f"the incident is {phase}")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    kt.start("worker")
    until(lambda: kt.phase() in ("healed", "escalated"), "the incident ends")
    assert kt.phase() == "healed"
    assert len(kt.events(ActionStarted)) == 1
    assert kt.rolled_back() == 1


def test_redis_emptied_in_the_middle_loses_nothing(kt: Installation, redis_url: str) -> None:
    begin(kt)
    client = redis.Redis.from_url(redis_url)
    until(lambda: bool(client.flushall()) and kt.phase() in ("verifying", "healed", "escalated"), "the fix is verified")
    client.flushall()
    until(lambda: kt.phase() in ("healed", "escalated"), "the incident ends")
    assert kt.phase() == "healed"
    assert len(kt.events(ActionStarted)) == 1


def test_two_workers_and_two_beats_do_everything_once(kt: Installation) -> None:
    kt.start("worker")
    kt.start("beat")
    begin(kt)
    until(lambda: kt.phase() in ("healed", "escalated"), "the incident ends")
    assert kt.phase() == "healed"
    assert len(kt.events(ActionStarted)) == 1
    assert kt.rolled_back() == 1


def test_the_same_webhook_a_hundred_times_is_one_incident(kt: Installation) -> None:
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
