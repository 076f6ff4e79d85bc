"""Metrics and events beside the alerts, read from a running twin by the real clients."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import httpx
import msgspec
import pytest
from rich.console import Console

from graph_schema.model import Entity, Relation, Signal, Subgraph, entity_id
from kt import sections
from kt.incident.events import AlertsReceived, Probed
from kt.incident.log import Append
from kt.pipeline.evidence import beside
from kt.pipeline.gathering import Ahead
from kt.pipeline.journey import Journey
from kt.pipeline.rehearsal import rehearse
from kt.pipeline.stages import diagnose as diagnose_stage
from kt.processes import follower
from kt.runtime import Runtime
from kt.settings import Settings
from kt.views.screen import screen
from sense import prometheus
from sense.http import client
from tests.e2e.installation import until
from twin.server import Twin

CHAIN = ("front", "cart", "catalogue", "store")
DEADLINE_S = 60.0


@pytest.fixture
def twin() -> Iterator[Twin]:
    running = Twin(seed=3, speed=20.0).start()
    yield running
    running.stop()


def shop() -> Subgraph:
    entities = [
        Entity(id=entity_id(kind, name, "shop"), kind=kind, name=name, namespace="shop")
        for name in CHAIN
        for kind in ("Service", "Deployment")
    ]
    entities += [Entity(id=f"Node/kt-node-{number}", kind="Node", name=f"kt-node-{number}") for number in (1, 2, 3)]
    calls = [Relation(f"Service/shop/{a}", f"Service/shop/{b}", "CALLS") for a, b in itertools.pairwise(CHAIN)]
    return Subgraph({each.id: each for each in entities}, tuple(calls))


def runtime(twin: Twin, folder: Path, url: str | None = None) -> Runtime:
    return Runtime(
        Settings(
            data_dir=str(folder),
            broker_url="memory://",
            kubernetes=sections.Kubernetes(kubeconfig=str(twin.kubeconfig), cluster="twin"),
            prometheus=sections.Prometheus(url=url or twin.prometheus_url),
        ),
        clock=twin.now,
    )


def alert(entity: str, symptom: str, at: datetime) -> Signal:
    return Signal(fingerprint="a", entity=entity, symptom=symptom, name="Told", starts_at=at)


def broken(twin: Twin, fault: str, seconds: float = 30.0) -> datetime:
    """Break it and let the twin's time pass; when it was broken."""
    at = twin.now()
    twin.inject(fault)
    until(lambda: (twin.now() - at).total_seconds() >= seconds, "the twin's time passes", seconds=DEADLINE_S)
    return at


def test_the_metrics_of_services_near_the_alert_are_signals_and_burdens(twin: Twin, tmp_path: Path) -> None:
    at = broken(twin, "bad-rollout")
    running = runtime(twin, tmp_path)
    try:
        found = beside(running, shop(), [alert("Service/shop/front", "errors", at)])
    finally:
        running.close()
    metrics = {(each.entity, each.symptom) for each in found.signals if each.source == "metric"}
    assert ("Service/shop/cart", "errors") in metrics
    # The twin's rules watch for these, and one for nothing that the catalogue has a symptom of its own for.
    assert {"errors", "latency", "saturation"} <= set(found.watched or ())
    assert found.warnings == ()
    # What the alert says already is not said again.
    assert ("Service/shop/front", "errors") not in metrics
    carried = {each.entity: each.amount for each in found.burdens if each.symptom == "errors"}
    assert carried["Service/shop/cart"] > carried["Service/shop/catalogue"]


def test_a_node_that_went_down_is_told_by_its_condition(twin: Twin, tmp_path: Path) -> None:
    at = broken(twin, "node-down", 60.0)
    running = runtime(twin, tmp_path)
    try:
        found = beside(running, shop(), [alert("Deployment/shop/cart", "replicas_mismatch", at)])
    finally:
        running.close()
    nodes = [each for each in found.signals if each.entity.startswith("Node/")]
    assert {each.symptom for each in nodes} & {"node_unreachable", "node_not_ready"}


def test_without_prometheus_the_diagnosis_goes_on_with_what_there_is(twin: Twin, tmp_path: Path) -> None:
    running = runtime(twin, tmp_path, url="http://127.0.0.1:9")
    try:
        assert beside(running, shop(), [alert("Service/shop/front", "errors", twin.now())]).burdens == ()
        nothing = sections.Diagnose(metrics=False, events=False, rules=False)
        off = msgspec.structs.replace(running.settings, diagnose=nothing)
        running.settings = off
        assert beside(running, shop(), [alert("Service/shop/front", "errors", twin.now())]).signals == ()
    finally:
        running.close()


@pytest.fixture
def following(twin: Twin, tmp_path: Path) -> Iterator[Runtime]:
    """The graph is that of the running twin."""
    running, stop = runtime(twin, tmp_path), threading.Event()
    watching = follower(running)
    thread = threading.Thread(target=watching.run, args=(stop,), daemon=True)
    thread.start()
    assert watching.synced.wait(DEADLINE_S)
    yield running
    stop.set()
    running.close()


def test_what_containers_write_is_evidence_where_it_is_wanted(twin: Twin, following: Runtime) -> None:
    at = broken(twin, "bad-rollout")
    alerts = [alert("Service/shop/front", "unavailable", at)]
    piece = following.graph.neighbourhood(["Service/shop/front"], hops=6)

    def written() -> dict[str, str]:
        found = beside(following, piece, alerts)
        assert found.warnings == ()
        return {each.entity: each.name for each in found.signals if each.source == "log"}

    assert written() == {}
    wanted = sections.Diagnose(metrics=False, events=False, rules=False, logs="kubernetes")
    following.settings = msgspec.structs.replace(following.settings, diagnose=wanted)
    assert written() == {
        "Deployment/shop/cart": "ERROR GET /: <*> failed",
        "Deployment/shop/front": "ERROR GET /: <*> next service answered <*> Internal Server Error",
    }


@pytest.mark.parametrize(("logs", "named"), [("off", False), ("kubernetes", True)])
def test_an_overload_is_named_by_what_containers_write(
    twin: Twin, following: Runtime, logs: Literal["off", "kubernetes"], named: bool
) -> None:
    at = broken(twin, "overload")
    alone = sections.Diagnose(metrics=False, events=False, rules=False, probes=0, logs=logs)
    following.settings = msgspec.structs.replace(following.settings, diagnose=alone)
    told = alert("Service/shop/front", "errors", at)
    following.log.commit([Append(incident="i", expected=0, events=(AlertsReceived(at=at, signals=(told,)),))])
    journey = Journey(following.log, "i")
    diagnose_stage.run(following, journey, Ahead())
    diagnosis = journey.state.diagnosis
    assert diagnosis is not None
    first = diagnosis.hypotheses[0]
    assert ((first.entity, first.fault) == ("Deployment/shop/catalogue", "Workload.Overload")) is named


def test_without_the_right_to_read_logs_the_diagnosis_goes_on_and_says_how_to_grant_it(
    twin: Twin, following: Runtime
) -> None:
    at = broken(twin, "bad-rollout")
    piece = following.graph.neighbourhood(["Service/shop/front"], hops=6)
    wanted = sections.Diagnose(metrics=False, events=False, rules=False, logs="kubernetes")
    following.settings = msgspec.structs.replace(following.settings, diagnose=wanted)
    twin.cluster.denied.add(("shop", "", "pods/log", "get"))
    found = beside(following, piece, [alert("Service/shop/front", "errors", at)])
    assert found.signals == ()
    [said] = found.warnings
    assert "kt rbac --logs --namespace shop" in said


def test_a_weak_alert_about_a_dead_node_is_solved_by_asking(twin: Twin, following: Runtime) -> None:
    """Without conditions as evidence a shop that lacks replicas says little; the catalogue knows what to ask."""
    at = broken(twin, "node-down")
    asks = sections.Diagnose(metrics=False, events=False, probes=3, min_probability=0.999)
    following.settings = msgspec.structs.replace(following.settings, diagnose=asks)
    weak = msgspec.structs.replace(alert("Deployment/shop/cart", "replicas_mismatch", at), confidence=0.7)
    following.log.commit([Append(incident="i", expected=0, events=(AlertsReceived(at=at, signals=(weak,)),))])
    journey = Journey(following.log, "i")
    diagnose_stage.run(following, journey, Ahead())
    told = [record.event for record in journey.records if isinstance(record.event, Probed)]
    assert any(each.answer.confirmed for each in told)
    diagnosis = journey.state.diagnosis
    assert diagnosis is not None
    assert diagnosis.hypotheses[0].fault.startswith("Node.")
    shown = io.StringIO()
    Console(file=shown, width=200).print(
        screen(journey.records, journey.state, short="i", now=twin.now(), about={}, full=True)
    )
    assert "speaks for Node.NotReady" in shown.getvalue()
    assert "not enough evidence for" in shown.getvalue()


def test_a_range_has_a_value_at_each_step_that_was_seen(twin: Twin) -> None:
    broken(twin, "overload", 5.0)
    end = twin.now().timestamp()
    front = next(each for each in shop().entities.values() if each.id == "Service/shop/front")
    table = prometheus.read(twin.prometheus_url, prometheus.load(), [front], end - 20, end)
    rate = table["Service/shop/front"]["requests_per_second"]
    assert rate.values[0] == pytest.approx(30.0, rel=0.2)
    assert rate.values[-1] == pytest.approx(60.0, rel=0.2)
    answer = httpx.get(f"{twin.prometheus_url}/api/v1/query_range", params={"query": "x", "start": "soon"})
    assert answer.status_code == 400
    with pytest.raises(prometheus.RangeUnavailable):
        prometheus.read("http://127.0.0.1:9", prometheus.load(), [front], 0, 1)


def test_a_rehearsal_asks_the_servers_and_changes_nothing(twin: Twin, tmp_path: Path) -> None:
    running = runtime(twin, tmp_path)
    known = shop()
    running.graph.upsert(known.entities.values(), known.relations, at=twin.now())
    asked: list[str] = []
    client().event_hooks = {"request": [lambda request: asked.append(request.url.path)]}
    try:
        rehearse(running)
    finally:
        client().event_hooks = {}
    assert {"/api/v1/query_range", "/api/v1/rules"} <= set(asked)
    assert running.log.entries() == []
    assert running.brakes.since(twin.now() - timedelta(hours=1)) == []
