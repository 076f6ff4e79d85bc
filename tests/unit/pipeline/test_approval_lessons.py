"""Consent is a state in the log: it outlives the process that took it, and is good for one plan, once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from kt.incident.events import ActionStarted, Approved, PlanDropped, Verified
from kt.sections import Approval
from remediate.plan import Plan
from tests.unit.pipeline.desk import T0, Desk
from verify.verdict import Verdict


def asked(desk: Desk) -> Plan:
    desk.approval = Approval(low=1)
    desk.open()
    plan = desk.visit().state.plan
    assert plan is not None
    assert desk.replicas() == 2
    return plan


def agree(desk: Desk, plan: Plan) -> None:
    desk.say(Approved(at=desk.clock(), plan_digest=plan.digest, by="ada"))


def restarted(desk: Desk, folder: Path) -> Desk:
    """The same stores and cluster in a process that knows nothing else."""
    other = Desk(folder, desk.twin)
    other.clock, other.guard, other.approval = desk.clock, desk.guard, desk.approval
    return other


def test_lesson_approvals_outlive_the_process_that_took_them(desk: Desk, tmp_path: Path) -> None:
    """st2 4028, 4286: what was agreed to before a restart is done after it, once, and nobody is asked again."""
    plan = asked(desk)
    agree(desk, plan)
    other = restarted(desk, tmp_path)
    try:
        assert other.visit().state.phase == "verifying"
        assert other.replicas() == 4
        assert desk.visit().state.phase == "verifying"
    finally:
        other.runtime.close()
    assert len(desk.events(ActionStarted)) == 1


def test_lesson_approvals_count_for_the_plan_they_were_given_for_and_no_other(desk: Desk) -> None:
    """st2 4821: the target changed, the plan was made anew, and yesterday's yes is not today's."""
    plan = asked(desk)
    desk.edit({"spec": {"replicas": 3}})
    agree(desk, plan)
    desk.visit()
    assert len(desk.events(PlanDropped)) == 1
    again = desk.visit().state
    assert again.plan is not None
    assert again.plan.digest != plan.digest
    assert (again.phase, again.approved) == ("awaiting approval", False)
    agree(desk, plan)
    assert desk.visit().state.phase == "awaiting approval"
    assert desk.replicas() == 3


def test_lesson_approvals_are_used_up_by_what_was_done(desk: Desk) -> None:
    """What was taken back since it did not help is not begun once more on the same word."""
    agree(desk, asked(desk))
    desk.visit()
    desk.say(Verified(at=T0, verdict=Verdict(outcome="regressed", why="slow again")))
    for _ in range(5):
        desk.visit()
        desk.clock.forward(600)
    assert len(desk.events(ActionStarted)) == 1
    assert desk.replicas() == 2


@pytest.mark.parametrize("late", [False, True])
def test_lesson_approvals_that_come_too_late_do_nothing(desk: Desk, late: bool) -> None:
    """st2 4135: what ran out is over, also where the yes is on its way at that moment."""
    plan = asked(desk)
    state = desk.journey().state
    assert state.expires_at is not None
    if not late:
        agree(desk, plan)
    desk.clock.now = state.expires_at + timedelta(seconds=0 if not late else 1)
    if late:
        agree(desk, plan)
    assert desk.visit().state.phase == "escalated"
    assert desk.replicas() == 2
