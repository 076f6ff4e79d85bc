"""Parts of KT and of what it stands on are killed while it heals the real cluster: every incident ends, nothing is done
twice. How often something was done is read off the API server (`metadata.generation` counts changes of a spec)."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

import testbed.servers
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    AlertsReceived,
    Diagnosed,
    Happened,
    PlanProposed,
    VerificationStarted,
)
from testbed import shop
from testbed.kubernetes import cluster
from testbed.shop.faults import FAULTS
from tests.conftest import Place, Servers, in_neo4j
from tests.e2e.installation import until
from tests.e2e.real import HEALED_S, SERVERS, OnRealCluster, beside_the_cluster, events, healed

pytestmark = pytest.mark.real(*SERVERS)
CART = "Deployment/shop/cart"
FAULT = "Workload.BadRevision"


@pytest.fixture
def kt(tmp_path: Path, empty_neo4j: Place, servers: Servers) -> Iterator[OnRealCluster]:
    with beside_the_cluster(tmp_path, servers(*SERVERS), in_neo4j(empty_neo4j)) as one:
        yield one


def generation() -> int:
    """How often the spec of cart was changed, as the API server counts."""
    with cluster.Api(cluster.kubeconfig("admin")) as api:
        return int(api.get(f"{shop.DEPLOYMENTS}/cart")["metadata"]["generation"])


@pytest.fixture
def broken(kt: OnRealCluster) -> Iterator[Callable[[], None]]:
    """Breaks the shop; afterwards the incident must have been healed by exactly one change of the Deployment."""
    before: list[int] = []

    def break_it() -> None:
        FAULTS["bad-rollout"]()
        before.append(generation())

    yield break_it
    journey = healed(kt, CART, FAULT)
    assert len(events(journey, ActionStarted)) == 1
    assert generation() - before[0] == 1


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_worker_killed_after_every_step_of_one_incident(kt: OnRealCluster, broken: Callable[[], None]) -> None:
    worker = kt.start("worker")
    broken()
    for step in (AlertsReceived, Diagnosed, PlanProposed, ActionStarted, ActionFinished, VerificationStarted):
        reached(kt, step)
        kill(worker)
        worker = kt.start("worker")


def test_redis_emptied_and_killed_and_neo4j_killed_beside_two_workers_and_two_beats(
    kt: OnRealCluster, broken: Callable[[], None]
) -> None:
    for command in ("worker", "worker", "beat"):
        kt.start(command)
    broken()
    reached(kt, AlertsReceived)
    redis.Redis.from_url(kt.settings.broker_url).flushall()
    testbed.servers.restart("redis", kill=True)
    reached(kt, ActionFinished)
    testbed.servers.restart("neo4j", kill=True)


def reached(kt: OnRealCluster, step: type[Happened]) -> None:
    until(lambda: any(events(each, step) for each in kt.journeys()), f"{step.__name__} is in the log", seconds=HEALED_S)


def test_the_web_process_killed_while_alerts_come_in(kt: OnRealCluster) -> None:
    kt.start("worker")
    acknowledged = 0
    url = kt.webhook
    for number in range(200):
        alert = {"status": "firing", "labels": {"alertname": "Odd", "number": str(number)},
                 "startsAt": "2026-03-01T12:00:00Z", "fingerprint": f"odd-{number}"}  # fmt: skip
        try:
            answer = httpx.post(url, json={"version": "4", "groupKey": "odd", "alerts": [alert]}, headers=kt.bearer)
            acknowledged += answer.status_code == 200
        except httpx.HTTPError:
            break
        if number == 100:
            kill(kt.web)
    assert acknowledged >= 100
    assert kt.log.counts()[0] >= acknowledged
    kt.serve()
    until(lambda: kt.log.counts()[1] == 0, "everything acknowledged is taken in")
