"""What was expected of a plan is put beside what happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from graph_schema.model import Hypothesis
from kt.incident.events import ActionFinished, ActionStarted, Event, PlanProposed, VerificationStarted
from kt.incident.outcome import compared, effect_s
from kt.incident.state import fold
from kt.stores.chain import follow
from remediate.plan import Plan, Step, Target

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = Plan(
    playbook="restart", hypothesis=Hypothesis(entity="Pod/shop/a", fault="Pod.Stuck", probability=0.9),
    steps=(Step(action="restart", target=Target(kind="Pod", name="a", namespace="shop")),), risk="low",
    steady_state=("symptoms-gone",), effect_s=60.0, chance=0.8,
)  # fmt: skip


def took(*events: Event) -> float | None:
    begun: tuple[Event, ...] = (
        PlanProposed(at=T0, plan=PLAN, approvals_needed=0, expires_at=T0 + timedelta(hours=1)),
        ActionStarted(at=T0, action_id="a1", plan_digest=PLAN.digest, step=0, fencing=1),
        ActionFinished(at=T0 + timedelta(seconds=5), action_id="a1", ok=True),
    )
    every = (*begun, *events)
    return effect_s(follow("i", [], every), fold("i", every))


def verification(seconds: float, attempt: int = 1) -> VerificationStarted:
    return VerificationStarted(at=T0 + timedelta(seconds=seconds), attempt=attempt, experiment={})


def test_the_effect_is_there_when_the_first_verification_begins() -> None:
    assert took(verification(35), verification(95, 2)) == 30


def test_before_that_nothing_is_known() -> None:
    assert took() is None
    assert effect_s([], fold("i", ())) is None


def test_both_are_told_and_nothing_where_one_is_not_known() -> None:
    assert compared(PLAN, 30) == "expected to help with 80%, in about 60 s; it took 30 s"
    assert compared(PLAN, None) == ""
    assert compared(msgspec.structs.replace(PLAN, chance=None), 30) == ""
