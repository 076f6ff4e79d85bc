"""The tasks of the pipeline on the embedded stores: what happens when the world around them is broken."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from graph_schema.model import Diagnosis, Entity, Hypothesis, Signal
from kt.incident.events import ActionStarted, AlertsReceived, Diagnosed, Event, PlanProposed
from kt.incident.log import Append, Notification
from kt.pipeline.app import MOST_FAILURES, Pipeline, create_app
from kt.pipeline.journey import Journey
from kt.runtime import Runtime
from kt.sections import Kubernetes
from kt.settings import Settings
from remediate.plan import Plan, Step, Target
from remediate.playbook import BadPlaybook

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNAL = Signal(fingerprint="f", entity="Deployment/shop/cart", symptom="errors", name="Errors", starts_at=T0)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """Without a cluster: the kubeconfig is not there."""
    missing = Kubernetes(kubeconfig=str(tmp_path / "none"))
    return Runtime(Settings(data_dir=str(tmp_path), broker_url="memory://", kubernetes=missing))


@pytest.fixture
def pipeline(runtime: Runtime) -> Pipeline:
    pipeline = create_app(runtime).pipeline
    assert isinstance(pipeline, Pipeline)
    return pipeline


def test_a_defect_that_does_not_go_away_ends_with_a_person(runtime: Runtime, pipeline: Pipeline) -> None:
    cause = Hypothesis(entity="Deployment/shop/cart", fault="Workload.BadRevision", probability=0.9)
    diagnosed = Diagnosed(at=T0, diagnosis=Diagnosis(hypotheses=(cause,), causes=(0,)))
    runtime.log.commit([Append(incident="i", expected=0, events=(AlertsReceived(at=T0, signals=(SIGNAL,)), diagnosed))])
    for _ in range(MOST_FAILURES - 1):
        pipeline.remediate("i")
    assert not Journey(runtime.log, "i").state.ended
    pipeline.remediate("i")
    state = Journey(runtime.log, "i").state
    assert state.phase == "escalated"
    assert "no way to Kubernetes" in state.ended_why


def payload(name: str, about: str, status: str = "firing", group: str = "g", kind: str = "service") -> bytes:
    alert = {
        "status": status,
        "labels": {"alertname": name, "namespace": "shop", kind: about},
        "startsAt": "2026-03-01T12:00:00Z",
        "endsAt": "2026-03-01T12:05:00Z",
        "fingerprint": f"{name}-{about}",
    }
    return msgspec.json.encode({"version": "4", "groupKey": group, "alerts": [alert]})


def receive(runtime: Runtime, *bodies: bytes) -> None:
    runtime.log.receive(
        [Notification(id=f"{runtime.log.counts()[0] + number:032x}", received_at=T0, body=body)
         for number, body in enumerate(bodies)]
    )  # fmt: skip


def test_a_resolved_alert_ends_its_symptom_in_the_incident_of_its_firing(runtime: Runtime, pipeline: Pipeline) -> None:
    receive(runtime, payload("Errors", "cart"), payload("Errors", "cart", "resolved"), payload("Errors", "cart"))
    pipeline.sense()
    (entry,) = runtime.log.entries()
    assert runtime.log.counts() == (3, 0)
    assert Journey(runtime.log, entry.incident).state.firing == ()


def test_one_group_is_one_incident_and_strangers_are_two(runtime: Runtime, pipeline: Pipeline) -> None:
    receive(runtime, payload("Errors", "cart"), payload("Errors", "front"), payload("Errors", "mail", group="other"))
    pipeline.sense()
    assert len(runtime.log.entries()) == 2


def test_what_is_raised_where_kt_acts_belongs_to_the_incident_it_acts_for(runtime: Runtime, pipeline: Pipeline) -> None:
    sick = Signal(fingerprint="n", entity="Node/n2", symptom="node_not_ready", name="NodeNotReady", starts_at=T0)
    cause = Hypothesis(entity="Node/n2", fault="Node.NotReady", probability=0.9)
    step = Step(action="cordon", target=Target(kind="Node", namespace="", name="n2", uid="u"), parameters={})
    plan = Plan(
        playbook="migrate", hypothesis=cause, steps=(step,), risk="medium", steady_state=(), undo="",
        blast_radius=("Node/n2", "Pod/shop/cart-1"), affects=("Deployment/shop/cart",),
    )  # fmt: skip
    at = runtime.clock()
    acting: tuple[Event, ...] = (
        AlertsReceived(at=at, signals=(sick,)),
        Diagnosed(at=at, diagnosis=Diagnosis(hypotheses=(cause,), causes=(0,))),
        PlanProposed(at=at, plan=plan, approvals_needed=0, expires_at=at),
        ActionStarted(at=at, action_id="a", plan_digest=plan.digest, step=0, fencing=1),
    )
    runtime.log.commit([Append(incident="i", expected=0, events=acting)])
    deployments = [Entity(id=f"Deployment/shop/{name}", kind="Deployment", name=name, namespace="shop")
                   for name in ("cart", "mail")]  # fmt: skip
    runtime.graph.upsert(deployments, at=T0)
    # The node's pods have left the graph: no way leads from the workload to it any more.
    receive(runtime, payload("Missing", "cart", group="shop", kind="deployment"))
    pipeline.sense()
    assert [entry.incident for entry in runtime.log.entries()] == ["i"]
    receive(runtime, payload("Missing", "mail", group="mail", kind="deployment"))
    pipeline.sense()
    assert len(runtime.log.entries()) == 2


def test_a_storm_of_one_group_is_taken_in_at_once_and_told_once(runtime: Runtime, pipeline: Pipeline) -> None:
    storm = [payload("Errors", f"s{number % 40}", group=f"g{number % 2}") for number in range(200)]
    receive(runtime, *storm)
    pipeline.sense()
    assert runtime.log.counts() == (200, 0)
    journeys = [Journey(runtime.log, entry.incident) for entry in runtime.log.entries()]
    assert sorted(len(journey.state.signals) for journey in journeys) == [20, 20]
    assert [len(journey.records) for journey in journeys] == [1, 1]


def test_a_body_that_cannot_be_read_does_not_stand_in_the_way(runtime: Runtime, pipeline: Pipeline) -> None:
    receive(runtime, b"not JSON", payload("Errors", "cart"))
    pipeline.sense()
    assert runtime.log.counts() == (2, 0)
    assert len(runtime.log.entries()) == 1


def test_what_ended_by_itself_is_healed_without_an_action(runtime: Runtime, pipeline: Pipeline) -> None:
    receive(runtime, payload("Errors", "cart"), payload("Errors", "cart", "resolved"))
    pipeline.sense()
    (entry,) = runtime.log.entries()
    pipeline.diagnose(entry.incident)
    state = Journey(runtime.log, entry.incident).state
    assert (state.phase, state.actions) == ("healed", ())


def test_an_alert_about_nothing_known_is_told_to_a_person(runtime: Runtime, pipeline: Pipeline) -> None:
    service = Entity(id="Service/shop/cart", kind="Service", name="cart", namespace="shop")
    runtime.graph.upsert([service], at=T0)
    receive(runtime, payload("Errors", "cart"), payload("Odd", "nothing"))
    pipeline.sense()
    (entry,) = runtime.log.entries()
    signals = Journey(runtime.log, entry.incident).state.signals.values()
    assert {(signal.entity, signal.mapped) for signal in signals} == {
        ("Service/shop/cart", True),
        ("Unmapped/shop/Odd", False),
    }


def test_a_wrong_playbook_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\nabout: x\ntargets: [Pod]\nrisk: low\nsteps: [{action: explode}]\n"
                                       "steady_state: []\nundo: none\n")  # fmt: skip
    settings = msgspec.structs.replace(Settings(data_dir=str(tmp_path)), guard=Settings().guard)
    guard = msgspec.structs.replace(settings.guard, playbooks=str(tmp_path))
    with pytest.raises(BadPlaybook, match=r"own\.yaml.*explode"):
        Runtime(msgspec.structs.replace(settings, guard=guard))
