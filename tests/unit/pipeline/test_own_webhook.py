"""The action that asks a person's own webhook, in the loop: the list of addresses is the one of the moment."""

from __future__ import annotations

import msgspec
import pytest

from graph_schema.model import Hypothesis
from kt.policy import policy_of
from remediate.actions import ACTIONS, CannotAct, Mark
from remediate.plan import Plan, Target
from tests.contract.webhooks import Hook
from tests.unit.pipeline.desk import CART, T0, Desk

KEY = "a1"


@pytest.fixture
def hook() -> Hook:
    return Hook()


def planned(desk: Desk, hook: Hook) -> Plan:
    desk.guard |= {"webhooks": [f"{hook.url}/"]}
    target = desk.runtime.cluster.get("Deployment", "cart", "shop")
    assert target is not None
    wish = {"url": f"{hook.url}/do", "undo_url": f"{hook.url}/undo", "webhooks": [f"{hook.url}/"]}
    step = ACTIONS["call-webhook"].prepare(desk.runtime.cluster, {**target, "kind": "Deployment"}, wish)
    cause = Hypothesis(entity=CART, fault="Workload.Overload", probability=0.9)
    return Plan(playbook="own", hypothesis=cause, steps=(step,), risk="low", steady_state=())


def reload(desk: Desk, *webhooks: str) -> None:
    """The policy file now allows these addresses."""
    settings = desk.runtime.settings
    guard = msgspec.structs.replace(settings.guard, webhooks=webhooks)
    now = policy_of(msgspec.structs.replace(settings, guard=guard))
    desk.runtime.policy = lambda: now


def test_what_is_allowed_still_is_asked_and_taken_back(desk: Desk, hook: Hook) -> None:
    plan = planned(desk, hook)
    reload(desk, "http://other.example/", f"{hook.url}/")
    assert desk.runtime.remediator.apply(plan, 0, KEY, 1).ok
    assert desk.runtime.remediator.undo(plan, 0, KEY, {}).ok
    assert [each["what"] for each in hook.asked] == ["do", "undo"]


@pytest.mark.parametrize("below", [["other/"], []])
def test_what_is_allowed_no_more_is_neither_asked_nor_taken_back(desk: Desk, hook: Hook, below: list[str]) -> None:
    plan = planned(desk, hook)
    reload(desk, *(f"{hook.url}/{each}" for each in below))
    for outcome in (desk.runtime.remediator.apply(plan, 0, KEY, 1), desk.runtime.remediator.undo(plan, 0, KEY, {})):
        assert not outcome.ok
        assert "is not under an address of guard.webhooks" in outcome.detail
    assert hook.asked == []


def test_an_action_that_was_told_no_list_asks_nobody(desk: Desk, hook: Hook) -> None:
    step = planned(desk, hook).steps[0]
    bare = msgspec.structs.replace(step, parameters={**step.parameters, "webhooks": []})
    with pytest.raises(CannotAct, match=r"guard\.webhooks"):
        ACTIONS["call-webhook"].apply(desk.runtime.cluster, bare, Mark(action=KEY, fencing=1, at=T0.isoformat()))
    assert hook.asked == []


def test_the_target_must_still_be_there(desk: Desk, hook: Hook) -> None:
    plan = planned(desk, hook)
    gone = msgspec.structs.replace(plan.steps[0], target=Target(kind="Deployment", name="gone", namespace="shop"))
    assert desk.runtime.remediator.apply(msgspec.structs.replace(plan, steps=(gone,)), 0, KEY, 1).stood_back
    assert hook.asked == []
