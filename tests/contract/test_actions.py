"""What every action promises, on the twin and on a real cluster: what it says it does, once, and it goes back.

On the real cluster the stories of the playbooks (test_playbooks.py) tell the same of nearly all of them."""

from __future__ import annotations

import msgspec
import pytest

from remediate.actions import ACTIONS, CannotAct, Mark, Outcome
from remediate.actions.base import FENCING, diff
from remediate.actions.field import ROLLED
from remediate.cluster import Object
from remediate.plan import Step
from tests.contract.action_cases import ANOTHER_FIELD, CASES, MARK, Case, changed, marked, plain, seen, state
from tests.contract.clusters import Place, until
from tests.contract.webhooks import hook

OWN = ("run-job", "call-webhook")
"""Of what the stories of playbooks tell on the real cluster as well only these, of which no playbook is made."""


@pytest.fixture
def place(planted: Place) -> Place:
    return planted


@pytest.fixture(params=marked({name: name for name in CASES}))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = CASES[request.param]
    return found


def test_every_action_is_held_to_this_contract() -> None:
    assert {case.action for case in CASES.values()} == set(ACTIONS)


def prepared(place: Place, case: Case) -> tuple[Object, Step]:
    target = case.make(place)
    own = {**case.parameters, **(case.of_place(place) if case.of_place else {})}
    step = ACTIONS[case.action].prepare(place.cluster, target, {"namespaces": [place.namespace], **own})
    return target, step


def now(place: Place, step: Step) -> Object:
    return place.get(step.target.kind, step.target.name)


def go_on(place: Place, step: Step, mark: Mark = MARK) -> Outcome:
    """What the pipeline does with a step that was begun: look first, act only when it was not done."""
    action = ACTIONS[step.action]
    return action.observe(place.cluster, step, mark.action) or action.apply(place.cluster, step, mark)


@pytest.mark.few_real(*OWN)
def test_preparing_changes_nothing_and_its_diff_is_the_effect(place: Place, case: Case) -> None:
    before, step = prepared(place, case)
    if step.target.kind == "Pod":
        assert "deletionTimestamp" not in now(place, step)["metadata"]
        assert ACTIONS[step.action].apply(place.cluster, step, MARK).ok
        return
    if step.target.kind != before["kind"]:
        before = now(place, step)
    assert state(now(place, step)) == state(before)
    assert ACTIONS[step.action].apply(place.cluster, step, MARK).ok
    if case.elsewhere:
        assert state(now(place, step)) == state(before)
        return
    done = diff(plain(before), plain(now(place, step)))
    assert changed(step.diff) == changed(done)


@pytest.mark.few_real
def test_killed_before_the_effect_it_is_seen_as_not_done_and_done_then(place: Place, case: Case) -> None:
    _, step = prepared(place, case)
    assert ACTIONS[step.action].observe(place.cluster, step, MARK.action) is None
    assert go_on(place, step).ok


@pytest.mark.few_real(*OWN)
def test_killed_after_the_effect_it_is_seen_as_done_and_nothing_is_done_twice(place: Place, case: Case) -> None:
    _, step = prepared(place, case)
    action = ACTIONS[step.action]
    first = action.apply(place.cluster, step, MARK)
    if not case.seen:
        assert go_on(place, step).ok
        assert [each["id"] for each in hook().asked][-2:] == [MARK.action] * 2  # for whoever takes it to know it by
        return
    if step.action == "evict-pods":
        until(lambda: action.observe(place.cluster, step, MARK.action), "the pods have moved")
    done = action.observe(place.cluster, step, MARK.action)
    assert done is not None
    assert done.ok
    assert done.undo == first.undo
    if step.target.kind in ("Deployment", "ConfigMap", "HorizontalPodAutoscaler"):
        was = state(now(place, step)), now(place, step)["metadata"].get("generation")
        assert go_on(place, step).ok
        assert (state(now(place, step)), now(place, step)["metadata"].get("generation")) == was


@pytest.mark.parametrize(
    "remembered",
    [
        pytest.param(True, id="with the outcome logged", marks=pytest.mark.few_real),
        pytest.param(False, id="killed before it was logged", marks=pytest.mark.few_real(*OWN)),
    ],
)
def test_undone_it_is_as_before_field_by_field(place: Place, case: Case, remembered: bool) -> None:
    before, step = prepared(place, case)
    action = ACTIONS[step.action]
    outcome = action.apply(place.cluster, step, MARK)
    if not case.goes_back:
        assert action.undo(place.cluster, step, MARK.action, outcome.undo).ok
        return
    assert state(now(place, step)) != state(before)
    if step.target.kind in ROLLED:
        # The controllers have seen it, and given revisions new numbers.
        until(lambda: seen(now(place, step)), "the controller has seen it")
    assert action.undo(place.cluster, step, MARK.action, outcome.undo if remembered else {}).ok
    until(lambda: state(now(place, step)) == state(before), "the state before")
    assert action.observe(place.cluster, step, MARK.action) is None


@pytest.mark.few_real
def test_undoing_twice_does_nothing_more(place: Place, case: Case) -> None:
    before, step = prepared(place, case)
    action = ACTIONS[step.action]
    outcome = action.apply(place.cluster, step, MARK)
    for _ in range(2):
        assert action.undo(place.cluster, step, MARK.action, outcome.undo).ok
    if case.goes_back:
        assert state(now(place, step)) == state(before)


@pytest.mark.few_real
def test_what_somebody_else_has_changed_since_is_not_undone(place: Place, case: Case) -> None:
    if not case.goes_back or case.meddle is None:
        return
    _, step = prepared(place, case)
    action = ACTIONS[step.action]
    outcome = action.apply(place.cluster, step, MARK)
    ours: dict[str, Object] = {
        "scale-up": {"spec": {"paused": True}},
        "leave-zone": {"spec": {"paused": True}},
        "pause-cronjob": {"spec": {"suspend": False}},
        "resume-cronjob": {"spec": {"suspend": True}},
        "roll-back": {"spec": {"paused": True}},
        "pause-rollout": {"spec": {"paused": None}},
        "resume-rollout": {"spec": {"paused": True}},
        "cordon": {"spec": {"unschedulable": None}},
        "uncordon": {"spec": {"unschedulable": True}},
    }
    theirs = case.meddle if step.target.kind in ("StatefulSet", "DaemonSet") else ours.get(case.action, case.meddle)
    patch(place, step, theirs)
    if case.action in ANOTHER_FIELD:
        # Another field of the object is nobody's reason to leave the action's own as it is.
        undone = action.undo(place.cluster, step, MARK.action, outcome.undo)
        assert undone.ok
        assert "back to" in undone.detail
        assert now(place, step)["spec"].items() >= theirs["spec"].items()
        return
    left = state(now(place, step))
    undone = action.undo(place.cluster, step, MARK.action, outcome.undo)
    assert undone.ok
    assert "left as it is" in undone.detail
    assert state(now(place, step)) == left


@pytest.mark.few_real
def test_a_target_that_changed_since_the_plan_is_refused(place: Place, case: Case) -> None:
    _, step = prepared(place, case)
    if case.meddle is None:
        step = msgspec.structs.replace(step, target=msgspec.structs.replace(step.target, uid="another"))
    else:
        patch(place, step, case.meddle)
    before = state(now(place, step))
    with pytest.raises(CannotAct):
        ACTIONS[step.action].apply(place.cluster, step, MARK)
    assert state(now(place, step)) == before


@pytest.mark.few_real
def test_a_later_holder_of_the_target_is_not_overruled(place: Place, case: Case) -> None:
    _, step = prepared(place, case)
    patch(place, step, {"metadata": {"annotations": {FENCING: str(MARK.fencing + 1)}}})
    before = state(now(place, step))
    with pytest.raises(CannotAct, match="later holder"):
        ACTIONS[step.action].apply(place.cluster, step, MARK)
    assert state(now(place, step)) == before


def patch(place: Place, step: Step, change: Object) -> None:
    at = step.target
    place.cluster.patch(at.kind, at.name, at.namespace, change)
