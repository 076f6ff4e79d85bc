"""The remediate stage on the twin: it looks again, asks, counts, holds and goes back; lessons of similar systems."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from graph_schema.model import Change, Entity, Hypothesis, Signal
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    AlertsReceived,
    Approved,
    Diagnosed,
    Escalated,
    Healed,
    PlanDropped,
    PlanProposed,
    Postponed,
    RolledBack,
    Verified,
)
from kt.pipeline.journey import Journey
from kt.pipeline.targets import reserve
from kt.runtime import Runtime
from kt.sections import Approval
from remediate.actions.pods import serving
from remediate.brakes import Stop
from remediate.cluster import ClusterError, Object
from remediate.limits import Window
from remediate.plan import Plan
from remediate.remediator import Refusal
from remediate.trials import Trial
from tests.unit.pipeline.desk import CART, T0, Desk, wait
from verify.verdict import Verdict


def test_a_place_without_a_fault_of_the_catalogue_is_told_and_left_alone(desk: Desk) -> None:
    where = Hypothesis(entity=CART, fault="Entity.Errors", probability=0.9)
    answer = desk.runtime.remediator.propose([where], tried=frozenset())
    assert isinstance(answer, Refusal)
    assert "no safe action is known for Entity.Errors of Deployment/shop/cart" in answer.why


def test_where_it_is_known_and_not_what_more_evidence_is_waited_for(desk: Desk) -> None:
    """The next alerts often tell, a few seconds later; a person who is called at once can do no more than wait, too."""
    desk.open(CART, "Entity.Errors")
    assert desk.visit().state.phase == "diagnosed"
    assert not desk.events(Escalated)
    (waits,) = desk.events(Postponed)
    assert waits.why == "No cause is likely enough to act on yet."


def test_a_plan_carries_what_is_to_be_expected_of_it(desk: Desk) -> None:
    desk.open()
    desk.visit()
    (proposed,) = desk.events(PlanProposed)
    assert proposed.plan.forecast[0] == "helps in about 30 s with 80%; it was never tried for this fault"
    assert proposed.plan.forecast[1].startswith("all 2 new pods fit")


def trials(count: int, *, helped: bool, playbook: str = "scale-out") -> list[Trial]:
    return [
        Trial(
            id=f"{playbook}{number}", at=T0, playbook=playbook, fault="Workload.Overload", target=CART, helped=helped,
            effect_s=44.0 if helped else None,
        )
        for number in range(count)
    ]  # fmt: skip


def test_what_has_rarely_helped_is_asked_for_though_its_risk_is_low(desk: Desk) -> None:
    desk.runtime.trials.note(trials(8, helped=False))
    desk.open()
    assert desk.visit().state.phase == "awaiting approval"
    assert desk.events(PlanProposed)[0].approvals_needed == 1
    assert "helped 0 of 8 times (0% to 32%), here 0 of 8" in desk.events(PlanProposed)[0].plan.forecast[0]


def test_a_remedy_that_did_not_help_is_learned_from_once(desk: Desk) -> None:
    desk.open()
    desk.visit()
    desk.say(Verified(at=desk.clock.now, verdict=Verdict(outcome="regressed", why="still slow")))
    for _ in range(2):
        desk.visit()
    (one,) = desk.runtime.trials.of()
    assert (one.playbook, one.fault, one.target, one.helped) == ("scale-out", "Workload.Overload", CART, False)


def a_revision_that_fails(desk: Desk) -> None:
    """What points at a bad rollout of the cart: a rollout just before, and errors besides the latency."""
    cart = Entity(id=CART, kind="Deployment", name="cart", namespace="shop")
    desk.runtime.graph.upsert([cart], at=T0)
    desk.runtime.graph.record_changes(
        [Change(entity=CART, at=T0 - timedelta(seconds=20), kind="rollout", detail="image v1 → v2")]
    )
    failing = Signal(fingerprint="e", entity=CART, symptom="errors", name="Errors", starts_at=T0)
    desk.say(AlertsReceived(at=T0, signals=(failing,)))


def test_what_did_not_help_for_the_cause_that_was_named_has_the_cause_looked_for_anew(desk: Desk) -> None:
    desk.open()
    desk.visit()
    a_revision_that_fails(desk)
    desk.say(Verified(at=desk.clock.now, verdict=Verdict(outcome="regressed", why="still slow")))
    desk.visit()
    first, second = (next(each.diagnosis.selected()) for each in desk.events(Diagnosed))
    assert (first.fault, second.fault) == ("Workload.Overload", "Workload.BadRevision")
    assert desk.replicas() == 2


def test_where_it_still_looks_the_same_a_person_is_told_what_was_tried(desk: Desk) -> None:
    desk.open()
    desk.visit()
    desk.say(Verified(at=desk.clock.now, verdict=Verdict(outcome="regressed", why="still slow")))
    state = desk.visit().state
    assert len(desk.events(Diagnosed)) == 1
    assert state.phase == "escalated"
    assert "scale-out of Deployment/shop/cart was tried and did not help" in state.ended_why


def test_what_would_fit_nowhere_is_not_proposed(desk: Desk) -> None:
    for node in desk.runtime.cluster.list("Node"):
        desk.runtime.cluster.patch("Node", node["metadata"]["name"], "", {"spec": {"unschedulable": True}})
    cause = Hypothesis(entity=CART, fault="Workload.Overload", probability=0.9)
    answer = desk.runtime.remediator.propose([cause], tried=frozenset())
    assert isinstance(answer, Refusal)
    assert "it would not help: 0 of 2 new pods fit: 3 of the nodes: closed to new pods" in answer.why


def test_a_plan_of_low_risk_is_carried_out_at_once(desk: Desk) -> None:
    desk.open()
    assert desk.visit().state.phase == "verifying"
    assert desk.replicas() == 4


class TestLookingAgain:
    def test_lesson_act_only_on_what_is_firing_now(self, desk: Desk) -> None:
        """robusta 345: resolved while the plan waited, so nothing is done."""
        desk.approval = Approval(low=1)
        desk.open()
        plan = desk.visit().state.plan
        assert plan is not None
        (received,) = desk.events(AlertsReceived)
        ended = msgspec.structs.replace(received.signals[0], ends_at=T0)
        desk.say(Approved(at=T0, plan_digest=plan.digest, by="ada"), AlertsReceived(at=T0, signals=(ended,)))
        desk.visit()
        assert desk.visit().state.phase == "healed"
        assert len(desk.events(PlanDropped)) == 1
        assert desk.replicas() == 2

    def test_lesson_the_monitoring_is_asked_though_no_message_came_yet(self, desk: Desk) -> None:
        desk.seen.fires = False
        desk.open()
        for _ in range(3):
            assert desk.visit().state.phase == "awaiting approval"
        assert len(desk.events(Postponed)) == 1, "told once, not at each look"
        assert desk.replicas() == 2
        desk.seen.fires = True
        assert desk.visit().state.phase == "verifying"

    def test_a_target_that_somebody_changed_is_planned_anew(self, desk: Desk) -> None:
        desk.approval = Approval(low=1)
        desk.open()
        plan = desk.visit().state.plan
        assert plan is not None
        desk.edit({"spec": {"replicas": 3}})
        desk.say(Approved(at=T0, plan_digest=plan.digest, by="ada"))
        desk.visit()
        assert len(desk.events(PlanDropped)) == 1
        state = desk.visit().state
        assert (state.phase, state.approvals, desk.replicas()) == ("awaiting approval", (), 3)
        assert state.plan is not None
        assert state.plan.digest != plan.digest


class TestStopping:
    STOP = Stop(at=T0, by="ada", why="migration")

    def test_nothing_begins_while_it_is_stopped_and_the_plan_is_there_after(self, desk: Desk) -> None:
        desk.open()
        desk.runtime.brakes.stop(self.STOP)
        state = desk.visit().state
        assert desk.replicas() == 2
        assert state.actions == ()
        desk.runtime.brakes.resume()
        desk.clock.forward(6)
        assert desk.visit().state.phase == "verifying"

    def test_an_intent_that_was_logged_has_no_effect_while_it_is_stopped(self, desk: Desk) -> None:
        desk.approval = Approval(low=1)
        desk.open()
        plan = desk.visit().state.plan
        assert plan is not None
        begun = ActionStarted(at=T0, action_id="a", plan_digest=plan.digest, step=0, fencing=1)
        desk.say(Approved(at=T0, plan_digest=plan.digest, by="ada"), begun)
        desk.runtime.brakes.stop(self.STOP)
        for _ in range(3):
            assert desk.visit().state.phase == "acting"
        assert [each.why for each in desk.events(Postponed)] == ["ada has stopped KT: migration"]
        assert desk.replicas() == 2
        desk.runtime.brakes.resume()
        assert desk.visit().state.phase == "verifying"
        assert desk.replicas() == 4

    def test_nor_is_anything_undone(self, desk: Desk) -> None:
        desk.open()
        desk.visit()
        desk.say(Verified(at=T0, verdict=Verdict(outcome="regressed", why="slow again")))
        desk.runtime.brakes.stop(self.STOP)
        desk.visit()
        assert desk.replicas() == 4
        desk.runtime.brakes.resume()
        desk.visit()
        assert desk.replicas() == 2

    def test_another_process_sees_it_at_its_next_look(self, desk: Desk, tmp_path: Path) -> None:
        desk.open()
        other = Runtime(desk.runtime.settings, desk.clock)
        other.brakes.stop(self.STOP)
        other.close()
        desk.visit()
        assert desk.replicas() == 2


class TestUnreachable:
    """An API server that does not answer leaves open what was done: KT looks again instead of guessing."""

    def away(self, desk: Desk) -> Callable[[], None]:
        answers = desk.runtime.cluster._ask

        def silent(*_: Any, **__: Any) -> Object:
            raise ClusterError("no answer")

        desk.runtime.cluster._ask = silent  # type: ignore[method-assign]

        def back() -> None:
            desk.runtime.cluster._ask = answers  # type: ignore[method-assign]

        return back

    def test_an_effect_that_cannot_be_looked_at_is_neither_done_nor_failed(self, desk: Desk) -> None:
        desk.approval = Approval(low=1)
        desk.open()
        plan = desk.visit().state.plan
        assert plan is not None
        tokens = reserve(desk.runtime, "i", plan.leases)
        assert tokens is not None
        (token,) = tokens.values()
        begun = ActionStarted(at=T0, action_id="a", plan_digest=plan.digest, step=0, fencing=token)
        desk.say(Approved(at=T0, plan_digest=plan.digest, by="ada"), begun)
        assert desk.runtime.remediator.apply(plan, 0, "a", token).ok, "done, and killed before it was written down"
        back = self.away(desk)
        assert desk.visit().state.phase == "acting"
        assert desk.events(ActionFinished) == []
        back()
        desk.clock.forward(6)
        assert desk.visit().state.phase == "verifying"
        assert desk.replicas() == 4

    def test_an_undo_is_asked_for_again_and_in_the_end_a_person_is_told(self, desk: Desk) -> None:
        desk.open()
        desk.visit()
        desk.say(Verified(at=T0, verdict=Verdict(outcome="regressed", why="slow again")))
        self.away(desk)
        assert desk.visit().state.phase == "undoing"
        desk.clock.forward(200)
        state = desk.visit().state
        assert state.phase == "escalated"
        assert "a person has to look" in state.ended_why


class TestLoops:
    def fail(self, desk: Desk, incident: str) -> Journey:
        desk.visit(incident)
        desk.say(Verified(at=desk.clock.now, verdict=Verdict(outcome="regressed", why="slow")), incident=incident)
        return desk.visit(incident)

    def test_lesson_loops_a_fix_that_did_not_help_is_not_tried_again_by_the_next_incident(self, desk: Desk) -> None:
        """kubernaut 214, 616: it ends with a person, not with another round."""
        desk.guard |= {"cooldown_s": 1.0, "max_ineffective": 1}
        desk.open(incident="one")
        self.fail(desk, "one")
        desk.clock.forward(3000)
        desk.open(incident="two")
        state = desk.visit("two").state
        assert state.phase == "escalated"
        assert "scale-out did not help Deployment/shop/cart 1 times in a day" in state.ended_why
        assert desk.replicas() == 2

    def test_lesson_attempts_per_target_are_capped_over_incidents(self, desk: Desk) -> None:
        """NVSentinel 1543."""
        desk.guard |= {"cooldown_s": 0.0, "max_actions_per_hour_per_target": 2}
        for number in range(3):
            desk.open(incident=f"i{number}")
            state = desk.visit(f"i{number}").state
            if not state.ended:
                desk.say(Healed(at=desk.clock.now, why="held"), incident=f"i{number}")
                desk.runtime.ended(state)
            desk.clock.forward(60)
        assert desk.journey("i2").state.phase == "escalated"
        assert "2 times in an hour on Deployment/shop/cart" in desk.journey("i2").state.ended_why
        assert len(desk.runtime.brakes.since(T0)) == 2

    def test_what_was_undone_counts_as_ineffective(self, desk: Desk) -> None:
        desk.open()
        self.fail(desk, "i")
        assert [each.outcome for each in desk.runtime.brakes.since(T0)] == ["ineffective"]
        assert len(desk.events(RolledBack)) == 1


class TestProposing:
    def test_lesson_gitops_will_undo_what_it_owns_so_it_is_proposed(self, desk: Desk) -> None:
        """argo-cd 9570."""
        desk.edit({"metadata": {"labels": {"argocd.argoproj.io/instance": "shop"}}})
        desk.open()
        state = desk.visit().state
        assert state.phase == "escalated"
        assert state.plan is not None, "the plan is there for the person to read"
        assert "Argo CD (shop)" in state.ended_why
        assert desk.replicas() == 2

    def test_in_a_freeze_it_is_proposed(self, desk: Desk) -> None:
        freeze = Window(start=T0 - timedelta(hours=1), end=T0 + timedelta(hours=1), why="sale")
        desk.guard["freezes"] = [msgspec.to_builtins(freeze)]
        desk.open()
        assert "sale" in desk.visit().state.ended_why
        assert desk.replicas() == 2

    def test_in_shadow_mode_everything_happens_but_the_effect(self, desk: Desk) -> None:
        desk.guard["enabled"] = False
        desk.open()
        state = desk.visit().state
        assert (state.phase, state.plan is not None, state.actions) == ("escalated", True, ())
        assert desk.replicas() == 2

    def test_lesson_replicas_belong_to_the_autoscaler_so_its_maximum_is_raised(self, desk: Desk) -> None:
        """kubernetes 25238."""
        scaler = {
            "metadata": {"name": "cart", "namespace": "shop"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "cart"}, "maxReplicas": 2},
            "status": {"desiredReplicas": 2},
        }
        with desk.twin.cluster.lock:
            desk.twin.cluster.store.create("HorizontalPodAutoscaler", scaler)
        desk.open()
        assert desk.visit().state.phase == "verifying"
        found = desk.runtime.cluster.get("HorizontalPodAutoscaler", "cart", "shop")
        assert found is not None
        assert found["spec"]["maxReplicas"] == 4
        assert desk.replicas() == 2


@pytest.mark.parametrize("playbook", ["quarantine", "resize-pod"])
def test_a_pod_that_a_replica_set_made_is_changed_by_kt_itself(desk: Desk, playbook: str) -> None:
    """What makes pods does not undo what is changed of one, unlike an operator that declares it."""
    amounts = {"requests": {"cpu": "50m"}, "limits": {"cpu": "100m"}}
    container = {"name": "cart", "image": "shop:v1", "resources": amounts}
    desk.edit({"spec": {"template": {"spec": {"containers": [container]}}}})

    def rolled() -> list[Object]:
        pods = desk.runtime.cluster.list("Pod", "shop", labels="app=cart")
        return [pod for pod in pods if pod["spec"]["containers"][0].get("resources") and serving(pod)]

    wait(lambda: len(rolled()) == 2)
    name = rolled()[0]["metadata"]["name"]
    fault = {"quarantine": "Pod.Stuck", "resize-pod": "Pod.OOMKilled"}[playbook]
    cause = Hypothesis(entity=f"Pod/shop/{name}", fault=fault, probability=0.9)
    others = {(cause.entity, fault, each) for each in desk.runtime.catalogue.faults[fault].remedies if each != playbook}
    plan = desk.runtime.remediator.propose([cause], tried=frozenset(others))
    assert isinstance(plan, Plan), plan.why
    assert (plan.playbook, plan.propose_only) == (playbook, "")
    assert desk.runtime.remediator.apply(plan, 0, "a", 1).ok
    pod = desk.runtime.cluster.get("Pod", name, "shop")
    assert pod is not None
    if playbook == "quarantine":
        assert "app" not in pod["metadata"]["labels"]
        wait(lambda: len(rolled()) == 2)
    else:
        assert pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "150m"
