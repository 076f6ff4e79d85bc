"""The figures that KT tells about itself, and how the web process tells a pipeline that is dead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from graph_schema.model import Signal
from kt.incident.events import AlertsReceived, Escalated, Postponed
from kt.incident.log import DEAD_S, SWEEP, Append, LogUnavailable, Notification
from kt.incident.state import fold
from kt.stores.sqlite_brakes import SqliteBrakes
from kt.stores.sqlite_log import SqliteIncidentLog
from kt.stores.sqlite_pulses import SqlitePulses
from kt.telemetry import Telemetry
from kt.web.app import create_app
from remediate.brakes import Stop, Trip

NOW = datetime.now(UTC)
SIGNAL = Signal(fingerprint="f", entity="Service/shop/cart", symptom="errors", name="Errors", starts_at=NOW)
PAYLOAD = {
    "version": "4",
    "groupKey": "g",
    "alerts": [
        {"status": "firing", "labels": {"alertname": "A"}, "startsAt": "2026-03-01T12:00:00Z", "fingerprint": "f"}
    ],
}


class Web:
    """The web face on stores of its own; `clock` is that of the pulses."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime.now(UTC)
        self.log, self.telemetry = SqliteIncidentLog(folder / "kt.db"), Telemetry()
        self.pulses = SqlitePulses(folder / "kt.db", lambda: self.now)
        self.brakes = SqliteBrakes(folder / "kt.db")
        self.client = TestClient(
            create_app(
                self.log,
                self.pulses,
                token="t",
                max_body_bytes=2000,
                on_received=lambda: None,
                telemetry=self.telemetry,
                brakes=self.brakes,
            ),
            headers={"Authorization": "Bearer t"},
        )

    def value(self, series: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(series + " ")))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    one = Web(tmp_path)
    with one.client:
        yield one
    one.log.close()
    one.pulses.close()
    one.brakes.close()


def test_notifications_are_counted_by_outcome_and_reason(web: Web) -> None:
    url = "/webhook/alertmanager"
    assert web.client.post(url, json=PAYLOAD).status_code == 200
    assert web.client.post(url, content=b"{").status_code == 400
    assert web.client.post(url, content=b" " * 2001).status_code == 413
    assert web.client.post(url, json=PAYLOAD, headers={"Authorization": "Bearer x"}).status_code == 401
    for outcome, reason, count in (
        ("kept", "", 1),
        ("refused", "bad payload", 1),
        ("refused", "too large", 1),
        ("unauthorized", "token", 1),
        ("not kept", "store away", 0),
    ):
        assert web.value(f'kt_notifications_total{{outcome="{outcome}",reason="{reason}"}}') == count
    assert web.value("kt_notifications_received") == 1
    assert web.value("kt_notifications_unsettled") == 1


def test_the_age_of_what_waits_is_told(web: Web) -> None:
    assert (web.value("kt_queue_age_seconds"), web.value("kt_due_age_seconds")) == (0, 0)
    web.log.receive([Notification(id="1", received_at=NOW - timedelta(seconds=100), body=b"{}")])
    long_due = AlertsReceived(at=NOW - timedelta(seconds=50), signals=(SIGNAL,))
    later = Postponed(at=NOW, until=NOW + timedelta(hours=1), why="busy")
    web.log.commit([Append(incident="a", expected=0, events=(long_due,))])
    web.log.commit([Append(incident="b", expected=0, events=(long_due, later))])
    assert web.value("kt_queue_age_seconds") >= 100
    assert 50 <= web.value("kt_due_age_seconds") < 3600
    assert web.value('kt_incidents_open{phase="new"}') == 2


def test_a_pipeline_that_is_dead_is_told_and_alerts_are_taken_in_all_the_same(web: Web) -> None:
    assert web.value("kt_last_sweep_timestamp_seconds") == 0
    never = web.client.get("/readyz")
    assert (never.status_code, never.json()["pipeline"]) == (200, {"alive": False, "last_sweep_s": None})
    web.pulses.beat(SWEEP)
    assert web.client.get("/readyz").json()["pipeline"]["alive"] is True
    assert web.value("kt_last_sweep_timestamp_seconds") == pytest.approx(web.now.timestamp(), abs=0.001)
    web.now -= timedelta(seconds=DEAD_S + 1)
    web.pulses.beat(SWEEP)
    assert web.client.get("/readyz").json()["pipeline"]["alive"] is False
    assert web.client.get("/readyz").status_code == 200


def test_what_holds_kt_back_is_told(web: Web) -> None:
    assert web.client.get("/readyz").json()["held"] == {"stopped": "", "breaker": ""}
    web.brakes.stop(Stop(at=web.now, by="ada", why="migration"))
    web.brakes.trip(Trip(at=web.now, until=web.now + timedelta(minutes=30), why="three failed"))
    assert web.client.get("/readyz").json()["held"] == {"stopped": "by ada: migration", "breaker": "three failed"}
    web.brakes.trip(Trip(at=web.now, until=web.now, why="three failed", closed_by="ada"))
    assert web.client.get("/readyz").json()["held"]["breaker"] == ""


def test_a_store_that_is_away_is_told_and_the_counters_stay(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    assert web.value("kt_store_up") == 1

    def away() -> tuple[int, int]:
        raise LogUnavailable("away")

    monkeypatch.setattr(web.log, "counts", away)
    assert web.value("kt_store_up") == 0
    assert web.client.get("/readyz").status_code == 503
    assert web.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("happens", "series"),
    [
        (lambda t: t.acted("scale-out", ok=True), 'kt_actions_total{action="scale-out",outcome="ok"}'),
        (lambda t: t.acted("scale-out", ok=False), 'kt_actions_total{action="scale-out",outcome="failed"}'),
        (lambda t: t.undone("cordon", ok=True), 'kt_actions_total{action="cordon",outcome="undone"}'),
        (lambda t: t.undone("cordon", ok=False), 'kt_actions_total{action="cordon",outcome="undo failed"}'),
        (
            lambda t: t.failed("verify", KeyError()),
            'kt_stage_failures_total{error="KeyError",stage="verify"}',
        ),
        (
            lambda t: t.ended(fold("i", [AlertsReceived(at=NOW, signals=(SIGNAL,)), Escalated(at=NOW, why="enough")])),
            'kt_incident_seconds_count{outcome="escalated"}',
        ),
    ],
)
def test_what_the_stages_did_is_counted(happens: Callable[[Telemetry], None], series: str) -> None:
    telemetry = Telemetry()
    happens(telemetry)
    assert f"{series} 1.0" in telemetry.render().decode()
