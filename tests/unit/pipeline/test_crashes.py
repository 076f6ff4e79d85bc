"""On the twin: a fix under which its target crashes is taken back long before its time is over; one that only takes a
few tries is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt.incident.events import AlertsReceived, Diagnosed, RolledBack, Verified
from kt.incident.log import Append
from kt.pipeline.doubts import Doubts
from kt.pipeline.journey import Held, Journey
from kt.pipeline.stages import remediate, verify
from kt.runtime import Runtime
from kt.sections import Approval, Guard, Kubernetes, Pipeline, Prometheus
from kt.settings import Settings
from remediate.actions.base import rolled_out
from tests.unit.pipeline.desk import Seen, wait
from twin.server import Twin

WEB = "Deployment/shop/web"
RECOVERY_S = 180.0


@pytest.fixture
def twin() -> Iterator[Twin]:
    twin = Twin(seed=2, speed=20).start()
    yield twin
    twin.stop()


class Fix:
    """A rollback to a first revision that behaves as its environment says, as far as its verification."""

    def __init__(self, folder: Path, twin: Twin, most_crashes: int = 3, **environment: str) -> None:
        pipeline = Pipeline(recovery_s=RECOVERY_S, verify_quiet_s=0.1, most_crashes=most_crashes)
        self.twin = twin
        self.runtime = Runtime(
            Settings(
                data_dir=str(folder), broker_url="memory://", kubernetes=Kubernetes(kubeconfig=str(twin.kubeconfig)),
                prometheus=Prometheus(url=twin.prometheus_url), guard=Guard(enabled=True, cooldown_s=0),
                approval=Approval(low=0, medium=0), pipeline=pipeline,
            ),
            twin.now,
        )  # fmt: skip
        self.runtime.symptoms = Seen()  # the alert goes on: what is looked at is how soon that is not waited for
        self.doubts = Doubts()
        self.runtime.cluster.create("Deployment", "shop", deployment(environment))
        wait(lambda: len(self.runtime.cluster.list("Pod", "shop", labels="app=web")) == 1)
        change = {"spec": {"template": deployment({})["spec"]["template"]}}
        self.runtime.cluster.patch("Deployment", "web", "shop", {"spec": {"strategy": {"type": "Recreate"}}})
        change["spec"]["template"]["spec"]["containers"][0]["env"] = []
        self.runtime.cluster.patch("Deployment", "web", "shop", change)
        wait(lambda: not rolled_out(self.web()))
        self.act()

    def web(self) -> dict[str, Any]:
        found = self.runtime.cluster.get("Deployment", "web", "shop")
        assert found is not None
        return {**found, "kind": "Deployment"}

    def act(self) -> None:
        now = self.twin.now()
        signal = Signal(fingerprint="f", entity=WEB, symptom="errors", name="Errors", starts_at=now)
        cause = Hypothesis(entity=WEB, fault="Workload.BadRevision", probability=0.9)
        events = (
            AlertsReceived(at=now, signals=(signal,)),
            Diagnosed(at=now, diagnosis=Diagnosis(hypotheses=(cause,), causes=(0,))),
        )
        self.runtime.log.commit([Append(incident="i", expected=0, events=events)])
        remediate.run(self.runtime, self.journey, Held(1))
        assert self.journey.state.phase == "verifying", self.journey.state.ended_why

    @property
    def journey(self) -> Journey:
        return Journey(self.runtime.log, "i")

    def visited(self) -> bool:
        """Whether its verification has come to a verdict after one more visit."""
        verify.run(self.runtime, self.journey, Held(1), self.doubts)
        return self.journey.state.phase != "verifying"

    def verdict(self) -> tuple[float, str]:
        """(seconds after the action, why)"""
        event = next(each.event for each in self.journey.records if isinstance(each.event, Verified))
        acted = next(action.finished.at for action in self.journey.state.actions if action.finished)
        return (event.at - acted).total_seconds(), event.verdict.why


def deployment(environment: dict[str, str]) -> dict[str, Any]:
    labels = {"app": "web"}
    env = [{"name": key, "value": value} for key, value in environment.items()]
    container = {"name": "web", "image": "shop:v1", "env": env}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "web"}, "spec": spec}


def test_a_fix_that_crashes_is_taken_back_soon_and_says_why(tmp_path: Path, twin: Twin) -> None:
    fix = Fix(tmp_path, twin, CRASH_AFTER_S="1")
    wait(fix.visited)
    after_s, why = fix.verdict()
    assert after_s < RECOVERY_S / 2
    assert "web of Pod shop/web-" in why
    assert "has ended 3 times under the fix" in why
    remediate.run(fix.runtime, fix.journey, Held(1))
    assert [each.event.ok for each in fix.journey.records if isinstance(each.event, RolledBack)] == [True]
    assert not fix.web()["spec"]["template"]["spec"]["containers"][0].get("env")


def test_a_fix_that_needs_a_few_tries_is_waited_for(tmp_path: Path, twin: Twin) -> None:
    fix = Fix(tmp_path, twin, CRASH_AFTER_S="1", CRASH_TIMES="2")
    wait(fix.visited)
    after_s, why = fix.verdict()
    assert after_s >= RECOVERY_S, "its alert goes on in this test, so it ends at last"
    assert "ended" not in why


def test_it_can_be_switched_off(tmp_path: Path, twin: Twin) -> None:
    fix = Fix(tmp_path, twin, most_crashes=0, CRASH_AFTER_S="1")
    wait(fix.visited)
    assert fix.verdict()[0] >= RECOVERY_S
