"""What people silence in Alertmanager is not acted on, though the incident began before the silence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from graph_schema.model import Signal
from kt import checks
from kt.incident.events import Postponed
from kt.sections import Alertmanager as Settings
from tests.unit.pipeline.desk import CART, T0, Desk
from verify.silences import SilenceCheck

SIGNAL = Signal(fingerprint="f", entity=CART, symptom="latency", name="Slow", starts_at=T0)


class Alertmanager:
    """A server that answers what of Alertmanager's API v2 is asked. `alerts`: fingerprint → (name, status)."""

    def __init__(self) -> None:
        self.alerts: dict[str, tuple[str, dict[str, Any]]] = {}
        self.code = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                if asked.path == "/api/v2/alerts":
                    (wanted,) = parse_qs(asked.query)["filter"]
                    answer: Any = [
                        {"fingerprint": key, "status": status, "labels": {"alertname": name}}
                        for key, (name, status) in outer.alerts.items()
                        if wanted == f'alertname="{name}"'
                    ]
                elif asked.path == "/api/v2/status":
                    answer = {"versionInfo": {"version": "0.28.1"}}
                else:
                    assert asked.path == "/api/v2/silence/s1"
                    answer = {"createdBy": "ada", "endsAt": "2026-03-01T18:00:00Z", "comment": "we know"}
                self.send_response(outer.code)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def silence(self, fingerprint: str = "f", name: str = "Slow") -> None:
        self.alerts[fingerprint] = name, {"state": "suppressed", "silencedBy": ["s1"], "inhibitedBy": []}

    def fire(self, fingerprint: str = "f", name: str = "Slow") -> None:
        self.alerts[fingerprint] = name, {"state": "active", "silencedBy": [], "inhibitedBy": []}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def alertmanager() -> Iterator[Alertmanager]:
    one = Alertmanager()
    yield one
    one.stop()


def test_lesson_a_silence_that_came_after_the_alert_is_honoured(desk: Desk, alertmanager: Alertmanager) -> None:
    alertmanager.silence()
    desk.runtime.silences = SilenceCheck(alertmanager.url)
    desk.open()
    for _ in range(3):
        assert desk.visit().state.phase == "awaiting approval"
    assert desk.replicas() == 2
    (waits,) = desk.events(Postponed)
    assert "silenced by ada until 2026-03-01T18:00:00Z: we know" in waits.why
    alertmanager.fire()
    assert desk.visit().state.phase == "verifying"


def test_one_alert_that_is_not_silenced_is_enough(alertmanager: Alertmanager) -> None:
    other = Signal(fingerprint="g", entity=CART, symptom="errors", name="Errors", starts_at=T0)
    alertmanager.silence()
    alertmanager.fire("g", "Errors")
    check = SilenceCheck(alertmanager.url)
    assert check.held([SIGNAL])
    assert not check.held([SIGNAL, other])
    assert not check.held([other])


def test_an_inhibited_alert_is_held_back_too(alertmanager: Alertmanager) -> None:
    alertmanager.alerts["f"] = "Slow", {"state": "suppressed", "silencedBy": [], "inhibitedBy": ["x"]}
    assert "inhibited by another alert" in SilenceCheck(alertmanager.url).held([SIGNAL])


def test_a_silence_of_another_alert_of_the_same_name_is_none_of_this_one(alertmanager: Alertmanager) -> None:
    alertmanager.silence("another")
    alertmanager.fire()
    assert not SilenceCheck(alertmanager.url).held([SIGNAL])


def test_an_alert_that_it_does_not_have_is_not_silenced(alertmanager: Alertmanager) -> None:
    assert not SilenceCheck(alertmanager.url).held([SIGNAL])


@pytest.mark.parametrize("code", [500, 404])
def test_no_answer_is_no_permission(alertmanager: Alertmanager, code: int) -> None:
    alertmanager.fire()
    alertmanager.code = code
    assert "Alertmanager does not tell" in SilenceCheck(alertmanager.url).held([SIGNAL])


def test_one_that_is_away_is_told_and_one_that_is_not_named_is_not_asked(alertmanager: Alertmanager) -> None:
    alertmanager.stop()
    assert "Alertmanager does not tell" in SilenceCheck(alertmanager.url).held([SIGNAL])
    assert not SilenceCheck("").held([SIGNAL])


def test_doctor_says_whether_it_is_asked_and_answers(desk: Desk, alertmanager: Alertmanager) -> None:
    assert "not asked" in checks.alertmanager(desk.runtime).detail
    settings = msgspec.structs.replace(desk.runtime.settings, alertmanager=Settings(url=alertmanager.url))
    desk.runtime.settings, desk.runtime.silences = settings, SilenceCheck(alertmanager.url)
    assert checks.alertmanager(desk.runtime).detail == f"{alertmanager.url} answers, version 0.28.1"


def test_what_it_did_not_send_is_not_asked_about(alertmanager: Alertmanager) -> None:
    alertmanager.code = 500
    seen = Signal(fingerprint="m", entity=CART, symptom="latency", name="m", starts_at=T0, source="metric")
    assert not SilenceCheck(alertmanager.url).held([seen])
