"""What a person's answer comes to: once, by whoever may, and only for the plan that was shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt.incident.consent import Answer, approve, reject, revoke
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    AlertsReceived,
    Approved,
    Diagnosed,
    Event,
    PlanProposed,
    Rejected,
    Revoked,
)
from kt.incident.state import State, fold
from remediate.plan import Plan, Step, Target

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CAUSE = Hypothesis(entity="Deployment/shop/cart", fault="Workload.BadRevision", probability=0.9)
STEP = Step(action="roll-back", target=Target(kind="Deployment", name="cart", namespace="shop"))
PLAN = Plan(playbook="rollback", hypothesis=CAUSE, steps=(STEP,), risk="high", steady_state=())
SIGNAL = Signal(fingerprint="f", entity="Deployment/shop/cart", symptom="errors", name="E", starts_at=T0)


def waiting(*more: Event, needed: int = 2) -> State:
    return fold("i1", [
        AlertsReceived(at=T0, signals=(SIGNAL,)),
        Diagnosed(at=T0, diagnosis=Diagnosis(hypotheses=(CAUSE,), causes=(0,))),
        PlanProposed(at=T0, plan=PLAN, approvals_needed=needed, expires_at=T0 + timedelta(hours=1)),
        *more,
    ])  # fmt: skip


def answer(by: str = "ada", **more: Any) -> Answer:
    given: dict[str, Any] = {"at": T0 + timedelta(minutes=1), "where": "desk", "why": "seen it"}
    return Answer(by=by, **(given | more))


def approved(by: str) -> Approved:
    return Approved(at=T0, plan_digest=PLAN.digest, by=by)


STARTED = ActionStarted(at=T0, action_id="a", plan_digest=PLAN.digest, step=0, fencing=1)
FINISHED = ActionFinished(at=T0, action_id="a", ok=True)


def test_each_approval_carries_who_when_from_where_and_why() -> None:
    reply = approve(waiting(), answer())
    assert isinstance(reply.event, Approved)
    assert reply.said.endswith("1 more person must agree.")
    event = reply.event
    assert (event.by, event.at, event.where, event.why) == ("ada", T0 + timedelta(minutes=1), "desk", "seen it")
    assert event.plan_digest == PLAN.digest


def test_the_second_person_makes_it_enough() -> None:
    assert approve(waiting(approved("grace")), answer()).said.startswith("Agreed to: ")


def test_lesson_approvals_are_idempotent_the_same_person_counts_once() -> None:
    """st2 4028, 4135: no reply counts twice, and none is an error for being said again."""
    reply = approve(waiting(approved("ada")), answer())
    assert (reply.done, reply.event) == (True, None)
    assert reply.said == "ada has agreed already. Another person is needed."


def test_lesson_approvals_a_plan_that_was_carried_out_says_so() -> None:
    done = waiting(approved("ada"), STARTED, FINISHED, needed=1)
    mine, other = approve(done, answer("ada")), approve(done, answer("grace"))
    assert (mine.done, mine.event) == (True, None)
    assert (other.done, other.event) == (False, None)
    assert "already carried out" in other.said


def test_lesson_approvals_expire() -> None:
    late = approve(waiting(), answer(at=T0 + timedelta(hours=1)))
    assert (late.done, late.event) == (False, None)
    assert "ran out" in late.said


def test_an_answer_to_another_plan_than_was_shown_is_refused() -> None:
    assert approve(waiting(), answer(plan=PLAN.digest[:10])).done
    assert "another one now" in approve(waiting(), answer(plan="0" * 10)).said


def test_turning_down_twice_is_turning_down_once() -> None:
    first = reject(waiting(), answer())
    assert isinstance(first.event, Rejected)
    again = reject(waiting(first.event), answer())
    assert (again.done, again.event) == (True, None)
    assert not reject(waiting(first.event), answer("grace")).done


def test_consent_can_be_taken_back_before_anything_was_done() -> None:
    agreed = waiting(approved("ada"), approved("grace"))
    assert agreed.approved
    reply = revoke(agreed, answer("linus"))
    assert isinstance(reply.event, Revoked)
    back = waiting(approved("ada"), approved("grace"), reply.event)
    assert not back.approved
    assert back.due_at == back.expires_at
    assert approve(back, answer("ada")).said.endswith("1 more person must agree.")


def test_a_plan_that_needed_nobody_needs_somebody_after_it_was_taken_back() -> None:
    reply = revoke(waiting(needed=0), answer())
    assert reply.event is not None
    back = waiting(reply.event, needed=0)
    assert not back.approved
    assert back.approvals_needed == 1


def test_once_begun_it_cannot_be_taken_back() -> None:
    reply = revoke(waiting(approved("ada"), STARTED, needed=1), answer())
    assert (reply.done, reply.event) == (False, None)
    assert "Too late" in reply.said


@pytest.mark.parametrize("decide", [approve, reject, revoke])
def test_an_incident_without_a_plan_waits_for_nobody(decide: Any) -> None:
    state = fold("i1", [AlertsReceived(at=T0, signals=(SIGNAL,))])
    assert decide(state, answer()).said == "Incident i1 is new; it waits for nobody."


ANSWERS = st.tuples(st.sampled_from([approve, reject, revoke]), st.sampled_from(["ada", "grace", "linus"]))


@given(st.lists(ANSWERS, max_size=12), st.integers(0, 2))
def test_whatever_is_answered_only_different_people_make_it_enough(answers: list[Any], needed: int) -> None:
    events: list[Event] = []
    agreed: set[str] = set()
    for decide, by in answers:
        reply = decide(waiting(*events, needed=needed), answer(by))
        assert reply.said
        if reply.event is None:
            continue
        events.append(reply.event)
        agreed = agreed | {by} if isinstance(reply.event, Approved) else set()
        again = decide(waiting(*events, needed=needed), answer(by))
        assert again.event is None or decide is revoke, "saying it again adds nothing"
    state = waiting(*events, needed=needed)
    assert {given.by for given in state.approvals} == (agreed if state.plan else set())
    if state.plan is not None and state.approved:
        assert len(agreed) >= state.approvals_needed >= needed
