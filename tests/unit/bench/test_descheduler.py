"""The descheduler's policies do here what its documentation says of them."""

from __future__ import annotations

import pytest

from bench.descheduler import (
    PUBLISHED,
    Pod,
    failed,
    life_time,
    low_node_utilization,
    too_many_restarts,
)


def pod(*, restarts: int = 0, waiting: str = "", phase: str = "Running", age_s: float = 60, node: str = "n1") -> Pod:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    status = {"phase": phase, "containerStatuses": [{"restartCount": restarts, "state": state}]}
    return Pod({"spec": {"nodeName": node}, "status": status}, age_s)


def test_restarts_count_from_the_threshold_on_and_only_in_the_states_that_are_asked_for() -> None:
    pods = [pod(restarts=99), pod(restarts=100), pod(restarts=100, waiting="CrashLoopBackOff")]
    assert too_many_restarts(100)(pods, 60) == [False, True, True]
    assert too_many_restarts(100, ["CrashLoopBackOff"])(pods, 60) == [False, False, True]


def test_a_pod_is_evicted_once_it_is_older_and_in_one_of_the_states() -> None:
    pods = [pod(age_s=100), pod(age_s=101), pod(age_s=101, phase="Pending")]
    assert life_time(100)(pods, 60) == [False, True, True]
    assert life_time(100, ["Pending"])(pods, 60) == [False, False, True]
    assert life_time(None, ["ImagePullBackOff"])([pod(waiting="ImagePullBackOff"), pod()], 60) == [True, False]


def test_failed_pods_have_a_least_age() -> None:
    assert failed(60)([pod(phase="Failed", age_s=60), pod(phase="Failed", age_s=59), pod(age_s=99)], 60) == [
        True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(("light", "evicted"), [(1, 1), (2, 0), (0, 0)])
def test_a_full_node_gives_away_what_an_empty_one_takes_and_nothing_where_there_is_none(
    light: int, evicted: int
) -> None:
    """Ten pods fit on a node: above 5 is too many, below 2 is few."""
    pods = [pod(node="n1") for _ in range(6)] + [pod(node="n2") for _ in range(light)]
    assert sum(low_node_utilization(0.2, 0.5)(pods, 10)) == evicted


def test_all_of_them_together_evict_what_any_of_them_does() -> None:
    pods = [pod(restarts=100), pod(waiting="CrashLoopBackOff"), pod(phase="Failed", age_s=3600), pod()]
    assert PUBLISHED["all of these"](pods, 60) == [True, True, True, False]
