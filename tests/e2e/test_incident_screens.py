"""What a person on call sees and says: list, screen, watch, approve and reject, each as a command on a real log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from graph_schema.model import Diagnosis, Evidence, Hypothesis, Signal
from kt.incident.events import AlertsReceived, Diagnosed, Escalated, Event, Healed, PlanProposed
from kt.incident.log import Append
from kt.stores.sqlite_log import SqliteIncidentLog
from remediate.plan import Plan, Step, Target
from tests.e2e.installation import interruptible

COMMAND = [sys.executable, "-c", "from kt.cli import main; main()"]
SEEN = Signal(fingerprint="f", entity="Service/shop/cart", symptom="errors", name="Errors", starts_at=datetime.now(UTC))
LOST = Signal(
    fingerprint="g", entity="Unmapped/Odd", symptom="other", name="Odd", starts_at=datetime.now(UTC),
    labels={"alertname": "Odd", "job": "backup"}, mapped=False,
)  # fmt: skip
CAUSE = Hypothesis(
    entity="Deployment/shop/cart",
    fault="Workload.BadRevision",
    probability=0.93,
    explains=("f",),
    paths=(("Deployment/shop/cart", "Pod/shop/cart-1", "Service/shop/cart"),),
    evidence_for=(Evidence(text="rollout 6 s before"),),
    evidence_against=(Evidence(text="no restarts are seen"),),
)
OTHER = Hypothesis(entity="Node/a", fault="Node.NotReady", probability=0.04)
PLAN = Plan(
    playbook="rollback",
    hypothesis=CAUSE,
    steps=(
        Step(
            action="roll-back",
            target=Target(kind="Deployment", name="cart", namespace="shop"),
            summary="roll cart back",
            diff="--- now\n+++ planned\n@@ -1 +1 @@\n-image: bad\n+image: good\n",
        ),
    ),
    risk="medium",
    steady_state=("symptoms-gone",),
    blast_radius=("Deployment/shop/cart", "Service/shop/front"),
    undo="the template before",
)


class Desk:
    """A log with commands on it."""

    def __init__(self, folder: Path) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("KT_")}
        self.environment = clean | {"KT_DATA_DIR": str(folder)}
        self.log = SqliteIncidentLog(folder / "kt.db")

    def waiting(self, incident: str, *, needed: int = 1) -> None:
        now = datetime.now(UTC)
        events: tuple[Event, ...] = (
            AlertsReceived(at=now, signals=(SEEN, LOST)),
            Diagnosed(at=now, diagnosis=Diagnosis(hypotheses=(CAUSE, OTHER), causes=(0,))),
            PlanProposed(at=now, plan=PLAN, approvals_needed=needed, expires_at=now + timedelta(hours=1)),
        )
        self.log.commit([Append(incident=incident, expected=0, events=events)])

    def add(self, incident: str, event: Event) -> None:
        version = len(self.log.load(incident))
        self.log.commit([Append(incident=incident, expected=version, events=(event,))])

    def kt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            [*COMMAND, *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "Traceback" not in answer.stderr
        return answer

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*COMMAND, *arguments], env=self.environment, stdout=pipe, stderr=pipe, text=True, preexec_fn=interruptible
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path)
    yield one
    one.log.close()


def test_the_screen_has_all_there_is_to_decide_on(desk: Desk) -> None:
    desk.waiting("aaaaaaaa1111", needed=2)
    shown = desk.kt("incidents", "show", "aaaa").stdout
    for said in (
        "awaiting approval", "2 people to agree", "93%", "Deployment/shop/cart → Pod/shop/cart-1 → Service/shop/cart",
        "+ rollout 6 s before", "- no restarts are seen", "4% Node.NotReady of Node/a", "roll cart back",
        "-image: bad", "+image: good", "Service/shop/front", "the template before", "risk medium",
        f"kt approve aaaaaaaa --plan {PLAN.digest[:8]}", "Odd (job=backup)", "PlanProposed",
    ):  # fmt: skip
        assert said in shown
    assert max(len(line) for line in shown.splitlines()) <= 100
    assert len(shown.splitlines()) <= 40


def test_the_list_says_who_is_waited_for_and_what_maps_to_nothing(desk: Desk) -> None:
    desk.waiting("aaaaaaaa1111")
    desk.waiting("aaaaaaaa2222")
    desk.add("aaaaaaaa2222", Escalated(at=datetime.now(UTC), why="Nothing helped."))
    shown = desk.kt("incidents", "list").stdout
    for said in ("aaaaaaaa1 ", "aaaaaaaa2 ", "waits for 1 person to agree", "Nothing helped.", "look at: Odd"):
        assert said in shown
    (listed,) = json.loads(desk.kt("incidents", "list", "--open", "--json").stdout)
    assert (listed["incident"], listed["phase"]) == ("aaaaaaaa1111", "awaiting approval")
    assert listed["approvals"] == {"needed": 1, "given": [], "plan": PLAN.digest}
    assert [each["name"] for each in listed["unmapped"]] == ["Odd"]


def test_saying_yes_twice_is_saying_it_once(desk: Desk) -> None:
    desk.waiting("aaaaaaaa1111", needed=2)
    first = desk.kt("approve", "aaaa", "--by", "ann", "--plan", PLAN.digest[:8])
    assert (first.returncode, "1 more person must agree" in first.stdout) == (0, True)
    second = json.loads(desk.kt("approve", "aaaa", "--by", "ann", "--json").stdout)
    assert (second["already"], second["approvals"]) == (True, {"needed": 2, "given": ["ann"]})
    assert len(desk.log.load("aaaaaaaa1111")) == 4
    assert "roll cart back" in desk.kt("approve", "aaaa", "--by", "bob").stdout
    desk.add("aaaaaaaa1111", Healed(at=datetime.now(UTC), why="well"))
    late = desk.kt("approve", "aaaa", "--by", "bob")
    assert (late.returncode, "agreed already" in late.stdout) == (0, True)


def test_an_answer_to_another_plan_decides_nothing(desk: Desk) -> None:
    desk.waiting("aaaaaaaa1111")
    for command in (["approve", "aaaa"], ["reject", "aaaa", "--why", "no"]):
        answer = desk.kt(*command, "--plan", "ffffffff")
        assert (answer.returncode, PLAN.digest[:8] in answer.stderr) == (1, True)
    assert len(desk.log.load("aaaaaaaa1111")) == 3


def test_turning_down_twice_is_turning_down_once(desk: Desk) -> None:
    desk.waiting("aaaaaaaa1111")
    for already, said in ((False, "Turned down."), (True, "ann has turned it down already.")):
        answer = json.loads(desk.kt("reject", "aaaa", "--why", "no", "--by", "ann", "--json").stdout)
        assert (answer["said"], answer["already"]) == (said, already)
    assert len(desk.log.load("aaaaaaaa1111")) == 4
    after = desk.kt("approve", "aaaa", "--by", "ann")
    assert (after.returncode, "it waits for nobody" in after.stderr) == (1, True)


@pytest.mark.parametrize(
    ("end", "code"),
    [(Healed(at=datetime.now(UTC), why="it held"), 0), (Escalated(at=datetime.now(UTC), why="it did not"), 1)],
)
def test_watching_one_incident_ends_with_it(desk: Desk, end: Event, code: int) -> None:
    desk.waiting("aaaaaaaa1111")
    watching = desk.start("incidents", "watch", "aaaa", "--json")
    assert watching.stdout is not None
    told: list[dict[str, Any]] = [json.loads(watching.stdout.readline()) for _ in range(3)]
    desk.add("aaaaaaaa1111", end)
    rest, _ = watching.communicate(timeout=60)
    told += [json.loads(line) for line in rest.splitlines()]
    assert [each["version"] for each in told] == [1, 2, 3, 4]
    assert told[-1]["event"]["why"] == end.why if isinstance(end, Healed | Escalated) else ""
    assert watching.returncode == code


def test_watching_all_tells_what_happens_until_it_is_interrupted(desk: Desk) -> None:
    desk.waiting("aaaaaaaa1111")
    watching = desk.start("incidents", "watch")
    assert watching.stdout is not None
    stopper = threading.Timer(60, watching.kill)
    stopper.start()
    assert "1 open incidents" in watching.stdout.readline()
    desk.add("aaaaaaaa1111", Escalated(at=datetime.now(UTC), why="enough"))
    line = watching.stdout.readline()
    assert ("aaaaaaaa1111" in line, "enough" in line) == (True, True)
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=60)
    stopper.cancel()
    assert watching.returncode == 130
    assert "Traceback" not in errors
