"""The matrix of containers: what each dimension says, and what follows from all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.containers_seen import seen
from remediate.termination import Container, Policy, judge
from twin.simulation.containers import life

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WELL: dict[str, Any] = {"name": "shop/cart/a", "tier": 2, "age_s": 7200.0, "since_s": 7200.0, "siblings": 2}


def decision(policy: Policy | None = None, **more: Any) -> str:
    return judge(Container(**(WELL | more)), policy or Policy()).decision


@pytest.mark.parametrize(
    ("said", "state", "expected"),
    [
        ("well", {}, "leave"),
        ("loops", {"waiting": "CrashLoopBackOff", "restarts": 9, "ready": False}, "terminate"),
        ("began to loop", {"waiting": "CrashLoopBackOff", "restarts": 1, "ready": False}, "restart"),
        ("ends every five minutes", {"restarts": 20, "age_s": 6000.0, "since_s": 60.0}, "terminate"),
        ("ended often, long ago", {"restarts": 9, "age_s": 90_000.0, "since_s": 86_000.0}, "leave"),
        ("hangs", {"ready": False, "unready_s": 900.0}, "terminate"),
        ("starts slowly", {"ready": False, "unready_s": 60.0, "since_s": 60.0}, "leave"),
        ("waits for its image", {"waiting": "ImagePullBackOff", "since_s": 900.0, "ready": False}, "terminate"),
        ("was evicted", {"ended": "Evicted", "ready": False}, "terminate"),
        ("busy on a full node", {"cpu": 0.97, "node_load": 0.9, "least_load": 0.3}, "move"),
        ("busy", {"cpu": 0.97, "node_load": 0.5, "least_load": 0.45}, "leave"),
        ("on a full node", {"cpu": 0.2, "node_load": 0.9, "least_load": 0.3}, "leave"),
        ("the only one that serves", {"restarts": 20, "age_s": 6000.0, "since_s": 60.0, "siblings": 0}, "leave"),
    ],
)  # fmt: skip
def test_a_container_that(said: str, state: dict[str, Any], expected: str) -> None:
    assert decision(**state) == expected


def test_the_more_important_its_workload_the_more_must_speak_against_it() -> None:
    loops = {"waiting": "CrashLoopBackOff", "restarts": 2, "ready": False}
    found = [judge(Container(**(WELL | loops | {"tier": tier})), Policy()).score for tier in (0, 1, 2, 3)]
    assert found == sorted(found)
    strict = Policy(terminate=0.65)
    assert decision(strict, tier=3, **loops) == "terminate"
    assert decision(strict, tier=1, **loops) == "restart"


containers = st.builds(
    Container, name=st.just("a/b/c"), tier=st.one_of(st.none(), st.integers(0, 4)),
    cpu=st.one_of(st.none(), st.floats(0, 2)), memory=st.one_of(st.none(), st.floats(0, 1)),
    restarts=st.integers(0, 100), waiting=st.sampled_from(["", *Policy().failing]), ready=st.booleans(),
    age_s=st.floats(0, 1e6), since_s=st.floats(0, 1e6), unready_s=st.floats(0, 1e5),
    ended=st.sampled_from(["", "Error", "OOMKilled", "Failed", "Evicted"]), siblings=st.integers(0, 5),
    node_load=st.floats(0, 1), least_load=st.floats(0, 1),
)  # fmt: skip


@given(containers, st.floats(0, 5), st.floats(0, 1))
def test_tier_0_is_never_touched_whatever_is_wrong_and_whatever_the_policy(
    one: Container, weight: float, threshold: float
) -> None:
    policy = Policy(weight_failing=weight, weight_priority=-weight, terminate=threshold, restart=0.0, move=0.0)
    assert judge(msgspec.structs.replace(one, tier=0), policy).decision == "leave"


@given(containers)
def test_one_that_serves_is_never_ended_when_nothing_else_of_its_kind_does(one: Container) -> None:
    alone = msgspec.structs.replace(one, ready=True, siblings=0)
    assert judge(alone, Policy()).decision in ("leave", "move")


@given(containers)
def test_each_dimension_lies_between_0_and_1(one: Container) -> None:
    found = judge(one, Policy())
    for each in (found.utilisation, found.failing, found.imbalance, found.priority):
        assert 0 <= each <= 1


def test_what_the_api_server_tells_is_read() -> None:
    def ago(seconds: float) -> str:
        return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    pod = {
        "metadata": {"name": "cart", "namespace": "shop", "creationTimestamp": ago(5000)},
        "status": {
            "phase": "Running", "startTime": ago(4990),
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": ago(700)}],
            "containerStatuses": [
                {"name": "a", "ready": False, "restartCount": 4, "state": {"running": {"startedAt": ago(900)}},
                 "lastState": {"terminated": {"reason": "OOMKilled", "finishedAt": ago(930)}}},
                {"name": "b", "ready": False, "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"reason": "Error", "finishedAt": ago(100)}}},
            ],
        },
    }  # fmt: skip
    first, second = seen(pod, NOW, tier=1, siblings=2, usage={"shop/cart/a": (0.5, 0.9)})
    assert (first.restarts, first.since_s, first.unready_s, first.ended, first.memory) == (
        4,
        900,
        700,
        "OOMKilled",
        0.9,
    )
    assert (second.waiting, second.since_s, second.unready_s, second.cpu) == ("CrashLoopBackOff", 100, 0, None)
    assert (first.age_s, first.tier, first.siblings) == (4990, 1, 2)


def test_the_twins_containers_end_and_start_again_with_back_off() -> None:
    knobs = {"CRASH_AFTER_S": "5"}
    told = [life(knobs, age) for age in (4, 6, 16, 21, 41, 10_000)]
    assert [(each.running, each.restarts) for each in told[:5]] == [
        (True, 0), (False, 0), (True, 1), (False, 1), (True, 2),
    ]  # fmt: skip
    assert told[-1].restarts < 40  # at most one in 300 s once the back-off is full
    assert life({"CRASH_AFTER_S": "5", "CRASH_TIMES": "2"}, 3600).ready
    assert not life({"HANG_AFTER_S": "60"}, 61).ready
    assert life({"LEAK_S": "100"}, 99).memory > 0.98
    assert life({"LEAK_S": "100"}, 105).ended == "OOMKilled"
