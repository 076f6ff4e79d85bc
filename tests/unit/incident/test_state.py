"""The fold: what each event does to an incident, and the laws that hold for any log."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    AlertsReceived,
    Approved,
    Diagnosed,
    Escalated,
    Event,
    Healed,
    PlanDropped,
    PlanProposed,
    Postponed,
    Rejected,
    RolledBack,
    UndoStarted,
    VerificationStarted,
    Verified,
)
from kt.incident.state import State, fold
from remediate.plan import Plan, Step, Target
from verify.verdict import Verdict

T0 = datetime(2026, 1, 1, tzinfo=UTC)
CAUSE = Hypothesis(entity="Deployment/shop/cart", fault="Workload.BadRevision", probability=0.9)
PLAN = Plan(
    playbook="rollback",
    hypothesis=CAUSE,
    steps=(Step(action="rollback", target=Target(kind="Deployment", name="cart", namespace="shop")),),
    risk="medium",
    steady_state=(),
)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def signal(fingerprint: str = "f1", *, ended: bool = False, starts: float = 0) -> Signal:
    return Signal(
        fingerprint=fingerprint,
        entity="Service/shop/cart",
        symptom="errors",
        name="KtErrorRatioHigh",
        starts_at=at(starts),
        ends_at=at(starts + 60) if ended else None,
    )


def received(*signals: Signal, seconds: float = 0) -> AlertsReceived:
    return AlertsReceived(at=at(seconds), signals=signals or (signal(),), group_key="g")


def diagnosed(seconds: float = 1) -> Diagnosed:
    return Diagnosed(at=at(seconds), diagnosis=Diagnosis(hypotheses=(CAUSE,), causes=(0,)))


def proposed(needed: int = 1, plan: Plan = PLAN) -> PlanProposed:
    return PlanProposed(at=at(2), plan=plan, approvals_needed=needed, expires_at=at(602))


def approved(by: str = "ada", digest: str = PLAN.digest) -> Approved:
    return Approved(at=at(3), plan_digest=digest, by=by)


STARTED = ActionStarted(at=at(4), action_id="a1", plan_digest=PLAN.digest, step=0, fencing=1)
FINISHED = ActionFinished(at=at(5), action_id="a1", ok=True)


def after(*events: Event) -> State:
    return fold("i1", events)


def test_an_alert_opens_an_incident_that_is_due_for_diagnosis_at_once() -> None:
    state = after(received())
    assert (state.phase, state.next_step, state.due_at) == ("new", "diagnose", at(0))


def test_an_automatic_plan_is_due_at_once_and_counts_as_approved() -> None:
    state = after(received(), diagnosed(), proposed(needed=0))
    assert state.approved
    assert state.due_at == at(2)


def test_a_plan_that_waits_for_a_person_is_due_only_when_it_expires() -> None:
    state = after(received(), diagnosed(), proposed(needed=1))
    assert not state.approved
    assert state.due_at == at(602)


def test_two_approvers_must_be_two_different_people() -> None:
    twice = after(received(), diagnosed(), proposed(needed=2), approved("ada"), approved("ada"))
    two = after(received(), diagnosed(), proposed(needed=2), approved("ada"), approved("grace"))
    assert not twice.approved
    assert two.approved


def test_an_approval_of_another_plan_does_not_count() -> None:
    state = after(received(), diagnosed(), proposed(), approved(digest="0" * 64))
    assert not state.approved
    assert state.approvals == ()


def test_a_rejected_plan_is_not_tried_again_but_a_dropped_one_may_be() -> None:
    rejected = after(
        received(), diagnosed(), proposed(), Rejected(at=at(3), plan_digest=PLAN.digest, by="ada", why="no")
    )
    dropped = after(received(), diagnosed(), proposed(), PlanDropped(at=at(3), plan_digest=PLAN.digest, why="changed"))
    assert rejected.attempts == ((CAUSE.entity, CAUSE.fault, "rollback"),)
    assert dropped.attempts == ()
    assert rejected.phase == dropped.phase == "diagnosed"


def test_an_action_without_outcome_is_remembered_as_begun() -> None:
    state = after(received(), diagnosed(), proposed(0), STARTED)
    assert state.phase == "acting"
    assert state.actions[0].finished is None
    assert state.actions[0].undoable


def test_a_plan_of_two_steps_is_verified_only_after_both() -> None:
    plan = msgspec.structs.replace(PLAN, steps=PLAN.steps * 2)
    first = ActionStarted(at=at(4), action_id="a1", plan_digest=plan.digest, step=0, fencing=1)
    second = ActionStarted(at=at(6), action_id="a2", plan_digest=plan.digest, step=1, fencing=1)
    begun = (received(), diagnosed(), proposed(0, plan), first, FINISHED)
    assert after(*begun).phase == "acting"
    assert after(*begun, second, ActionFinished(at=at(7), action_id="a2", ok=True)).phase == "verifying"


def test_a_fix_that_did_not_hold_is_undone_and_not_tried_again() -> None:
    lost = Verified(at=at(20), verdict=Verdict(outcome="regressed", why="errors came back"))
    events = (received(), diagnosed(), proposed(0), STARTED, FINISHED, lost)
    assert after(*events).phase == "undoing"
    undone = after(
        *events,
        UndoStarted(at=at(21), action_id="a1", why="regressed"),
        RolledBack(at=at(22), action_id="a1", ok=True),
    )
    assert undone.phase == "diagnosed"
    assert undone.attempts == ((CAUSE.entity, CAUSE.fault, "rollback"),)
    assert undone.plan is None


@pytest.mark.parametrize("outcome", ["inconclusive", "aborted"])
def test_a_verdict_that_proves_nothing_neither_heals_nor_undoes(outcome: str) -> None:
    verdict = msgspec.convert({"outcome": outcome, "why": "?"}, Verdict)
    state = after(received(), diagnosed(), proposed(0), STARTED, FINISHED, Verified(at=at(20), verdict=verdict))
    assert state.phase == "verifying"


def test_a_resolved_alert_ends_its_symptom() -> None:
    state = after(received(), received(signal(ended=True), seconds=60))
    assert state.firing == ()


def test_a_late_copy_of_an_earlier_firing_does_not_revive_a_newer_symptom() -> None:
    state = after(received(signal(starts=100)), received(signal(starts=0, ended=True)))
    assert [seen.starts_at for seen in state.firing] == [at(100)]


def test_a_new_symptom_before_a_plan_asks_for_a_new_diagnosis() -> None:
    assert after(received(), diagnosed(), received(signal("f2"))).phase == "new"


def test_a_new_symptom_while_acting_does_not_stop_the_action() -> None:
    assert after(received(), diagnosed(), proposed(0), STARTED, received(signal("f2"))).phase == "acting"


def test_a_postponed_step_is_due_when_it_says() -> None:
    assert after(received(), Postponed(at=at(1), until=at(31), why="busy")).due_at == at(31)


@pytest.mark.parametrize("end", [Healed(at=at(9), why="held"), Escalated(at=at(9), why="no remedy")])
def test_an_ended_incident_is_never_due_again(end: Event) -> None:
    state = after(received(), end, received(signal("f2"), seconds=10))
    assert state.ended
    assert state.due_at is None
    assert state.next_step is None


def some_event() -> st.SearchStrategy[Event]:
    return st.sampled_from(
        [
            received(),
            received(signal("f2")),
            received(signal(ended=True)),
            diagnosed(),
            proposed(0),
            proposed(2),
            approved("ada"),
            approved("grace"),
            Rejected(at=at(3), plan_digest=PLAN.digest, by="ada", why="no"),
            PlanDropped(at=at(3), plan_digest=PLAN.digest, why="expired"),
            STARTED,
            FINISHED,
            ActionFinished(at=at(5), action_id="a1", ok=False),
            VerificationStarted(at=at(6), attempt=1, experiment={}),
            Verified(at=at(7), verdict=Verdict(outcome="held", why="")),
            Verified(at=at(7), verdict=Verdict(outcome="regressed", why="")),
            UndoStarted(at=at(8), action_id="a1", why=""),
            RolledBack(at=at(9), action_id="a1", ok=True),
            Postponed(at=at(9), until=at(19), why=""),
        ]
    )


@given(st.lists(some_event(), min_size=1, max_size=30))
def test_an_incident_that_has_not_ended_is_always_due_some_time(events: list[Event]) -> None:
    """Nothing is ever lost: whatever came in whatever order, the sweep will find it."""
    state = fold("i1", events)
    assert state.version == len(events)
    assert state.next_step is not None
    assert state.due_at is not None


@given(st.lists(some_event(), max_size=30))
def test_a_log_read_back_from_json_folds_to_the_same_state(events: list[Event]) -> None:
    again = [msgspec.json.decode(msgspec.json.encode(event), type=Event) for event in events]
    assert fold("i1", again) == fold("i1", events)


@given(st.lists(some_event(), max_size=30))
def test_a_symptom_that_was_seen_is_never_forgotten(events: list[Event]) -> None:
    seen = {one.fingerprint for event in events if isinstance(event, AlertsReceived) for one in event.signals}
    assert set(fold("i1", events).signals) == seen
