"""Messages to people: what is worth one, that it arrives, and that a service that fails holds and tells nothing."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt.cli import cli
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    AlertsReceived,
    Diagnosed,
    Escalated,
    Event,
    Healed,
    PlanDropped,
    PlanProposed,
)
from kt.incident.log import Record
from kt.incident.state import fold
from kt.notify import AppriseService, Message, Messenger, messages, services
from kt.settings import BadSettings
from remediate.plan import Plan, Step, Target
from tests.e2e.installation import until

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CAUSE = Hypothesis(entity="Deployment/shop/cart", fault="Workload.Overload", probability=0.9)
STEP = Step(
    action="scale-out", target=Target(kind="Deployment", name="cart", namespace="shop"),
    summary="scale cart from 2 to 4 replicas", diff="+ password: hunter2",
)  # fmt: skip
PLAN = Plan(
    playbook="scale-out", hypothesis=CAUSE, steps=(STEP,), risk="medium", steady_state=(),
    blast_radius=("Deployment/shop/cart",),
)  # fmt: skip
MESSAGE = Message(kind="outcome", title="Healed", body="it held")
SIGNAL = Signal(fingerprint="f", entity=CAUSE.entity, symptom="latency", name="Slow", starts_at=T0)
DIAGNOSED = Diagnosed(at=T0, diagnosis=Diagnosis(hypotheses=(CAUSE,), causes=(0,)))


def proposed(needed: int = 1) -> PlanProposed:
    return PlanProposed(at=T0, plan=PLAN, approvals_needed=needed, expires_at=T0 + timedelta(hours=1))


def told(*events: Event) -> list[Message]:
    before = (AlertsReceived(at=T0, signals=(SIGNAL,)), DIAGNOSED)
    records = [
        Record(incident="i1", version=number, event=event, previous="", hash="")
        for number, event in enumerate((*before, *events), 1)
    ]
    return list(messages(records[len(before) :], fold("i1", (*before, *events))))


def test_a_plan_that_waits_for_consent_says_all_that_is_needed_and_shows_no_diff() -> None:
    (message,) = told(proposed())
    assert (message.kind, message.title) == ("proposed", "KT asks: scale cart from 2 to 4 replicas")
    for said in ("Workload.Overload of Deployment/shop/cart", "Risk: medium", "2026-03-01 13:00 UTC", "kt show i1",
                 f"kt approve i1 --plan {PLAN.digest[:8]}"):  # fmt: skip
        assert said in message.body
    assert "hunter2" not in message.body


def test_what_needs_nobody_is_no_news_until_it_has_ended() -> None:
    started = ActionStarted(at=T0, action_id="a", plan_digest=PLAN.digest, step=0, fencing=1)
    assert told(proposed(0), started, ActionFinished(at=T0, action_id="a", ok=True)) == []
    (message,) = told(proposed(0), started, ActionFinished(at=T0, action_id="a", ok=True), Healed(at=T0, why="held"))
    assert (message.kind, message.title[:8]) == ("outcome", "Healed: ")
    assert told(Healed(at=T0, why="ended by itself")) == [], "nobody was asked and nothing was done"


def test_a_plan_that_nobody_decided_on_is_told_once() -> None:
    why = "Nobody decided on it in time."
    lapsed = told(PlanDropped(at=T0, plan_digest=PLAN.digest, why=why), Escalated(at=T0, why=why))
    assert [(each.kind, why in each.body) for each in lapsed] == [("expired", True)]
    assert [each.kind for each in told(proposed(1), Escalated(at=T0, why="KT only observes"))] == ["escalated"]


class Receiver:
    """A service over HTTP that keeps what it is sent."""

    def __init__(self, status: int = 200) -> None:
        self.got: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://ann:s3cret@127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_a_message_arrives_through_apprise(receiver: Receiver) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    messenger = Messenger(services(receiver.url), ["outcome"], lambda *what: counts.update([what]))
    messenger.send(MESSAGE)
    until(lambda: counts["json", "sent"] == 1, "it is so")
    messenger.close()
    assert [(each["title"], each["message"]) for each in receiver.got] == [("Healed", "it held")]


def test_a_service_that_hangs_holds_nobody_and_keeps_no_other_waiting(receiver: Receiver) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hanging = f"json://127.0.0.1:{silent.getsockname()[1]}/?rto=30"
        counts: Counter[tuple[str, str]] = Counter()
        messenger = Messenger(services(f"{hanging}\n{receiver.url}"), ["outcome"], lambda *what: counts.update([what]))
        for _ in range(3):
            messenger.send(MESSAGE)
        until(lambda: len(receiver.got) == 3, "it is so")
        assert counts["json", "failed"] == 0, "the other one still hangs"


def test_what_fails_is_tried_again_then_counted_and_no_address_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    failing = Receiver(status=500)
    counts: Counter[tuple[str, str]] = Counter()
    messenger = Messenger(services(failing.url), ["outcome"], lambda *what: counts.update([what]), pause_s=0.01)
    messenger.send(MESSAGE)
    until(lambda: counts["json", "failed"] == 1, "it is so")
    messenger.close()
    assert len(failing.got) == 3
    failing.server.shutdown()
    failing.server.server_close()
    seen = "".join(capfd.readouterr())
    assert "s3cret" not in seen
    assert "127.0.0.1" not in seen
    assert "message not delivered" in seen


def test_when_too_many_wait_the_newest_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    held, counts = threading.Event(), Counter[tuple[str, str]]()

    class Slow(AppriseService):
        def send(self, message: Message) -> bool:
            return held.wait(20)

    messenger = Messenger([Slow("slow://x")], ["outcome"], lambda *what: counts.update([what]))
    for _ in range(250):
        messenger.send(MESSAGE)
    assert counts["slow", "dropped"] >= 49
    held.set()
    until(lambda: counts["slow", "sent"] + counts["slow", "dropped"] == 250, "it is so")
    messenger.close()


def test_only_the_kinds_asked_for_are_sent() -> None:
    records = [Record(incident="i", version=1, event=Escalated(at=T0, why="x"), previous="", hash="")]
    sent: list[Message] = []

    class Kept(AppriseService):
        def send(self, message: Message) -> bool:
            sent.append(message)
            return True

    for kinds in (["proposed"], ["escalated"]):
        messenger = Messenger([Kept("k://x")], kinds, lambda *_: None)  # type: ignore[arg-type]  # as settings give them
        messenger.tell(records, fold("i", [each.event for each in records]))
        messenger.close()
    assert [each.kind for each in sent] == ["escalated"]


def test_an_address_that_apprise_does_not_know_is_told_without_telling_it(receiver: Receiver) -> None:
    with pytest.raises(BadSettings, match=r"address 2 of 2 \(nonsense\)") as caught:
        services(f"{receiver.url} nonsense://user:s3cret@host")
    assert "s3cret" not in str(caught.value)


def test_kt_notify_tells_who_takes_messages(receiver: Receiver, tmp_path: Path) -> None:
    held = tmp_path / "urls"
    held.write_text(receiver.url + "\n")
    environment = {"KT_DATA_DIR": str(tmp_path), "KT_NOTIFY__URLS_FILE": str(held)}
    answer = CliRunner().invoke(cli, ["notify"], env=environment)
    assert (answer.exit_code, answer.output) == (0, "1. json: taken\n")
    shown = CliRunner().invoke(cli, ["doctor", "--settings"], env=environment)
    assert json.loads(shown.output)["notify"]["urls"] == "***"
