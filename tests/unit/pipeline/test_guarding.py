"""The guard in the loop, on the twin: circuit breaker, tiers, rate, and a policy that changes while KT runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from graph_schema.model import Hypothesis
from kt.incident.events import ActionFinished, Approved, Healed, PlanDropped, Postponed, Verified
from kt.pipeline.targets import reserve
from kt.policy import policy_of
from kt.runtime import Runtime
from kt.sections import Approval, Kubernetes
from kt.stores.places import open_leases
from remediate.brakes import OutcomeOf, Spent
from remediate.cluster import ClusterError
from remediate.latency import Latency
from remediate.plan import Plan, Target
from tests.unit.pipeline.desk import CART, T0, Desk
from tests.unit.remediate.sockets import listening
from verify.verdict import Verdict


def account(desk: Desk, *outcomes: OutcomeOf, seconds_ago: float = 600) -> None:
    """So many actions on other targets were begun before, and came to this."""
    for number, outcome in enumerate(outcomes):
        at = desk.clock() - timedelta(seconds=seconds_ago - number)
        name = f"{outcome}{number}{at.timestamp()}"
        spent = Spent(action=name, at=at, target=f"Deployment/x/{name}", namespace="x", playbook="restart")
        desk.runtime.brakes.spend(spent, at, lambda before: "")
        desk.runtime.brakes.conclude(name, outcome)


class TestBreaker:
    def test_it_opens_proposes_only_and_is_kept_for_all_processes(self, desk: Desk) -> None:
        account(desk, "failed", "ineffective", "failed")
        desk.open()
        state = desk.visit().state
        assert state.phase == "escalated"
        assert state.plan is not None
        assert "failed or did not help in a row" in state.ended_why
        assert desk.replicas() == 2
        trip = desk.runtime.brakes.tripped()
        assert trip is not None
        assert trip.until == T0 + timedelta(seconds=1800)
        desk.clock.forward(1801)
        desk.open(incident="later")
        assert desk.visit("later").state.phase == "verifying"

    def test_an_action_that_the_cluster_does_not_do_counts_as_failed(self, desk: Desk) -> None:
        desk.guard["breaker_failures"] = 1
        desk.open()
        patch = desk.runtime.cluster.patch

        def refused(*where: object, dry: bool = False, **how: object) -> object:
            if dry:
                return patch(*where, dry=dry, **how)  # type: ignore[arg-type]
            raise ClusterError("PATCH: deployments is forbidden", 403)

        desk.runtime.cluster.patch = refused  # type: ignore[method-assign, assignment]
        desk.visit()
        assert [each.ok for each in desk.events(ActionFinished)] == [False]
        assert [each.outcome for each in desk.runtime.brakes.since(T0)] == ["failed"]
        assert desk.runtime.brakes.tripped() is not None

    def test_a_target_that_changed_meanwhile_is_no_failure(self, desk: Desk) -> None:
        desk.guard["breaker_failures"] = 1
        desk.approval = Approval(low=1)
        desk.open()
        plan = desk.visit().state.plan
        assert plan is not None
        assert desk.runtime.remediator.current(plan) is None
        desk.edit({"spec": {"replicas": 3}})
        assert desk.runtime.remediator.apply(plan, 0, "a", 1).stood_back

    def test_what_did_not_help_opens_it(self, desk: Desk) -> None:
        desk.guard["breaker_failures"] = 1
        desk.open()
        desk.visit()
        desk.say(Verified(at=T0, verdict=Verdict(outcome="regressed", why="slow again")))
        desk.visit()
        assert desk.runtime.brakes.tripped() is not None
        assert desk.replicas() == 2, "going back is never held"


class TestTiers:
    def label(self, desk: Desk, tier: str) -> None:
        desk.edit({"metadata": {"labels": {"kt.io/tier": tier}}})

    def test_tier_0_waits_for_somebody_though_its_risk_asks_nobody(self, desk: Desk) -> None:
        self.label(desk, "0")
        desk.open()
        state = desk.visit().state
        assert (state.phase, state.approvals_needed, desk.replicas()) == ("awaiting approval", 1, 2)
        assert state.plan is not None
        assert state.plan.ask == f"{CART} is of tier 0, so somebody has to agree"
        desk.say(Approved(at=T0, plan_digest=state.plan.digest, by="ada"))
        assert desk.visit().state.phase == "verifying"

    def test_a_tier_that_comes_after_the_plan_counts_too(self, desk: Desk) -> None:
        desk.open()
        cause = Hypothesis(entity=CART, fault="Workload.Overload", probability=0.9)
        plan = desk.runtime.remediator.propose([cause], tried=frozenset())
        assert isinstance(plan, Plan)
        self.label(desk, "0")
        refusal = desk.runtime.remediator.current(plan)
        assert refusal is not None
        assert "tier 0" in refusal.why

    def test_the_tier_of_a_namespace_and_of_pods_on_a_drained_node_count(self, desk: Desk) -> None:
        desk.open("Node/kt-node-1", "Node.MemoryPressure")
        with desk.twin.cluster.lock:
            desk.twin.cluster.store.edit(
                "Namespace", "shop", "", lambda draft: draft["metadata"]["labels"].update({"kt.io/tier": "0"})
            )
        state = desk.visit().state
        assert (state.phase, state.approvals_needed) == ("awaiting approval", 1)

    def test_other_tiers_ask_nobody(self, desk: Desk) -> None:
        self.label(desk, "1")
        desk.open()
        assert desk.visit().state.phase == "verifying"


def test_more_actions_than_a_minute_allows_wait_their_turn(desk: Desk) -> None:
    desk.guard["max_actions_per_minute"] = 1
    desk.approval = Approval(low=1)
    desk.open()
    plan = desk.visit().state.plan
    assert plan is not None
    account(desk, "held", seconds_ago=30)
    desk.say(Approved(at=T0, plan_digest=plan.digest, by="ada"))
    over, soon = desk.runtime.remediator.guard.spend("a", "scale-out", plan.steps[0])
    assert (soon, "in the last minute" in over) == (True, True)
    assert desk.visit().state.phase == "awaiting approval"
    assert desk.runtime.leases.held_by(plan.steps[0].target.lease) is None, "what waits holds nothing"
    desk.clock.forward(31)
    assert desk.visit().state.phase == "verifying", "and the consent to it stands"
    assert "in the last minute" in desk.events(Postponed)[0].why


class TestPolicy:
    def test_a_plan_is_bound_to_the_policy_it_was_made_under(self, desk: Desk) -> None:
        desk.approval = Approval(low=1)
        desk.open()
        plan = desk.visit().state.plan
        assert plan is not None
        before = desk.runtime.policy()
        assert plan.policy == before.version
        settings = msgspec.structs.replace(
            desk.runtime.settings, guard=msgspec.structs.replace(before.guard, max_replicas=3)
        )
        desk.runtime.policy = lambda: policy_of(settings)
        desk.say(Approved(at=T0, plan_digest=plan.digest, by="ada"))
        desk.visit()
        (dropped,) = desk.events(PlanDropped)
        assert "the policy is another one now" in dropped.why
        again = desk.visit().state.plan
        assert again is not None
        assert (again.policy, again.steps[0].parameters["to"]) == (policy_of(settings).version, 3)

    def test_the_guard_is_switched_off_without_a_restart(self, desk: Desk) -> None:
        off = msgspec.structs.replace(
            desk.runtime.settings, guard=msgspec.structs.replace(desk.runtime.settings.guard, enabled=False)
        )
        desk.runtime.policy = lambda: policy_of(off)
        desk.open()
        assert desk.visit().state.phase == "escalated"
        assert desk.replicas() == 2


class TestReservation:
    def test_what_an_incident_that_has_ended_did_not_give_back_is_taken_from_it(self, desk: Desk) -> None:
        """Its worker was killed between the end and the giving back."""
        desk.guard |= {"cooldown_s": 0.0}
        desk.open()
        desk.visit()
        desk.open(incident="other")
        assert "Another incident acts on" in str(desk.visit("other").records[-1].event)
        desk.say(Healed(at=T0, why="it held"))
        desk.clock.forward(6)
        assert desk.visit("other").state.phase == "verifying"

    def test_an_open_incident_keeps_its_target_however_long_nobody_comes(self, desk: Desk) -> None:
        desk.guard |= {"cooldown_s": 0.0}
        desk.open()
        target = desk.visit().state.actions[0].plan.steps[0].target
        day = datetime.now(UTC) + timedelta(days=1)
        desk.runtime.leases = open_leases(desk.runtime.settings, lambda: day)
        assert reserve(desk.runtime, "other", [target.lease]) is None
        assert reserve(desk.runtime, "i", [target.lease]) is not None

    def test_a_pod_is_not_acted_on_while_another_incident_has_its_workload(self, desk: Desk) -> None:
        pod = next(
            each["metadata"]["name"]
            for each in desk.runtime.cluster.list("Pod", "shop")
            if each["metadata"]["name"].startswith("cart-")
        )
        cause = Hypothesis(entity=f"Pod/shop/{pod}", fault="Pod.CrashLoop", probability=0.9)
        plan = desk.runtime.remediator.propose([cause], tried=frozenset())
        assert isinstance(plan, Plan), plan
        desk.open()
        workload = Target(kind="Deployment", name="cart", namespace="shop")
        tokens = reserve(desk.runtime, "i", [workload.lease])
        assert tokens is not None
        assert reserve(desk.runtime, "other", plan.leases) is None
        desk.runtime.leases.release_all(tokens, "i")
        assert reserve(desk.runtime, "i", plan.leases) is not None
        assert reserve(desk.runtime, "other", [workload.lease]) is None


class TestSilence:
    """The API server takes connections and never answers."""

    def test_a_few_calls_that_hang_open_the_breaker(self, desk: Desk, tmp_path: Path) -> None:
        """At ten seconds each there are never eight of them in a minute."""
        with listening() as silent:
            desk.kubernetes = Kubernetes(kubeconfig=silent.kubeconfig(tmp_path), timeout_s=0.2)
            desk.guard["max_api_latency_s"] = 0.1
            desk.runtime.cluster.latency = Latency(lambda: 0.0, span_s=1.5)
            desk.open()
            for _ in range(3):
                assert desk.runtime.brakes.tripped() is None
                desk.visit()
                desk.clock.forward(6)
            desk.visit()
        trip = desk.runtime.brakes.tripped()
        assert trip is not None
        assert "the API server takes" in trip.why

    def test_the_incident_says_so_and_waits(self, desk: Desk, tmp_path: Path) -> None:
        with listening() as silent:
            desk.kubernetes = Kubernetes(kubeconfig=silent.kubeconfig(tmp_path), timeout_s=0.2)
            desk.open()
            assert desk.visit().state.phase == "diagnosed"
            (waits,) = desk.events(Postponed)
            assert "did not answer within 0.2 s" in waits.why
            assert silent.connections == 1, "one playbook was tried, and that once"

    def test_a_write_that_was_not_answered_is_looked_for_before_it_is_done_again(
        self, desk: Desk, tmp_path: Path
    ) -> None:
        desk.open()
        well = desk.runtime.cluster
        with listening() as silent:
            kubernetes = Kubernetes(kubeconfig=silent.kubeconfig(tmp_path), timeout_s=0.2)
            dumb = Runtime(msgspec.structs.replace(desk.runtime.settings, kubernetes=kubernetes)).cluster
            patch = well.patch

            def swallowed(*where: Any, dry: bool = False, **how: Any) -> Any:
                """It arrives and is done, and the answer is lost."""
                done = patch(*where, dry=dry, **how)
                return done if dry else dumb.patch(*where, **how)

            well.patch = swallowed  # type: ignore[method-assign]
            assert desk.visit().state.phase == "acting"
            assert "did not answer within 0.2 s" in desk.events(Postponed)[0].why
            assert silent.connections == 1
        del well.patch
        desk.clock.forward(60)
        state = desk.visit().state
        assert state.phase == "verifying"
        (finished,) = desk.events(ActionFinished)
        assert (finished.ok, finished.detail) == (True, "found done after an interruption")
        assert state.plan is not None
        assert desk.replicas() == state.plan.steps[0].parameters["to"]
