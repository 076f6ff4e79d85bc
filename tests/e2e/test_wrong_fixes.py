"""Fixes that are deliberately wrong, on the twin and on the real shop: each is caught, undone, and the next one tried.

The diagnosis is given, so that the wrong playbook is chosen; all that follows is what KT does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt.incident.events import AlertsReceived, Diagnosed, Healed, PlanProposed, RolledBack, Verified
from kt.incident.log import Append
from kt.pipeline.doubts import Doubts
from kt.pipeline.journey import Held, Journey
from kt.pipeline.stages import remediate, verify
from kt.runtime import Clock, Runtime, wall_clock
from kt.sections import Approval, Guard, Kubernetes, Pipeline, Prometheus
from kt.settings import Settings
from testbed import prometheus, shop
from tests.e2e.installation import until
from tests.e2e.real import HEALED_S, SERVERS, grant
from twin.server import Twin

CART = "Deployment/shop/cart"
LABELS = {"namespace": "shop", "service": "cart"}


class Ground(NamedTuple):
    """Where it happens: a cluster with the shop, its Prometheus, its clock and how patient one is there."""

    kubeconfig: str
    prometheus_url: str
    now: Clock
    pipeline: Pipeline
    leaked_after_s: int
    """Long enough for the fix to look good, and less than it is watched for."""


class Case:
    """One incident whose stages are visited as the sweep would, in the time of the cluster."""

    def __init__(self, folder: Path, ground: Ground) -> None:
        self.ground = ground
        self.runtime = Runtime(
            Settings(
                data_dir=str(folder),
                broker_url="memory://",
                kubernetes=Kubernetes(kubeconfig=ground.kubeconfig),
                prometheus=Prometheus(url=ground.prometheus_url),
                guard=Guard(enabled=True, cooldown_s=0),
                approval=Approval(low=0, medium=0),
                pipeline=ground.pipeline,
            ),
            ground.now,
        )
        self.doubts = Doubts()

    def set_knob(self, name: str, value: str) -> None:
        """A rollout of the cart that changes one of its environment variables."""
        found = self.runtime.cluster.get("Deployment", "cart", "shop")
        assert found is not None
        before = found["spec"]["template"]["spec"]["containers"][0]["env"]
        change = [{"op": "add", "path": "/spec/template/spec/containers/0/env",
                   "value": [*before, {"name": name, "value": value}]}]  # fmt: skip
        self.runtime.cluster.patch("Deployment", "cart", "shop", change)

    def fires(self) -> bool:
        signal = Signal(fingerprint="f", entity="", symptom="errors", name="KtErrorRatioHigh", labels=LABELS,
                        starts_at=self.ground.now())  # fmt: skip
        return bool(self.runtime.symptoms.still_firing([signal]))

    def diagnosed(self, fault: str) -> None:
        """The alert as it fires, and a diagnosis."""
        until(self.fires, "the cart's errors are alerted on")
        now = self.ground.now()
        signal = Signal(
            fingerprint="f", entity="Service/shop/cart", symptom="errors", name="KtErrorRatioHigh", labels=LABELS,
            starts_at=now,
        )  # fmt: skip
        cause = Hypothesis(entity=CART, fault=fault, probability=0.9, explains=("f",))
        given = Diagnosed(at=now, diagnosis=Diagnosis(hypotheses=(cause,), causes=(0,)))
        events = (AlertsReceived(at=now, signals=(signal,)), given)
        self.runtime.log.commit([Append(incident="i", expected=0, events=events)])

    @property
    def journey(self) -> Journey:
        return Journey(self.runtime.log, "i")

    def ended(self) -> bool:
        journey = self.journey
        if journey.state.due_at and journey.state.due_at <= self.ground.now():
            if journey.state.next_step == "verify":
                verify.run(self.runtime, journey, Held(1), self.doubts)
            else:
                remediate.run(self.runtime, journey, Held(1))
        return journey.state.ended

    def events(self, kind: type[Any]) -> list[Any]:
        return [each.event for each in self.journey.records if isinstance(each.event, kind)]


@contextmanager
def on_twin() -> Iterator[Ground]:
    twin = Twin(seed=3, speed=15.0).start()
    patience = Pipeline(verify_quiet_s=0.5, recovery_s=120, watch_longest_s=300, compare=True)
    yield Ground(str(twin.kubeconfig), twin.prometheus_url, twin.now, patience, 45)
    twin.stop()


@contextmanager
def on_real_shop(variables: dict[str, str]) -> Iterator[Ground]:
    shop.reset()
    grant()
    prometheus.wait_until_quiet()
    patience = Pipeline(verify_quiet_s=0.5, recovery_s=20, watch_longest_s=35)
    where = variables["KT_TEST_KUBECONFIG_OF_KT"], variables["KT_TEST_PROMETHEUS_URL"]
    yield Ground(*where, wall_clock, patience, 20)
    shop.reset()


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.real(*SERVERS))])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    real = request.param == "real"
    with on_real_shop(request.getfixturevalue("servers")(*SERVERS)) if real else on_twin() as ground:
        one = Case(tmp_path, ground)
        yield one
        one.runtime.close()


def test_a_restart_for_a_leak_that_comes_back_is_caught_and_the_leak_is_rolled_back(case: Case) -> None:
    case.set_knob("LEAK_S", str(case.ground.leaked_after_s))
    case.diagnosed("Workload.MemoryLeak")
    until(case.ended, "the incident ends", seconds=HEALED_S)
    plans = [each.plan.playbook for each in case.events(PlanProposed)]
    assert plans[:2] == ["restart", "rollback"]
    first, *_, last = case.events(Verified)
    assert (first.verdict.outcome, "It came back" in first.verdict.why) == ("regressed", True)
    assert case.events(RolledBack)[0].ok
    assert (last.verdict.outcome, last.verdict.why) == ("held", last.verdict.why)
    # Where there is enough of it, compared with the time before the leak, not only looked at for alerts.
    assert ("failures are as before the fault" in last.verdict.why) == case.ground.pipeline.compare
    assert len(case.events(Healed)) == 1
    assert not case.fires()


def test_a_scale_out_that_does_not_help_is_undone(case: Case) -> None:
    case.set_knob("FAIL_RATIO", "0.5")
    case.diagnosed("Workload.Overload")
    until(case.ended, "the incident ends", seconds=HEALED_S)
    assert case.events(PlanProposed)[0].plan.playbook == "scale-out"
    (verdict,) = [each.verdict for each in case.events(Verified)]
    assert (verdict.outcome, "still: KtErrorRatioHigh" in verdict.why) == ("regressed", True)
    assert case.events(RolledBack)[0].ok
    found = case.runtime.cluster.get("Deployment", "cart", "shop")
    assert found is not None
    assert found["spec"]["replicas"] == 2
    assert case.journey.state.phase == "escalated"
