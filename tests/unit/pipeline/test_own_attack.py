"""What KT's own attack on a fix raises is not taken for a fault: it is looked at when it has not ended by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from graph_schema.model import Diagnosis, Entity, Hypothesis, Relation
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    Diagnosed,
    Event,
    Healed,
    PlanProposed,
    VerificationStarted,
    Verified,
)
from kt.incident.log import Notification
from kt.incident.state import State
from kt.pipeline.gathering import Ahead
from kt.pipeline.journey import Journey
from kt.pipeline.stages import diagnose, sense
from kt.runtime import Runtime
from kt.sections import Kubernetes, Pipeline
from kt.settings import Settings
from kt.views.words import event_words
from remediate.plan import Plan, Step, Target
from tests.unit.pipeline.desk import CART, T0, Clock
from verify.verdict import Verdict

AFTERMATH_S = 60.0
ATTACK: dict[str, Any] = {"method": [{"type": "action", "name": "end one pod"}]}
ONLY_WATCHED: dict[str, Any] = {"method": [{"type": "probe", "name": "nothing fires"}]}
NAMES = {"KubePodCrashLooping": "cart-a", "KubePodNotReady": "cart-b", "KubeContainerWaiting": "mail-a"}


class Healing:
    """A fix of cart that was attacked, and alerts that come after."""

    def __init__(self, folder: Path, **pipeline: Any) -> None:
        self.clock = Clock()
        missing = Kubernetes(kubeconfig=str(folder / "none"))
        options = Pipeline(aftermath_s=AFTERMATH_S, settle_s=1.0, **pipeline)
        settings = Settings(data_dir=str(folder), broker_url="memory://", kubernetes=missing, pipeline=options)
        self.runtime = Runtime(settings, self.clock)
        cart = Entity(id=CART, kind="Deployment", name="cart", namespace="shop")
        pods = [Entity(id=f"Pod/shop/{name}", kind="Pod", name=name, namespace="shop") for name in NAMES.values()]
        owned = [Relation(CART, pod.id, "OWNS") for pod in pods if pod.name.startswith("cart")]
        self.runtime.graph.upsert([cart, *pods], owned, at=T0)
        self._received = 0

    def alert(self, name: str, status: str = "firing", began: datetime | None = None) -> State:
        """Comes in; the incident that takes it."""
        self._received += 1
        alert = {
            "status": status,
            "labels": {"alertname": name, "namespace": "shop", "pod": NAMES[name]},
            "startsAt": (began or self.clock.now).isoformat(),
            "fingerprint": name,
        } | ({"endsAt": self.clock.now.isoformat()} if status == "resolved" else {})
        body = msgspec.json.encode({"version": "4", "groupKey": f"g{self._received}", "alerts": [alert]})
        note = Notification(id=f"{self._received:032x}", received_at=self.clock.now, body=body)
        self.runtime.log.receive([note])
        (state,) = sense.drain(self.runtime)
        return state

    def healed(self, experiment: dict[str, Any]) -> State:
        """An incident of cart whose fix had to stand the experiment for ten seconds, and did."""
        journey = Journey(self.runtime.log, self.alert("KubePodCrashLooping").id)
        cause = Hypothesis(entity=CART, fault="Workload.BadRevision", probability=0.9)
        target = Target(kind="Deployment", namespace="shop", name="cart", uid="u")
        step = Step(action="roll-back", target=target, parameters={}, summary="roll back", diff="")
        plan = Plan(
            playbook="rollback", hypothesis=cause, steps=(step,), risk="low", steady_state=(), blast_radius=(CART,)
        )
        now, later = self.clock.now, self.clock.now + timedelta(seconds=10)
        verdict = Verdict(outcome="held", why="it held")
        begun = ActionStarted(at=now, plan_digest=plan.digest, step=0, action_id="a", fencing=1)
        events: list[Event] = [
            Diagnosed(at=now, diagnosis=Diagnosis(hypotheses=(cause,), causes=(0,))),
            PlanProposed(at=now, plan=plan, approvals_needed=0, expires_at=later),
            begun,
            ActionFinished(at=now, action_id="a", ok=True, detail="done"),
            VerificationStarted(at=now, attempt=1, experiment=experiment),
            Verified(at=later, verdict=verdict),
            Healed(at=later, why="held"),
        ]
        journey.append(*events)
        self.clock.forward(10)
        return journey.state

    def visit(self, incident: str) -> str:
        """What the diagnosis makes of an incident now."""
        journey = Journey(self.runtime.log, incident)
        diagnose.run(self.runtime, journey, Ahead())
        return journey.state.phase


@pytest.fixture
def healing(tmp_path: Path) -> Healing:
    return Healing(tmp_path)


def test_what_an_attack_raised_is_waited_for_and_ends_without_anything_done(healing: Healing) -> None:
    attacked = healing.healed(ATTACK)
    healing.clock.forward(2)
    found = healing.alert("KubePodNotReady")
    assert found.id != attacked.id
    assert found.calm_at == healing.clock.now + timedelta(seconds=AFTERMATH_S - 2)
    healing.clock.forward(5)
    assert healing.visit(found.id) == "new"
    ended = healing.alert("KubePodNotReady", "resolved")
    assert ended.id == found.id
    assert healing.visit(found.id) == "healed"
    assert "nothing was done" in Journey(healing.runtime.log, found.id).state.ended_why
    (opened, *_) = Journey(healing.runtime.log, found.id).records
    assert f"incident {attacked.id[:8]}: diagnosed at 12:01:10 unless it ends before" in event_words(opened.event)


def test_what_goes_on_after_that_is_diagnosed(healing: Healing) -> None:
    healing.healed(ATTACK)
    found = healing.alert("KubePodNotReady")
    healing.clock.forward(AFTERMATH_S)
    assert healing.visit(found.id) == "diagnosed"


def test_what_has_nothing_to_do_with_the_attack_is_looked_at_at_once(healing: Healing) -> None:
    healing.healed(ATTACK)
    assert healing.alert("KubeContainerWaiting").calm_at is None, "it is nowhere near"
    before = healing.clock.now - timedelta(seconds=30)
    assert healing.alert("KubePodNotReady", began=before).calm_at is None, "it began before the attack"


@pytest.mark.parametrize(("experiment", "later_s"), [(ONLY_WATCHED, 2.0), (ATTACK, AFTERMATH_S + 1)])
def test_who_only_watched_and_who_attacked_long_ago_raised_nothing(
    healing: Healing, experiment: dict[str, Any], later_s: float
) -> None:
    healing.healed(experiment)
    healing.clock.forward(later_s)
    assert healing.alert("KubePodNotReady").calm_at is None
