"""One run in the hands of one process: refused, run, aborted, or found without its runner and undone."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from graph_schema.model import Diagnosis, Entity, Relation
from kt.chaos import running
from kt.chaos.consent import agree
from kt.chaos.findings import open_incident
from kt.chaos.model import Run, Schedule, What
from kt.incident.events import AlertsReceived, Diagnosed, Escalated, PlanProposed, Postponed
from kt.incident.log import Append, Notification
from kt.pipeline.app import Pipeline, create_app
from kt.pipeline.journey import Held, Journey
from kt.runtime import Runtime
from kt.sections import Chaos, Kubernetes
from kt.settings import Settings
from verify import plain

T0 = datetime(2026, 6, 12, 15, 0, tzinfo=UTC)
THINGS = ("cart", "mail")


class World:
    def __init__(self, folder: Path, **chaos: Any) -> None:
        self.folder, self.now = folder, T0
        self.extension: dict[str, Any] = {}
        settings = Settings(
            data_dir=str(folder / "data"),
            broker_url="memory://",
            kubernetes=Kubernetes(kubeconfig=str(folder / "none")),
            chaos=Chaos(**{"enabled": True, **chaos}),
        )
        self.runtime = Runtime(settings, clock=lambda: self.now)

    def claimed(self, *method: dict[str, Any], steady: bool = True, **more: Any) -> Run:
        probe = {"type": "probe", "name": "p", "tolerance": 0, "provider": {"type": "process", "path": "true"}}
        content: dict[str, Any] = {
            "title": "t",
            "description": "d",
            "method": list(method) or [shell("act", "true")],
            "rollbacks": [shell("undo", f"echo undone >> {self.folder / 'undone'}")],
        }
        if self.extension:
            content["extensions"] = [self.extension]
        if steady:
            content["steady-state-hypothesis"] = {"title": "s", "probes": [probe]}
        text = plain.Plain(text=json.dumps(content), format="json", source="x.json")
        what = What(name="t", plain=text, game_day=more.pop("game_day", False))
        run = msgspec.structs.replace(Run(id="r", what=what, due_at=T0, claimed_at=T0), **more)
        self.runtime.chaos.commit(run)
        return run

    def carry_on(self, token: int = 1, **more: Any) -> Run:
        running.carry_on(self.runtime, "r", Held(token), **more)
        return self.run()

    def run(self) -> Run:
        found = self.runtime.chaos.run("r")
        assert found is not None
        return found

    @property
    def undone(self) -> int:
        file = self.folder / "undone"
        return len(file.read_text().splitlines()) if file.exists() else 0


def shell(name: str, line: str) -> dict[str, Any]:
    provider = {"type": "process", "path": "sh", "arguments": ["-c", line]}
    return {"type": "action", "name": name, "provider": provider}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_run_that_holds_ends_so_with_its_journal(world: World) -> None:
    world.claimed()
    run = world.carry_on()
    assert (run.phase, run.outcome, run.to_undo, world.undone) == ("ended", "held", "", 1)
    journals = world.runtime.chaos.journals("r")
    assert [each["activity"]["name"] for each in journals["run"]["run"]] == ["act"]
    world.carry_on()
    assert world.undone == 1


def test_one_without_a_steady_state_shows_nothing(world: World) -> None:
    world.claimed(steady=False)
    assert world.carry_on().outcome == "inconclusive"


def test_a_run_that_regressed_opens_an_incident_for_a_person_once(world: World) -> None:
    seen = world.folder / "seen"
    probe = {"type": "probe", "name": "p", "tolerance": 0, "provider": shell("", f"test ! -e {seen}")["provider"]}
    run = world.claimed(shell("act", f"touch {seen}"))
    content = plain.parse(run.what.plain) | {"steady-state-hypothesis": {"title": "s", "probes": [probe]}}
    content["extensions"] = [{"name": "kt", "targets": ["Service/shop/cart"]}]
    what = msgspec.structs.replace(run.what, plain=plain.Plain(text=json.dumps(content), format="json", source="x"))
    world.runtime.chaos.commit(msgspec.structs.replace(run, version=2, what=what))
    run = world.carry_on()
    assert (run.outcome, run.targets) == ("regressed", ("shop/cart",))
    (entry,) = world.runtime.log.entries()
    journey = Journey(world.runtime.log, entry.incident)
    assert (entry.phase, journey.state.chaos_runs) == ("escalated", ("r",))
    assert "kt chaos report r" in journey.state.ended_why
    assert [signal.entity for signal in journey.signals] == ["Service/shop/cart"]
    assert open_incident(world.runtime, run, ()) == entry.incident
    assert len(Journey(world.runtime.log, entry.incident).records) == 2


def test_one_that_chaos_toolkit_refuses_says_its_reason(world: World) -> None:
    bad = {"type": "action", "name": "bad", "provider": {"type": "process", "path": "no-such-program"}}
    world.claimed(bad)
    run = world.carry_on()
    assert (run.outcome, "no-such-program" in run.why, world.undone) == ("refused", True, 0)


def test_a_run_whose_runner_died_gets_exactly_its_rollbacks(world: World) -> None:
    run = world.claimed(shell("act", f"touch {world.folder / 'acted'}"))
    undoing = plain.undoing(plain.parse(run.what.plain))
    assert undoing is not None
    world.runtime.chaos.commit(
        msgspec.structs.replace(
            run, version=2, phase="running", host="gone", fencing=1, started_at=T0, to_undo=plain.dump(undoing)
        )
    )
    run = world.carry_on(token=2)
    assert (run.outcome, world.undone, (world.folder / "acted").exists()) == ("aborted", 1, False)
    assert "its runner on gone died" in run.why
    assert [each["status"] for each in world.runtime.chaos.journals("r")["undo"]["rollbacks"]] == ["succeeded"]


def test_rollbacks_that_do_not_work_are_tried_again_and_then_told_to_a_person(world: World) -> None:
    broken = shell("undo", "sleep 5")
    broken["provider"]["timeout"] = 0.1
    undoing = {"title": "Undo", "description": "d", "method": [], "rollbacks": [broken]}
    run = world.claimed(phase="running", host="gone", started_at=T0, to_undo=plain.dump(undoing))
    for tries in range(1, running.MOST_UNDO_TRIES):
        run = world.carry_on(token=tries)
        assert (run.phase, run.undo_tries) == ("undoing", tries)
    run = world.carry_on(token=9)
    assert (run.outcome, "a person has to look" in run.why) == ("aborted", True)


def test_a_runner_that_lost_its_lease_rolls_back_and_leaves_the_verdict_to_the_other(world: World) -> None:
    world.claimed(shell("act", f"touch {world.folder / 'acted'}; sleep 60"))
    lease = Held(1)
    thread = threading.Thread(target=running.carry_on, args=(world.runtime, "r", lease))
    thread.start()
    while not (world.folder / "acted").exists():
        thread.join(0.05)
    run = world.run()
    world.runtime.chaos.commit(msgspec.structs.replace(run, version=run.version + 1, phase="undoing", fencing=2))
    lease.lost.set()
    thread.join()
    assert (world.run().phase, world.undone) == ("undoing", 1)


def test_one_that_was_asked_to_end_before_it_began_disturbs_nothing(world: World) -> None:
    world.claimed()
    running.ask_to_end(world.runtime.chaos, "r", "ended by ann")
    run = world.carry_on()
    assert (run.outcome, run.started_at, "ended by ann" in run.why) == ("aborted", None, True)
    assert running.ask_to_end(world.runtime.chaos, "r", "again") is None


def test_one_whose_command_is_gone_is_not_begun_by_others(world: World) -> None:
    world.claimed(asked_by="ann")
    run = world.carry_on()
    assert (run.outcome, run.started_at) == ("aborted", None)


def test_a_run_waits_until_enough_people_agree_to_exactly_it(tmp_path: Path) -> None:
    world = World(tmp_path, approvals=2, late_s=5.0)
    run = world.claimed()
    assert world.carry_on().phase == "claimed"
    for person in ("ann", "ann"):
        running.approve(world.runtime.chaos, "r", person, T0)
    other = msgspec.structs.replace(run.what, variables=("a=1",))
    now = world.run()
    stolen = msgspec.structs.replace(now, version=now.version + 1, agreed=(*now.agreed, agree(
        msgspec.structs.replace(now, what=other, agreed=()), "eve", T0).agreed[0]))  # fmt: skip
    world.runtime.chaos.commit(stolen)
    assert world.carry_on().phase == "claimed"
    world.now += timedelta(minutes=20)
    running.approve(world.runtime.chaos, "r", "bob", world.now)
    assert world.carry_on().outcome == "held"
    assert running.approve(world.runtime.chaos, "r", "cid", world.now) is None


def test_a_run_that_nobody_agreed_to_in_time_and_one_by_hand_are_refused(tmp_path: Path) -> None:
    world = World(tmp_path, approvals_risky=1)
    world.claimed(game_day=True)
    world.now += timedelta(hours=1)
    run = world.carry_on()
    assert (run.outcome, run.why, world.undone) == ("refused", "0 of 1 people agree to it in time", 0)
    hand = World(tmp_path / "hand", approvals=2)
    hand.claimed(asked_by="ann")
    assert "cannot wait for others" in hand.carry_on(by="ann").why
    alone = World(tmp_path / "alone", approvals=1)
    alone.claimed(asked_by="ann")
    assert alone.carry_on(by="ann").outcome == "held"


@pytest.mark.parametrize(("missed", "outcome"), [("skip", "skipped"), ("once", "held")])
def test_one_that_no_worker_took_up_in_time_follows_the_policy(world: World, missed: str, outcome: str) -> None:
    run = world.claimed(schedule="s")
    policy: Any = missed
    world.runtime.chaos.commit(Schedule(id="s", what=run.what, cron="0 * * * *", missed=policy, created_at=T0))
    world.now = T0 + timedelta(hours=1)
    assert world.carry_on().outcome == outcome


def alert(status: str = "firing", at: datetime = T0) -> bytes:
    one = {
        "status": status,
        "labels": {"alertname": "Errors", "namespace": "shop", "service": "cart"},
        "startsAt": at.isoformat(),
        "fingerprint": "f",
    }
    return msgspec.json.encode({"version": "4", "groupKey": "g", "alerts": [one]})


def opened_during(world: World, *, game_day: bool = False, alert_at: datetime = T0) -> tuple[Pipeline, str]:
    """An incident that was raised while a run was on, diagnosed."""
    world.claimed(game_day=game_day, phase="running", started_at=T0)
    pipeline: Pipeline = create_app(world.runtime).pipeline
    world.now = T0 + timedelta(seconds=5)
    world.runtime.log.receive([Notification(id="1", received_at=world.now, body=alert(at=alert_at))])
    pipeline.sense()
    (entry,) = world.runtime.log.entries()
    return pipeline, entry.incident


def propose(world: World, pipeline: Pipeline, incident: str) -> list[object]:
    """What the next visit of remediation logs."""
    journey = Journey(world.runtime.log, incident)
    if journey.state.phase == "new":
        diagnosed = Diagnosed(at=world.now, diagnosis=Diagnosis(hypotheses=(), causes=()))
        world.runtime.log.commit([Append(incident=incident, expected=journey.state.version, events=(diagnosed,))])
    before = len(Journey(world.runtime.log, incident).records)
    pipeline.remediate(incident)
    return [record.event for record in Journey(world.runtime.log, incident).records[before:]]


def test_what_is_raised_during_a_run_is_marked_and_left_alone_until_the_aftermath_is_over(world: World) -> None:
    pipeline, incident = opened_during(world)
    (first,) = [each.event for each in Journey(world.runtime.log, incident).records]
    assert isinstance(first, AlertsReceived)
    assert first.chaos_runs == ("r",)
    (event,) = propose(world, pipeline, incident)
    assert isinstance(event, Postponed)
    assert "chaos run r (t)" in event.why
    run = world.run()
    over = msgspec.structs.replace(run, version=run.version + 1, phase="ended", ended_at=world.now, outcome="held")
    world.runtime.chaos.commit(over)
    world.now += timedelta(seconds=world.runtime.settings.chaos.aftermath_s + 1)
    (event,) = propose(world, pipeline, incident)
    assert isinstance(event, Escalated)
    assert "still there" in event.why


@pytest.mark.parametrize(
    ("targets", "left"),
    [
        (["Deployment/shop/cart"], True),
        (["Deployment/shop/mail"], False),
        (["Deployment/shop/mail", "Deployment/shop/cart"], True),
        # What is not in the graph may be anywhere.
        (["Deployment/shop/gone"], True),
        ([], True),
    ],
)
def test_what_is_far_from_what_a_run_says_it_disturbs_is_no_affair_of_it(
    world: World, targets: list[str], left: bool
) -> None:
    things = [Entity(id=f"Deployment/shop/{name}", kind="Deployment", name=name, namespace="shop") for name in THINGS]
    cart = Entity(id="Service/shop/cart", kind="Service", name="cart", namespace="shop")
    ways = [Relation("Service/shop/cart", "Deployment/shop/cart", "SELECTS")]
    world.runtime.graph.upsert([*things, cart], ways, at=T0)
    world.extension = {"name": "kt", "targets": targets}
    pipeline, incident = opened_during(world)
    (event,) = propose(world, pipeline, incident)
    assert ("chaos run" in str(event)) == left


def test_on_a_game_day_what_is_raised_is_remedied_as_always(world: World) -> None:
    pipeline, incident = opened_during(world, game_day=True)
    (event,) = propose(world, pipeline, incident)
    assert not isinstance(event, PlanProposed)
    assert "chaos" not in str(event)


def test_what_fired_before_a_run_began_was_not_raised_by_it(world: World) -> None:
    _, incident = opened_during(world, alert_at=T0 - timedelta(seconds=1))
    assert Journey(world.runtime.log, incident).state.chaos_runs == ()
