"""Taking a remedy back at a person's wish, on the twin: the state before, or a word on what differs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kt.incident.consent import Answer, approve, reject
from kt.incident.events import Approved, Healed, RolledBack, UndoAsked, UndoDropped, UndoStarted
from kt.incident.state import State
from kt.incident.undoing import ask
from kt.sections import Approval
from remediate.brakes import Stop
from remediate.cluster import Object
from tests.unit.pipeline.desk import CART, T0, Desk

DAYS = 3 * 86400.0


def healed(desk: Desk) -> Object:
    """An incident that was healed by more replicas, three days ago; the deployment as it was before."""
    before = cart(desk)
    desk.open()
    assert desk.visit().state.phase == "verifying"
    desk.say(Healed(at=T0, why="it held"))
    desk.runtime.ended(desk.journey().state)
    assert desk.replicas() == 4
    desk.clock.forward(DAYS)
    return before


def cart(desk: Desk) -> Object:
    found = desk.runtime.cluster.get("Deployment", "cart", "shop")
    assert found is not None
    return found


def wish(desk: Desk, by: str = "ada", *, needed: int = 0, others_only: bool = False) -> str:
    now = desk.clock()
    answer = Answer(by=by, at=now, where="desk", why="too many")
    reply = ask(
        desk.journey().state, answer, needed=needed, others_only=others_only, expires_at=now + timedelta(hours=1)
    )
    if reply.event is not None:
        desk.say(reply.event)
    return reply.said


def dropped(desk: Desk) -> UndoDropped:
    (found,) = desk.events(UndoDropped)
    assert isinstance(found, UndoDropped)
    return found


def test_it_brings_back_the_state_before_also_days_later(desk: Desk) -> None:
    before = healed(desk)
    wish(desk)
    state = desk.visit().state
    assert (state.phase, state.ended_why) == ("undone", "ada took it back: too many")
    assert cart(desk)["spec"] == before["spec"]
    assert [each.outcome for each in desk.runtime.brakes.since(T0)] == ["taken back", ""]
    (asked,) = desk.events(UndoAsked)
    assert (asked.by, asked.where, asked.why) == ("ada", "desk", "too many")


def test_asking_again_changes_nothing(desk: Desk) -> None:
    healed(desk)
    wish(desk)
    assert "asked for it already" in wish(desk, by="grace")
    desk.visit()
    version = desk.journey().state.version
    assert "taken back already" in wish(desk)
    assert desk.visit().state.version == version


def test_what_somebody_changed_since_is_told_field_by_field_and_nothing_is_touched(desk: Desk) -> None:
    healed(desk)
    desk.edit({"spec": {"replicas": 7}})
    wish(desk)
    assert desk.visit().state.phase == "healed", "what it was before anybody asked"
    (difference,) = dropped(desk).differences
    assert (difference.target, difference.field) == ("Deployment shop/cart", "/spec/replicas")
    assert (difference.left, difference.now) == (4, 7)
    assert desk.replicas() == 7


def test_a_target_that_was_only_looked_at_is_free_again(desk: Desk) -> None:
    healed(desk)
    desk.edit({"spec": {"replicas": 7}})
    target = desk.journey().state.actions[0].plan.steps[0].target
    for _ in range(2):
        wish(desk)
        desk.visit()
        assert desk.runtime.leases.held_by(target.lease) is None


def test_fields_deep_in_a_pod_template_are_named(desk: Desk) -> None:
    desk.twin.inject("bad-rollout")
    desk.open(fault="Workload.BadRevision")
    assert desk.visit().state.phase == "verifying"
    desk.say(Healed(at=T0, why="it held"))
    desk.edit({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 77}}}})
    wish(desk)
    desk.visit()
    assert [each.field for each in dropped(desk).differences] == ["/spec/template/spec/terminationGracePeriodSeconds"]


def test_a_target_that_is_gone_or_that_kt_acted_on_since_is_left(desk: Desk) -> None:
    healed(desk)
    desk.edit({"metadata": {"annotations": {"kt.io/action": "another"}}})
    wish(desk)
    desk.visit()
    assert [each.field for each in dropped(desk).differences] == ["/metadata/annotations/kt.io~1action"]
    there = cart(desk)
    with desk.twin.cluster.lock:
        desk.twin.cluster.store.remove("Deployment", there)
    wish(desk)
    desk.visit()
    assert desk.events(UndoDropped)[-1].differences[0].field == "/metadata/uid"


class TestInterrupted:
    def begun(self, desk: Desk) -> str:
        """The intent is in the log; the process was killed before anything else."""
        healed(desk)
        wish(desk)
        action = desk.journey().state.actions[0].id
        desk.say(UndoStarted(at=desk.clock(), action_id=action, why="ada takes it back"))
        return action

    def test_between_intent_and_effect_it_is_done_by_the_next_worker(self, desk: Desk) -> None:
        self.begun(desk)
        assert desk.visit().state.phase == "undone"
        assert desk.replicas() == 2

    def test_between_effect_and_record_it_is_found_done_and_not_done_twice(self, desk: Desk) -> None:
        action = self.begun(desk)
        plan = desk.journey().state.actions[0].plan
        assert desk.runtime.remediator.undo(plan, 0, action, {}).ok
        version = cart(desk)["metadata"]["generation"]
        assert desk.visit().state.phase == "undone"
        assert cart(desk)["metadata"]["generation"] == version
        assert desk.events(RolledBack)[-1].detail == "found undone after an interruption"

    def test_what_somebody_changes_at_the_last_moment_stays(self, desk: Desk) -> None:
        self.begun(desk)
        desk.edit({"spec": {"replicas": 9}})
        assert desk.visit().state.phase == "healed"
        assert desk.replicas() == 9
        assert "Nothing was touched" in dropped(desk).why
        assert "asked for" in wish(desk).lower(), "it can be asked for again"


class TestGuarded:
    def test_it_waits_while_kt_is_stopped(self, desk: Desk) -> None:
        healed(desk)
        desk.runtime.brakes.stop(Stop(at=T0, by="grace"))
        wish(desk)
        desk.visit()
        assert desk.replicas() == 4
        desk.runtime.brakes.resume()
        assert desk.visit().state.phase == "undone"

    def test_a_namespace_that_is_not_opted_in_any_more_is_left_alone(self, desk: Desk) -> None:
        healed(desk)
        with desk.twin.cluster.lock:
            space = desk.twin.cluster.store
            space.edit("Namespace", "shop", "", lambda draft: draft["metadata"].update({"labels": {}}))
        wish(desk)
        assert desk.visit().state.phase == "healed"
        assert "not opted in" in dropped(desk).why
        assert desk.replicas() == 4

    def test_while_another_incident_holds_the_target_it_waits(self, desk: Desk) -> None:
        healed(desk)
        desk.open(incident="other")
        assert desk.visit("other").state.phase == "verifying"
        wish(desk)
        state = desk.visit().state
        assert state.undo is not None
        assert desk.replicas() == 7

    def test_its_own_action_starts_no_cooldown(self, desk: Desk) -> None:
        desk.open()
        desk.visit()
        wish(desk)
        assert desk.visit().state.phase == "undone"


class TestConsent:
    def agree(self, desk: Desk, by: str) -> str:
        reply = approve(desk.journey().state, Answer(by=by, at=desk.clock()))
        if reply.event is not None:
            desk.say(reply.event)
        return reply.said

    def test_where_policy_says_so_somebody_else_has_to_agree(self, desk: Desk) -> None:
        healed(desk)
        wish(desk, needed=1, others_only=True)
        assert desk.visit().state.undo is not None
        assert desk.replicas() == 4
        assert self.agree(desk, "ada") == "ada has asked for it; somebody else has to agree."
        assert self.agree(desk, "grace").startswith("Agreed to: taking back: scale")
        assert desk.visit().state.phase == "undone"
        assert [each.by for each in desk.events(Approved)] == ["grace"]

    def test_no_or_no_answer_leaves_everything_as_it_was(self, desk: Desk) -> None:
        healed(desk)
        wish(desk, needed=1)
        reply = reject(desk.journey().state, Answer(by="grace", at=desk.clock(), why="it is needed"))
        assert reply.event is not None
        desk.say(reply.event)
        assert self.state(desk).phase == "healed"
        wish(desk, needed=1)
        desk.clock.forward(3601)
        assert desk.visit().state.phase == "healed"
        assert "Nobody decided" in dropped(desk).why
        assert desk.replicas() == 4

    def test_an_approval_of_the_plan_is_none_of_its_undo(self, desk: Desk) -> None:
        desk.approval = Approval(low=1)
        desk.open()
        plan = desk.visit().state.plan
        assert plan is not None
        desk.say(Approved(at=T0, plan_digest=plan.digest, by="grace"))
        desk.visit()
        desk.say(Healed(at=T0, why="it held"))
        wish(desk, needed=1)
        assert not self.state(desk).approved
        desk.say(Approved(at=T0, plan_digest=plan.digest, by="grace"))
        assert not self.state(desk).approved

    def state(self, desk: Desk) -> State:
        return desk.journey().state


def test_nothing_to_go_back_to_is_told(desk: Desk) -> None:
    desk.open(fault="Workload.Stuck")
    state = desk.visit().state
    assert state.plan is not None, state.ended_why
    assert [step.action for step in state.plan.steps] == ["restart"]
    desk.say(Healed(at=T0, why="it held"))
    wish(desk)
    assert desk.visit().state.phase == "healed"
    assert dropped(desk).why == "Nothing to go back to: a restart leaves nothing to go back to."


def test_while_it_is_under_way_one_has_to_wait(desk: Desk) -> None:
    desk.approval = Approval(low=1)
    desk.open()
    desk.visit()
    assert "Nothing was done" in wish(desk)
    assert desk.journey().state.actions == ()
    assert CART in (desk.journey().state.plan or pytest.fail("no plan")).blast_radius
