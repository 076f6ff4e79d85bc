"""A wrong first guess is given up as soon as what came in since is clear, and no sooner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from graph_schema.model import Change, Diagnosis, Entity, Hypothesis, Relation, Signal
from kt.incident.events import ActionFinished, ActionStarted, AlertsReceived, Diagnosed, PlanProposed
from kt.incident.log import Append
from kt.pipeline.doubts import Doubts
from kt.pipeline.journey import Journey
from kt.pipeline.stages import verify
from kt.runtime import Runtime
from kt.sections import Kubernetes, Prometheus
from kt.settings import Settings
from tests.unit.incident.test_state import PLAN

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
FRONT, CART = "Deployment/shop/front", "Deployment/shop/cart"
GUESS = Hypothesis(entity=FRONT, fault="Workload.Stuck", probability=0.53)


def alert(name: str, after_s: float) -> Signal:
    return Signal(
        fingerprint=name, entity=f"Service/shop/{name}", symptom="errors", name="Errors",
        starts_at=T0 + timedelta(seconds=after_s),
    )  # fmt: skip


class Clock:
    now = T0

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runtime(tmp_path: Path, clock: Clock) -> Runtime:
    """front calls cart, which was rolled out a moment before; nothing but the graph answers."""
    settings = Settings(
        data_dir=str(tmp_path), broker_url="memory://", kubernetes=Kubernetes(kubeconfig=str(tmp_path / "none")),
        prometheus=Prometheus(url="http://127.0.0.1:9"),
    )  # fmt: skip
    one = Runtime(settings, clock=clock)
    entities, relations = [], [Relation("Service/shop/front", "Service/shop/cart", "CALLS")]
    for name in ("front", "cart"):
        kinds = ("Service", "Deployment", "ReplicaSet", "Pod")
        service, deployment, replicas, pod = ids = [f"{kind}/shop/{name}" for kind in kinds]
        entities += [Entity(id=id_, kind=id_.split("/")[0], name=name, namespace="shop") for id_ in ids]
        relations += [Relation(service, pod, "SELECTS"), Relation(deployment, replicas, "OWNS")]
        relations.append(Relation(replicas, pod, "OWNS"))
    one.graph.upsert(entities, relations, at=T0)
    rollout = Change(entity=CART, at=T0 - timedelta(seconds=5), kind="rollout", detail="v1 → v2", id="c")
    one.graph.record_changes([rollout])
    return one


Begin = Callable[..., Journey]


@pytest.fixture
def acted(runtime: Runtime) -> Begin:
    """An incident of the front's alert, acted upon for a wrong guess 2 s later; then more alerts came in."""

    def begin(*news: Signal) -> Journey:
        guessed = Diagnosis(hypotheses=(GUESS,), causes=(0,), enough=True)
        plan = msgspec.structs.replace(PLAN, hypothesis=GUESS)
        events = (
            AlertsReceived(at=T0, signals=(alert("front", 0),)),
            Diagnosed(at=T0 + timedelta(seconds=1), diagnosis=guessed),
            PlanProposed(at=T0 + timedelta(seconds=1), plan=plan, approvals_needed=0, expires_at=T0 + timedelta(1)),
            ActionStarted(at=T0 + timedelta(seconds=2), action_id="a", step=0, plan_digest=plan.digest, fencing=1),
            ActionFinished(at=T0 + timedelta(seconds=2), action_id="a", ok=True),
            *((AlertsReceived(at=T0 + timedelta(seconds=4), signals=news),) if news else ()),
        )
        runtime.log.commit([Append(incident="i", expected=0, events=events)])
        return Journey(runtime.log, "i")

    return begin


def test_what_came_in_since_speaks_for_another_cause(runtime: Runtime, acted: Begin, clock: Clock) -> None:
    journey, doubts = acted(alert("cart", 3)), Doubts()
    assert journey.state.phase == "verifying"
    clock.now = T0 + timedelta(seconds=31)
    assert doubts.about(runtime, journey) is None, "it is too early"
    clock.now = T0 + timedelta(seconds=33)
    other = doubts.about(runtime, journey)
    assert other is not None
    assert (other.entity, other.fault) == (CART, "Workload.BadRevision")
    clock.now = T0 + timedelta(seconds=40)
    assert doubts.about(runtime, journey) is None, "it was thought over just now"


def test_without_news_there_is_no_reason_to_doubt(runtime: Runtime, acted: Begin, clock: Clock) -> None:
    clock.now = T0 + timedelta(seconds=60)
    assert Doubts().about(runtime, acted()) is None


def test_a_fix_for_what_is_not_the_cause_is_undone(runtime: Runtime, acted: Begin, clock: Clock) -> None:
    journey = acted(alert("cart", 3))
    clock.now = T0 + timedelta(seconds=40)
    verify.give_up_late(runtime, journey, "Errors on Service/shop/front still fires", None, Doubts())
    assert journey.state.phase == "undoing"
    assert journey.state.verdict is not None
    assert "speaks for Workload.BadRevision of Deployment/shop/cart" in journey.state.verdict.why
