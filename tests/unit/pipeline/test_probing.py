"""Asking when the evidence is not enough: how often, that no answer is told, and what a crash leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graph_schema.model import Change, Entity, ProbeAnswer, Relation, Signal
from kt.incident.basis import judge, unpack
from kt.incident.events import ActionStarted, AlertsReceived, Diagnosed, PlanProposed, Postponed, Probed
from kt.incident.log import Append
from kt.incident.state import fold
from kt.pipeline.gathering import Ahead
from kt.pipeline.journey import Journey, held
from kt.pipeline.stages import diagnose as stage
from kt.pipeline.stages import remediate
from kt.runtime import Runtime
from kt.sections import Diagnose, Kubernetes, Prometheus
from kt.settings import BadSettings, Settings
from kt.views.words import event_words
from tests.unit.incident.test_state import PLAN

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART, POD, NODE = "Deployment/shop/cart", "Pod/shop/cart-1", "Node/n1"
WEAK = Signal(fingerprint="f", entity=CART, symptom="replicas_mismatch", name="Told", starts_at=T0, confidence=0.2)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """Nothing answers: no cluster, no Prometheus."""
    settings = Settings(
        data_dir=str(tmp_path), broker_url="memory://", kubernetes=Kubernetes(kubeconfig=str(tmp_path / "none")),
        prometheus=Prometheus(url="http://127.0.0.1:9"), diagnose=Diagnose(probes=2, min_probability=0.99),
    )  # fmt: skip
    runtime = Runtime(settings, clock=lambda: T0 + timedelta(minutes=1))
    runtime.graph.upsert(
        [
            Entity(id=CART, kind="Deployment", name="cart", namespace="shop"),
            Entity(id=POD, kind="Pod", name="cart-1", namespace="shop"),
            Entity(id=NODE, kind="Node", name="n1"),
        ],
        [Relation(CART, POD, "OWNS"), Relation(POD, NODE, "RUNS_ON")],
        at=T0,
    )
    return runtime


def begun(runtime: Runtime) -> Journey:
    received = AlertsReceived(at=T0, signals=(WEAK,))
    runtime.log.commit([Append(incident="i", expected=0, events=(received,))])
    return Journey(runtime.log, "i")


def probes(journey: Journey) -> list[Probed]:
    return [record.event for record in journey.records if isinstance(record.event, Probed)]


def test_what_nothing_answers_is_asked_a_few_times_and_the_diagnosis_says_what_is_missing(runtime: Runtime) -> None:
    journey = begun(runtime)
    stage.run(runtime, journey, Ahead())
    asked = probes(journey)
    assert 1 <= len(asked) <= 4
    assert {each.answer.confirmed for each in asked} == {None}
    assert "tells nothing of" in event_words(asked[0])
    diagnosis = journey.state.diagnosis
    assert diagnosis is not None
    assert {word for text in diagnosis.warnings for word in ("metrics", "events", "rules") if word in text} == {
        "metrics", "events", "rules",
    }  # fmt: skip
    assert journey.state.next_step == "remediate"


def test_who_goes_on_after_a_crash_uses_the_answers_and_asks_none_of_them_again(runtime: Runtime) -> None:
    whole = begun(runtime)
    stage.run(runtime, whole, Ahead())
    first = probes(whole)[0]
    answer = ProbeAnswer(
        question="Node/n1: condition Ready", confirms="!= True", confirmed=True, saw="= Unknown"
    )  # fmt: skip
    died_after = Probed(at=T0, probe=first.probe, answer=answer)
    runtime.log.commit(
        [Append(incident="crashed", expected=0, events=(AlertsReceived(at=T0, signals=(WEAK,)), died_after))]
    )
    journey = Journey(runtime.log, "crashed")
    assert journey.state.next_step == "diagnose"
    stage.run(runtime, journey, Ahead())
    assert [each.answer.question for each in probes(journey)].count(answer.question) == 1
    assert journey.state.diagnosis is not None
    assert journey.state.diagnosis.hypotheses[0].entity == NODE


def test_a_diagnosis_can_be_made_again_from_the_log_alone(runtime: Runtime) -> None:
    journey = begun(runtime)
    stage.run(runtime, journey, Ahead())
    (event,) = [record.event for record in journey.records if isinstance(record.event, Diagnosed)]
    again = judge(unpack(event.basis), runtime.catalogue, runtime.ontology)
    assert again.hypotheses == event.diagnosis.hypotheses


def test_answers_are_forgotten_once_something_was_done(runtime: Runtime) -> None:
    journey = begun(runtime)
    stage.run(runtime, journey, Ahead())
    events = [record.event for record in journey.records]
    assert fold("i", events).answers
    acted = [
        *events,
        PlanProposed(at=T0, plan=PLAN, approvals_needed=0, expires_at=T0),
        ActionStarted(at=T0, action_id="a", plan_digest=PLAN.digest, step=0, fencing=1),
    ]
    assert fold("i", acted).answers == ()


def test_what_is_known_later_is_looked_at_while_more_evidence_is_waited_for(tmp_path: Path) -> None:
    clock = [T0 + timedelta(seconds=1)]
    settings = Settings(
        data_dir=str(tmp_path), broker_url="memory://", kubernetes=Kubernetes(kubeconfig=str(tmp_path / "none")),
        prometheus=Prometheus(url="http://127.0.0.1:9"), diagnose=Diagnose(probes=0, min_probability=0.6),
    )  # fmt: skip
    runtime = Runtime(settings, clock=lambda: clock[0])
    things = [Entity(id=CART, kind="Deployment", name="cart", namespace="shop")]
    runtime.graph.upsert(things, at=T0)
    journey = begun(runtime)
    stage.run(runtime, journey, Ahead())
    assert journey.state.diagnosis is not None
    assert all(each.probability < 0.6 for each in journey.state.diagnosis.selected())
    _visit(runtime, journey)
    assert isinstance(journey.records[-1].event, Postponed)
    once = len(journey.records)
    _visit(runtime, journey)
    assert len(journey.records) == once  # it is not time yet
    clock[0] += timedelta(seconds=5)
    _visit(runtime, journey)
    assert [type(record.event) for record in journey.records[-2:]] == [Postponed, Postponed]
    runtime.graph.record_changes([Change(entity=CART, at=T0 - timedelta(seconds=5), kind="rollout", id="c")])
    clock[0] += timedelta(seconds=5)
    with pytest.raises(BadSettings, match="no way to Kubernetes"):  # it goes on to a plan
        _visit(runtime, journey)
    assert isinstance(journey.records[-1].event, Diagnosed)
    assert next(journey.state.diagnosis.selected()).probability >= 0.6


def _visit(runtime: Runtime, journey: Journey) -> None:
    with held(runtime.leases, "i", "test", ttl_s=10) as lease:
        assert lease is not None
        remediate.run(runtime, journey, lease)
