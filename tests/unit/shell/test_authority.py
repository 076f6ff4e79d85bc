"""`kt approve`, `reject`, `revoke`, `tokens`, `stop`, `resume`, `guard` as a person types them: words, exit codes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt.cli import cli
from kt.commands.approve import settle
from kt.incident.consent import Answer, Reply, approve
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    AlertsReceived,
    Approved,
    Diagnosed,
    Escalated,
    Healed,
    PlanProposed,
    Rejected,
    UndoDropped,
)
from kt.incident.log import Append
from kt.incident.state import State
from kt.pipeline.journey import Journey
from kt.stores.sqlite_log import SqliteIncidentLog
from remediate.brakes import Trip
from remediate.plan import Difference, Plan, Step, Target
from twin.server import Twin

CAUSE = Hypothesis(entity="Deployment/shop/cart", fault="Workload.BadRevision", probability=0.9)
STEP = Step(action="restart", target=Target(kind="Deployment", name="cart", namespace="shop"), summary="restart cart")
PLAN = Plan(playbook="restart", hypothesis=CAUSE, steps=(STEP,), risk="high", steady_state=())


class Desk:
    """The command line on a folder with one incident whose plan waits for two people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"KT_DATA_DIR": str(folder), "KT_OPERATOR_TOKEN": ""}
        self.log = SqliteIncidentLog(folder / "kt.db")
        now = datetime.now(UTC)
        signal = Signal(fingerprint="f", entity=CAUSE.entity, symptom="errors", name="E", starts_at=now)
        events = (
            AlertsReceived(at=now, signals=(signal,)),
            Diagnosed(at=now, diagnosis=Diagnosis(hypotheses=(CAUSE,), causes=(0,))),
            PlanProposed(at=now, plan=PLAN, approvals_needed=2, expires_at=now + timedelta(hours=1)),
        )
        self.log.commit([Append(incident="i1", expected=0, events=events)])

    def kt(self, *words: str, token: str = "", **more: str) -> Result:
        environment = {**self.environment, "KT_OPERATOR_TOKEN": token, **more}
        return CliRunner().invoke(cli, list(words), env=environment)

    def token(self, name: str, role: str, by: str = "") -> str:
        made = self.kt("tokens", "create", name, "--role", role, "--json", token=by)
        assert made.exit_code == 0, made.output
        return str(json.loads(made.output)["token"])

    def state(self) -> Journey:
        return Journey(self.log, "i1")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_two_people_make_it_enough_and_one_twice_does_not(desk: Desk) -> None:
    assert "1 more person must agree" in desk.kt("approve", "i1", "--by", "ada", "--why", "seen").output
    again = desk.kt("approve", "i1", "--by", "ada")
    assert (again.exit_code, "agreed already" in again.output) == (0, True)
    assert not desk.state().state.approved
    assert desk.kt("approve", "i1", "--by", "grace").output.startswith("Agreed to: ")
    given = [each.event for each in desk.state().records if isinstance(each.event, Approved)]
    assert [(each.by, each.why, bool(each.where)) for each in given] == [("ada", "seen", True), ("grace", "", True)]


def test_the_answer_is_bound_to_the_plan_that_was_shown(desk: Desk) -> None:
    assert desk.kt("approve", "i1", "--plan", PLAN.digest[:8]).exit_code == 0
    other = desk.kt("approve", "i1", "--by", "grace", "--plan", "0123")
    assert (other.exit_code, "another one now" in other.output) == (1, True)


def test_consent_is_taken_back(desk: Desk) -> None:
    desk.kt("approve", "i1", "--by", "ada")
    back = desk.kt("revoke", "i1", "--by", "grace", "--why", "wait", "--json")
    assert json.loads(back.output)["approvals"]["given"] == []
    assert desk.state().state.phase == "awaiting approval"


def test_turning_down_is_kept_with_its_reason(desk: Desk) -> None:
    assert desk.kt("reject", "i1", "--by", "ada").exit_code == 2, "a reason is asked for"
    assert desk.kt("reject", "i1", "--by", "ada", "--why", "not now").exit_code == 0
    assert desk.kt("reject", "i1", "--by", "ada", "--why", "not now").exit_code == 0
    late = desk.kt("approve", "i1", "--by", "grace")
    assert (late.exit_code, "waits for nobody" in late.output) == (1, True)
    assert sum(isinstance(each.event, Rejected) for each in desk.state().records) == 1


class TestTokens:
    @pytest.fixture(autouse=True)
    def required(self, desk: Desk) -> None:
        desk.environment["KT_APPROVAL__REQUIRE_TOKENS"] = "true"

    def test_lesson_rejecting_needs_authority_too(self, desk: Desk) -> None:
        """runlore 118."""
        admin = desk.token("root", "admin")
        viewer = desk.token("vi", "viewer", by=admin)
        for words in (("approve", "i1"), ("reject", "i1", "--why", "no"), ("revoke", "i1")):
            nobody, looker = desk.kt(*words), desk.kt(*words, token=viewer)
            assert (nobody.exit_code, "operator's token" in nobody.output) == (2, True)
            assert (looker.exit_code, "vi is viewer; this takes approver" in looker.output) == (1, True)
        assert desk.state().state.approvals == ()
        assert desk.state().state.phase == "awaiting approval"

    def test_the_name_is_that_of_the_token(self, desk: Desk) -> None:
        admin = desk.token("root", "admin")
        ada = desk.token("ada", "approver", by=admin)
        assert desk.kt("approve", "i1", "--by", "grace", token=ada).exit_code == 2
        assert desk.kt("approve", "i1", token=ada).exit_code == 0
        assert [each.by for each in desk.state().state.approvals] == ["ada"]

    def test_a_token_can_be_in_a_file(self, desk: Desk) -> None:
        (desk.folder / "token").write_text(desk.token("root", "admin") + "\n")
        assert desk.kt("approve", "i1", "--token-file", str(desk.folder / "token")).exit_code == 0
        missing = desk.kt("approve", "i1", "--token-file", str(desk.folder / "none"))
        assert (missing.exit_code, "cannot be read" in missing.output) == (2, True)

    def test_the_first_token_is_an_admins_and_only_admins_make_more(self, desk: Desk) -> None:
        assert desk.kt("tokens", "create", "ada").exit_code == 2
        admin = desk.token("root", "admin")
        assert desk.kt("tokens", "create", "ada").exit_code == 2
        ada = desk.token("ada", "approver", by=admin)
        assert desk.kt("tokens", "create", "eve", token=ada).exit_code == 1

    def test_a_revoked_token_decides_nothing(self, desk: Desk) -> None:
        admin = desk.token("root", "admin")
        ada = desk.token("ada", "approver", by=admin)
        listed = {each["name"]: each for each in json.loads(desk.kt("tokens", "list", "--json").output)}
        assert all("digest" not in each for each in listed.values())
        assert desk.kt("tokens", "revoke", listed["ada"]["id"], token=admin).exit_code == 0
        answer = desk.kt("approve", "i1", token=ada)
        assert (answer.exit_code, "was revoked" in answer.output) == (1, True)

    def test_everybody_may_stop_and_an_operator_lets_go(self, desk: Desk) -> None:
        admin = desk.token("root", "admin")
        assert desk.kt("stop", "--by", "anybody").exit_code == 0
        assert desk.kt("resume").exit_code == 2
        assert desk.kt("resume", token=desk.token("op", "operator", by=admin)).exit_code == 0


def test_a_stop_is_shown_where_people_look(desk: Desk) -> None:
    assert "KT is stopped" in desk.kt("stop", "--why", "migration", "--by", "ada").output
    assert "stopped by ada" in desk.kt("incidents", "list").output
    assert json.loads(desk.kt("incidents", "list", "--json").output)[0]["incident"] == "i1", "and JSON stays JSON"
    doctor = json.loads(desk.kt("doctor", "--json", KT_BROKER_URL="memory://").output)
    assert "migration" in doctor["stop"]["detail"]
    assert "KT goes on" in desk.kt("resume").output
    assert "It was not stopped" in desk.kt("resume").output


def test_the_guard_explains_every_rule_with_its_value_and_verdict(desk: Desk) -> None:
    twin = Twin().start()
    try:
        kubeconfig = str(twin.kubeconfig)
        desk.kt("stop", "--by", "ada")
        told = desk.kt("guard", "explain", "i1", "--json", KT_KUBERNETES__KUBECONFIG=kubeconfig)
        assert told.exit_code == 0, told.output
        answer = json.loads(told.output)
        rules = {each["rule"]: each for each in answer["rules"]}
        assert answer["verdict"] == "later"
        assert rules["stop"]["why"] == "ada has stopped KT"
        assert rules["opt-in"] == {"rule": "opt-in", "value": "shop", "limit": "kt.io/remediate=enabled",
                                   "verdict": "allow", "why": "", "until": None}  # fmt: skip
        assert "another one" in answer["changed"] or "not the one" in answer["changed"]
        shown = desk.kt("guard", "explain", "i1", KT_KUBERNETES__KUBECONFIG=kubeconfig).output
        assert all(rule in shown for rule in rules)
    finally:
        twin.stop()


class TestShadow:
    def test_what_kt_would_have_done_and_how_it_ended_without_it(self, desk: Desk) -> None:
        begun = datetime.now(UTC) - timedelta(hours=2)
        later = begun + timedelta(minutes=14)
        signal = Signal(fingerprint="f", entity=CAUSE.entity, symptom="errors", name="E", starts_at=begun)
        events = (
            AlertsReceived(at=begun, signals=(signal,)),
            Diagnosed(at=begun, diagnosis=Diagnosis(hypotheses=(CAUSE,), causes=(0,))),
            PlanProposed(at=begun, plan=PLAN, approvals_needed=2, expires_at=later, shadow=True),
            Escalated(at=begun, why="KT only observes"),
            AlertsReceived(at=later, signals=(msgspec.structs.replace(signal, ends_at=later),)),
        )
        desk.log.commit([Append(incident="i2", expected=0, events=events)])
        (found,) = json.loads(desk.kt("guard", "shadow", "--json").output)
        assert (found["incident"], found["approvals"], found["ended_after_s"]) == ("i2", 2, 840.0)
        shown = desk.kt("guard", "shadow").output
        assert "1 plans for 2 incidents (1 × restart); 1 of them only after asking a person." in shown
        assert "ended without it 14 min later" in shown
        assert "would have acted on none" in desk.kt("guard", "shadow", "--days", "0.01").output


class TestApprovals:
    def test_what_waits_is_listed_with_the_words_to_answer_with(self, desk: Desk) -> None:
        shown = desk.kt("approvals").output
        assert "restart cart" in shown
        assert f"kt approve i1 --plan {PLAN.digest[:8]}" in shown
        desk.kt("approve", "i1", "--by", "ada")
        (waiting,) = json.loads(desk.kt("approvals", "--json").output)
        assert waiting["approvals"] == {"needed": 2, "given": ["ada"], "plan": PLAN.digest}
        desk.kt("approve", "i1", "--by", "grace")
        assert desk.kt("approvals").output == "Nothing waits for a decision.\n"

    def test_one_screen_shows_all_of_it(self, desk: Desk) -> None:
        shown, long = (
            re.sub(r"\d+ s ago", "", desk.kt(*words, "i1").output) for words in (["show"], ["incidents", "show"])
        )
        assert shown == long


class TestUndo:
    def test_what_was_never_done_cannot_be_taken_back(self, desk: Desk) -> None:
        answer = desk.kt("undo", "i1", "--by", "ada")
        assert (answer.exit_code, "Nothing was done that could be taken back" in answer.output) == (1, True)

    def test_it_is_asked_for_once_and_waits_for_a_worker(self, desk: Desk) -> None:
        self.healed(desk)
        first = desk.kt("undo", "i1", "--by", "ada", "--why", "too early", "--wait", "0")
        assert (first.exit_code, "It is not done yet" in first.output) == (0, True)
        assert "asked for it already" in desk.kt("undo", "i1", "--by", "grace", "--wait", "0").output
        assert desk.state().state.undo is not None

    def test_where_policy_says_so_somebody_else_agrees(self, desk: Desk) -> None:
        self.healed(desk)
        desk.environment["KT_APPROVAL__UNDO"] = "1"
        asked = json.loads(desk.kt("undo", "i1", "--by", "ada", "--json").output)
        assert (asked["waits_for_approvals"], asked["done"]) == (1, False)
        assert "take back, asked for by ada" in desk.kt("approvals").output
        own = desk.kt("approve", "i1", "--by", "ada")
        assert (own.exit_code, "somebody else has to agree" in own.output) == (1, True)
        assert desk.kt("approve", "i1", "--by", "grace").exit_code == 0
        assert desk.state().state.approved

    def test_what_differs_is_told_field_by_field(self, desk: Desk) -> None:
        self.healed(desk)
        desk.kt("undo", "i1", "--by", "ada", "--wait", "0")
        differs = Difference(target="Deployment shop/cart", field="/spec/replicas", left=4, now=7)
        why = "1 field is not as KT left it."
        desk.state().append(UndoDropped(at=datetime.now(UTC), why=why, differences=(differs,)))
        journey = desk.state()
        assert journey.state.phase == "healed"
        from kt.commands.undo import _tell

        @click.command()
        def tell() -> None:
            _tell(desk.log, journey.state, journey.state.version - 1, "")

        assert "/spec/replicas: KT left 4, now 7" in CliRunner().invoke(tell).output

    def healed(self, desk: Desk) -> None:
        now = datetime.now(UTC)
        desk.kt("approve", "i1", "--by", "ada")
        desk.kt("approve", "i1", "--by", "grace")
        desk.state().append(
            ActionStarted(at=now, action_id="a", plan_digest=PLAN.digest, step=0, fencing=1),
            ActionFinished(at=now, action_id="a", ok=True),
            Healed(at=now, why="it held"),
        )


def test_an_open_breaker_is_shown_and_closed_by_hand(desk: Desk) -> None:
    from kt.stores.sqlite_brakes import SqliteBrakes

    brakes, now = SqliteBrakes(desk.folder / "kt.db"), datetime.now(UTC)
    brakes.trip(Trip(at=now, until=now + timedelta(minutes=30), why="three failed"))
    told = json.loads(desk.kt("doctor", "--json", KT_KUBERNETES__KUBECONFIG="/nowhere").output)
    assert told["breaker"]["state"] == "odd"
    assert "three failed" in told["breaker"]["detail"]
    assert "It was open: three failed" in desk.kt("resume", "--breaker").output
    trip = brakes.tripped()
    assert trip is not None
    assert trip.until <= datetime.now(UTC)
    assert trip.closed_by
    brakes.close()


def test_lesson_approvals_no_answer_is_lost_when_the_incident_moves_meanwhile(desk: Desk) -> None:
    """st2 4135, 4286: alerts come in between looking and answering; the answer is decided on anew and kept."""
    looks = []

    def decide(state: State) -> Reply:
        looks.append(state.version)
        if len(looks) == 1:
            more = Signal(
                fingerprint="g", entity=CAUSE.entity, symptom="latency", name="Slow", starts_at=datetime.now(UTC)
            )
            Journey(desk.log, "i1").append(AlertsReceived(at=datetime.now(UTC), signals=(more,)))
        return approve(state, Answer(by="ada", at=datetime.now(UTC)))

    state, reply = settle(desk.log, "i1", decide)
    assert (reply.done, len(looks)) == (True, 2)
    assert [each.by for each in state.approvals] == ["ada"]
    assert len(state.firing) == 2
    assert [each.by for each in desk.state().state.approvals] == ["ada"]
