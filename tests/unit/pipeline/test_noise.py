"""An incident makes no more noise than there is news: alerts that flap, and news while a plan waits out its time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from graph_schema.model import Diagnosis, Entity, Hypothesis, Relation, Signal
from kt.incident.events import AlertsReceived, Diagnosed, Escalated, Event, Healed, Postponed
from kt.incident.log import Append, Notification
from kt.incident.state import State, fold
from kt.notify import messages
from kt.pipeline.journey import Journey
from kt.pipeline.stages import sense
from kt.runtime import Runtime
from kt.sections import Kubernetes, Pipeline
from kt.settings import Settings
from remediate.actions import ACTIONS, Mark
from remediate.brakes import Spent
from tests.unit.pipeline.desk import CART, T0, Clock, Desk

WINDOW_S = 1800.0


class Flapping:
    """An incident that was given to a person, and alerts that come again."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        missing = Kubernetes(kubeconfig=str(folder / "none"))
        options = Pipeline(reopen_s=WINDOW_S)
        settings = Settings(data_dir=str(folder), broker_url="memory://", kubernetes=missing, pipeline=options)
        self.runtime = Runtime(settings, self.clock)
        pods = [Entity(id=f"Pod/shop/cart-{name}", kind="Pod", name=f"cart-{name}", namespace="shop") for name in "ab"]
        cart = Entity(id=CART, kind="Deployment", name="cart", namespace="shop")
        mail = Entity(id="Pod/shop/mail-a", kind="Pod", name="mail-a", namespace="shop")
        self.runtime.graph.upsert([cart, mail, *pods], [Relation(CART, pod.id, "OWNS") for pod in pods], at=T0)
        self._received = 0
        self._began: dict[tuple[str, str], str] = {}

    def alert(self, name: str, pod: str = "cart-a", status: str = "firing") -> str:
        """Comes in; the incident that takes it."""
        self._received += 1
        if status == "firing":
            self._began[name, pod] = self.clock.now.isoformat()
        alert = {
            "status": status,
            "labels": {"alertname": name, "namespace": "shop", "pod": pod},
            "startsAt": self._began[name, pod],
            "fingerprint": f"{name}-{pod}",
        } | ({"endsAt": self.clock.now.isoformat()} if status == "resolved" else {})
        body = msgspec.json.encode({"version": "4", "groupKey": f"g{self._received}", "alerts": [alert]})
        note = Notification(id=f"{self._received:032x}", received_at=self.clock.now, body=body)
        self.runtime.log.receive([note])
        (state,) = sense.drain(self.runtime)
        return state.id

    def given_up(self, incident: str, fault: str = "Pod.CrashLoop", entity: str = CART) -> State:
        """Diagnosed, and given to a person."""
        cause = Hypothesis(entity=entity, fault=fault, probability=0.9)
        journey = Journey(self.runtime.log, incident)
        now = self.clock.now
        journey.append(
            Diagnosed(at=now, diagnosis=Diagnosis(hypotheses=(cause,), causes=(0,))),
            Escalated(at=now, why="nothing is known that would help"),
        )
        return journey.state

    def count(self) -> int:
        return len(self.runtime.log.entries())

    def told(self, incident: str) -> int:
        """How often a person was called."""
        records = Journey(self.runtime.log, incident).records
        count = 0
        for number, record in enumerate(records, 1):
            then = fold(incident, (each.event for each in records[:number]))
            count += sum(1 for each in messages([record], then) if each.kind == "escalated")
        return count


@pytest.fixture
def flapping(tmp_path: Path) -> Flapping:
    return Flapping(tmp_path)


def test_an_alert_that_flaps_reopens_the_incident_that_a_person_has_and_calls_nobody_twice(flapping: Flapping) -> None:
    incident = flapping.alert("KubePodCrashLooping")
    flapping.given_up(incident)
    for _ in range(5):
        flapping.clock.forward(60)
        assert flapping.alert("KubePodCrashLooping", status="resolved") == incident
        flapping.clock.forward(60)
        assert flapping.alert("KubePodCrashLooping") == incident
        assert Journey(flapping.runtime.log, incident).state.phase == "new", "it is looked at anew"
        flapping.given_up(incident)
    assert (flapping.count(), flapping.told(incident)) == (1, 1)
    (entry,) = flapping.runtime.log.entries()
    assert entry.summary.endswith("came back 5 times")


def test_another_cause_is_told(flapping: Flapping) -> None:
    incident = flapping.alert("KubePodCrashLooping")
    flapping.given_up(incident)
    flapping.clock.forward(60)
    flapping.alert("KubePodCrashLooping")
    flapping.given_up(incident, fault="Workload.BadRevision")
    assert flapping.told(incident) == 2


def test_a_pod_that_was_made_anew_with_the_same_trouble_is_the_same_incident(flapping: Flapping) -> None:
    incident = flapping.alert("KubePodCrashLooping", "cart-a")
    flapping.given_up(incident)
    flapping.clock.forward(60)
    assert flapping.alert("KubePodCrashLooping", "cart-b") == incident


@pytest.mark.parametrize(("name", "pod"), [("KubePodCrashLooping", "mail-a"), ("KubePodNotReady", "cart-b")])
def test_other_alerts_and_the_same_elsewhere_open_an_incident_of_their_own(
    flapping: Flapping, name: str, pod: str
) -> None:
    incident = flapping.alert("KubePodCrashLooping", "cart-a")
    flapping.given_up(incident)
    flapping.clock.forward(60)
    assert flapping.alert(name, pod) != incident


def test_after_the_window_it_is_a_new_incident_and_a_person_is_called(flapping: Flapping) -> None:
    first = flapping.alert("KubePodCrashLooping")
    flapping.given_up(first)
    flapping.clock.forward(WINDOW_S + 1)
    second = flapping.alert("KubePodCrashLooping")
    assert second != first
    flapping.given_up(second)
    assert flapping.told(second) == 1


def test_what_was_healed_is_not_reopened(flapping: Flapping) -> None:
    first = flapping.alert("KubePodCrashLooping")
    Journey(flapping.runtime.log, first).append(Healed(at=flapping.clock.now, why="It ended by itself."))
    flapping.clock.forward(60)
    assert flapping.alert("KubePodCrashLooping") != first


class TestWaiting:
    """A plan that waits out a cooldown."""

    @pytest.fixture
    def waiting(self, desk: Desk) -> Desk:
        desk.guard["cooldown_s"] = 50.0
        desk.open()
        cart = desk.runtime.cluster.get("Deployment", "cart", "shop")
        assert cart is not None
        # Somebody's KT has acted on it a moment ago.
        scale = ACTIONS["scale-out"]
        step = scale.prepare(desk.runtime.cluster, {**cart, "kind": "Deployment"}, {"factor": 1.5, "max_replicas": 9})
        assert scale.apply(desk.runtime.cluster, step, Mark(action="x", fencing=0, at=T0.isoformat())).ok
        desk.visit()
        return desk

    def news(self, desk: Desk, number: int, *causes: Hypothesis) -> None:
        """One more alert, and the diagnosis that follows it."""
        signal = Signal(fingerprint=f"n{number}", entity=CART, symptom="errors", name="E", starts_at=desk.clock.now)
        diagnosis = Diagnosis(hypotheses=causes, causes=tuple(range(len(causes))))
        desk.say(
            AlertsReceived(at=desk.clock.now, signals=(signal,)), Diagnosed(at=desk.clock.now, diagnosis=diagnosis)
        )

    def test_it_is_told_once_until_when(self, waiting: Desk) -> None:
        (told,) = waiting.events(Postponed)
        assert told.until == T0 + timedelta(seconds=50)
        assert "KT acted on Deployment/shop/cart at 12:00:00 UTC; it is left alone until 12:00:50" in told.why
        assert waiting.journey().state.due_at == told.until

    def test_news_that_leave_the_cause_as_it_is_add_nothing(self, waiting: Desk) -> None:
        until = waiting.events(Postponed)[0].until
        for number in range(5):
            waiting.clock.forward(5)
            self.news(waiting, number, Hypothesis(entity=CART, fault="Workload.Overload", probability=0.7))
            assert waiting.journey().state.due_at == until
            assert due(waiting) == []
        assert len(waiting.events(Postponed)) == 1
        waiting.clock.forward(30)
        assert due(waiting) == ["i"]
        assert waiting.visit().state.phase == "verifying"

    def test_another_cause_is_looked_at_at_once(self, waiting: Desk) -> None:
        waiting.clock.forward(5)
        self.news(waiting, 1, Hypothesis(entity=CART, fault="Workload.BadRevision", probability=0.9))
        assert waiting.journey().state.due_at == waiting.clock.now

    def test_what_has_ended_meanwhile_is_seen_at_once(self, waiting: Desk) -> None:
        waiting.clock.forward(5)
        ended = Signal(
            fingerprint="f", entity=CART, symptom="latency", name="Slow", starts_at=T0, ends_at=waiting.clock.now
        )
        waiting.say(AlertsReceived(at=waiting.clock.now, signals=(ended,)))
        assert due(waiting) == ["i"]
        assert waiting.visit().state.phase == "healed"


def due(desk: Desk) -> list[str]:
    return desk.runtime.log.due(desk.clock.now)


def test_a_pause_after_what_did_not_help_tells_its_end(desk: Desk) -> None:
    desk.guard["cooldown_s"] = 10.0
    desk.open()
    spent = Spent(action="a", at=T0, target=CART, namespace="shop", playbook="scale-out")
    desk.runtime.brakes.spend(spent, T0, lambda _: "")
    desk.runtime.brakes.conclude("a", "ineffective")
    desk.visit()
    (told,) = desk.events(Postponed)
    assert told.until == T0 + timedelta(seconds=20)
    assert "not tried again until 12:00:20 UTC" in told.why


def test_a_reopened_incident_has_its_patience_anew_and_keeps_what_was_tried(flapping: Flapping) -> None:
    signal = Signal(fingerprint="f", entity=CART, symptom="errors", name="E", starts_at=T0)
    events: tuple[Event, ...] = (
        AlertsReceived(at=T0, signals=(signal,)),
        Escalated(at=T0 + timedelta(seconds=60), why="no cause"),
        AlertsReceived(at=T0 + timedelta(seconds=600), signals=(signal,), reopens=True),
    )
    flapping.runtime.log.commit([Append(incident="i", expected=0, events=events)])
    state = Journey(flapping.runtime.log, "i").state
    assert (state.phase, state.since, state.opened_at) == ("new", T0 + timedelta(seconds=600), T0)
