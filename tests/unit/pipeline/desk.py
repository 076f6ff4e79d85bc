"""One incident on a twin, and the remediate stage visited by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt.incident.events import AlertsReceived, Diagnosed, Event
from kt.incident.log import Append
from kt.pipeline.journey import Held, Journey
from kt.pipeline.stages import remediate, undo
from kt.runtime import Runtime
from kt.sections import Approval, Guard, Kubernetes, Pipeline, Prometheus
from kt.settings import Settings
from remediate.cluster import Object
from twin.server import Twin
from verify.steady import SymptomCheck

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART = "Deployment/shop/cart"


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Seen(SymptomCheck):
    """The monitoring as a test wants it: whether it still has the alerts."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.fires = True

    def still_firing(self, signals: Any) -> list[str]:
        return [signal.name for signal in signals] if self.fires else []


class Desk:
    """One incident on a twin, and a stage that is visited by hand."""

    def __init__(self, folder: Path, twin: Twin) -> None:
        self.folder, self.twin, self.clock, self.seen = folder, twin, Clock(), Seen()
        self.guard: dict[str, Any] = {"enabled": True}
        self.kubernetes = Kubernetes(kubeconfig=str(twin.kubeconfig))
        self.approval = Approval(low=0, medium=0, high=2)
        self._runtime: Runtime | None = None

    @property
    def runtime(self) -> Runtime:
        if self._runtime is None:
            self._runtime = Runtime(
                Settings(
                    data_dir=str(self.folder),
                    broker_url="memory://",
                    kubernetes=self.kubernetes,
                    prometheus=Prometheus(url=self.twin.prometheus_url),
                    guard=msgspec.convert(self.guard, Guard),
                    approval=self.approval,
                    pipeline=Pipeline(guard_patience_s=60),
                ),
                self.clock,
            )
            self._runtime.symptoms = self.seen
        return self._runtime

    def open(self, entity: str = CART, fault: str = "Workload.Overload", incident: str = "i") -> None:
        """An incident that was diagnosed."""
        signal = Signal(fingerprint="f", entity=entity, symptom="latency", name="Slow", starts_at=self.clock.now)
        cause = Hypothesis(entity=entity, fault=fault, probability=0.9)
        events: tuple[Event, ...] = (
            AlertsReceived(at=self.clock.now, signals=(signal,)),
            Diagnosed(at=self.clock.now, diagnosis=Diagnosis(hypotheses=(cause,), causes=(0,))),
        )
        self.runtime.log.commit([Append(incident=incident, expected=0, events=events)])

    def journey(self, incident: str = "i") -> Journey:
        return Journey(self.runtime.log, incident)

    def visit(self, incident: str = "i") -> Journey:
        journey = self.journey(incident)
        stage = remediate.run if journey.state.undo is None else undo.run
        stage(self.runtime, journey, Held(1))
        return journey

    def say(self, *events: Event, incident: str = "i") -> None:
        self.journey(incident).append(*events)

    def events(self, kind: type[Event], incident: str = "i") -> list[Any]:
        return [each.event for each in self.journey(incident).records if isinstance(each.event, kind)]

    def replicas(self) -> int:
        found = self.runtime.cluster.get("Deployment", "cart", "shop")
        assert found is not None
        return int(found["spec"]["replicas"])

    def edit(self, change: Object, name: str = "cart") -> None:
        self.runtime.cluster.patch("Deployment", name, "shop", change)


def wait(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(400):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come about within 20 s")
