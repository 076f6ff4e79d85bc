"""What ends again and again under a fix is told from what needs time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from verify.failing import ends_of, failing

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = SINCE + timedelta(seconds=60)
ARRIVING = timedelta(seconds=30)
STATES = ("running", "waiting", "terminated")


def moment(after_s: float) -> str:
    return (SINCE + timedelta(seconds=after_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def container(state: str = "waiting", restarts: int = 3, ended_s: float = 50, reason: str = "Error") -> dict[str, Any]:
    ended = {"terminated": {"reason": reason, "exitCode": 137, "finishedAt": moment(ended_s)}}
    told: dict[str, Any] = {"running": {}, "waiting": {"reason": "CrashLoopBackOff"}, "terminated": ended["terminated"]}
    return {"name": "app", "restartCount": restarts, "state": {state: told[state]}, "lastState": ended}


def pod(
    *containers: dict[str, Any], made_s: float = 1, ready_s: float | None = None, name: str = "p"
) -> dict[str, Any]:
    conditions = [] if ready_s is None else [{"type": "Ready", "status": "True", "lastTransitionTime": moment(ready_s)}]
    meta = {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": moment(made_s)}
    return {"metadata": meta, "status": {"conditions": conditions, "containerStatuses": list(containers)}}


def judged(*pods: dict[str, Any], most: int = 3, before: dict[str, int] | None = None) -> str:
    return failing(pods, before or {}, SINCE, NOW, most=most, arriving=ARRIVING)


def test_it_says_what_ended_how_often_and_how() -> None:
    said = judged(pod(container(restarts=3, reason="OOMKilled")))
    assert said == "app of Pod shop/p has ended 4 times under the fix, the last time OOMKilled, exit code 137"


def test_a_few_ends_are_forgiven() -> None:
    assert judged(pod(container(restarts=1))) == ""


def test_what_runs_again_is_given_its_time_however_often_it_ended() -> None:
    assert judged(pod(container("running", restarts=50))) == ""


def test_what_ended_before_the_fix_is_not_held_against_it() -> None:
    old = pod(container(restarts=40), made_s=-600)
    assert judged(old) == "", "nothing is known of before"
    assert judged(old, before={"p/app": 41}) == ""
    assert "has ended 3 times" in judged(old, before={"p/app": 38})
    assert judged(pod(container(restarts=40, ended_s=-1), made_s=-600), before={"p/app": 30}) == ""


def test_while_others_come_up_the_last_ones_may_still_fail() -> None:
    looping = pod(container())
    assert judged(looping, pod(container("running"), ready_s=40, name="q")) == ""
    assert judged(looping, pod(container("running"), ready_s=20, name="q")) != "", "none has come up for a while"
    assert judged(looping, pod(container("running"), made_s=-900, ready_s=-800, name="q")) != ""


def test_what_can_never_start_is_not_waited_for() -> None:
    never = {"name": "app", "restartCount": 0, "state": {"waiting": {"reason": "InvalidImageName"}}}
    assert judged(pod(never)) == "app of Pod shop/p can never start: InvalidImageName"
    pulling = {"name": "app", "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    assert judged(pod(pulling)) == "", "an image may still come"


def test_what_prepares_a_pod_may_end_well() -> None:
    done = {"name": "init", "restartCount": 2, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    one = pod()
    one["status"]["initContainerStatuses"] = [done]
    assert [each.down for each in ends_of(one)] == [False]
    failed = {**container("waiting"), "name": "init"}
    one["status"]["initContainerStatuses"] = [failed]
    assert judged(one).startswith("init of Pod shop/p has ended 4 times")


containers = st.builds(container, st.sampled_from(STATES), st.integers(0, 9), st.floats(-100, 59))
pods = st.lists(
    st.builds(
        pod, containers, made_s=st.floats(-900, 59), ready_s=st.none() | st.floats(-800, 59), name=st.uuids().map(str)
    ),
    max_size=5,
)


@given(pods, st.integers(1, 6), st.integers(0, 6))
def test_more_patience_never_gives_up_sooner(some: list[dict[str, Any]], most: int, more: int) -> None:
    assert judged(*some, most=most) or not judged(*some, most=most + more)


@given(pods, st.integers(1, 6))
def test_what_is_not_down_is_never_given_up(some: list[dict[str, Any]], most: int) -> None:
    for each in some:
        each["status"]["containerStatuses"] = [
            {**one, "state": {"running": {}}} for one in each["status"]["containerStatuses"]
        ]
    assert judged(*some, most=most) == ""


@given(pods, st.integers(1, 6))
def test_what_was_there_before_is_never_given_up_for_what_it_went_through_before(
    some: list[dict[str, Any]], most: int
) -> None:
    for each in some:
        each["metadata"]["creationTimestamp"] = moment(-1000)
    before = {each.key: each.times for one in some for each in ends_of(one)}
    assert judged(*some, most=most, before=before) == ""
