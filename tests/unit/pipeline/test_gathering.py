"""What a diagnosis rests on is gathered while the rest of a burst is waited for, and used only where it still fits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from graph_schema.model import Entity, Signal
from graph_schema.store import StoreUnavailable
from kt.incident.events import AlertsReceived
from kt.incident.log import Append
from kt.incident.state import State
from kt.pipeline.gathering import Ahead
from kt.pipeline.journey import Journey
from kt.runtime import Runtime
from kt.sections import Kubernetes
from kt.settings import Settings

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART = Entity(id="Service/shop/cart", kind="Service", name="cart", namespace="shop")
LATER = Entity(id="Service/shop/cart", kind="Service", name="cart", namespace="shop", labels={"seen": "later"})


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    missing = Kubernetes(kubeconfig=str(tmp_path / "none"))
    one = Runtime(Settings(data_dir=str(tmp_path), broker_url="memory://", kubernetes=missing))
    one.graph.upsert([CART], at=T0)
    return one


def alerted(runtime: Runtime, *names: str) -> State:
    """The incident, after an alert of each name."""
    state = Journey(runtime.log, "i").state
    signals = tuple(
        Signal(fingerprint=name, entity=CART.id, symptom="errors", name=name, starts_at=T0) for name in names
    )
    runtime.log.commit([Append(incident="i", expected=state.version, events=(AlertsReceived(at=T0, signals=signals),))])
    return Journey(runtime.log, "i").state


def test_what_was_gathered_ahead_is_taken_once(runtime: Runtime) -> None:
    ahead = Ahead()
    state = alerted(runtime, "Errors")
    ahead.gather(runtime, state)
    runtime.graph.upsert([LATER], at=T0)
    first = ahead.take(runtime, state)
    assert first.basis.piece.entities[CART.id].labels == {}
    assert first.basis.alerts == state.firing
    assert ahead.take(runtime, state).basis.piece.entities[CART.id].labels == {"seen": "later"}


def test_news_of_the_incident_make_it_old(runtime: Runtime) -> None:
    ahead = Ahead()
    ahead.gather(runtime, alerted(runtime, "Errors"))
    runtime.graph.upsert([LATER], at=T0)
    now = alerted(runtime, "Slow")
    taken = ahead.take(runtime, now)
    assert taken.basis.alerts == now.firing
    assert taken.basis.piece.entities[CART.id].labels == {"seen": "later"}


def test_what_went_wrong_ahead_is_told_to_who_takes_it(runtime: Runtime) -> None:
    ahead = Ahead()
    state = alerted(runtime, "Errors")

    def away() -> datetime:
        raise StoreUnavailable("the clock is away")

    runtime.clock = away
    ahead.gather(runtime, state)
    with pytest.raises(StoreUnavailable, match="away"):
        ahead.take(runtime, state)
