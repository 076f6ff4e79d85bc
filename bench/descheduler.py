"""The kubernetes-sigs descheduler's policies as its documentation publishes them, to be measured beside KT's matrix.

For where there is no Go to build its own program, which is the row that counts (bench/descheduler_program.py). Written
from the documentation, not run: README.md (strategies RemovePodsHavingTooManyRestarts, PodLifeTime,
RemoveFailedPods, LowNodeUtilization with their examples), examples/policy.yaml, examples/too-many-restarts.yml,
examples/pod-life-time.yml and pkg/framework/plugins/podlifetime/README.md of github.com/kubernetes-sigs/descheduler.
What its default evictor leaves out (no owner, DaemonSets, local storage, critical priority) is taken to leave out
nothing here: every pod counts as a ReplicaSet's, and none has a priority.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from remediate.cluster import Object

DAY_S, WEEK_S, HOUR_S = 86_400, 604_800, 3_600


class Pod(NamedTuple):
    """A pod as the API server tells of it, and how long ago it was made."""

    object: Object
    age_s: float


Policy = Callable[[Sequence[Pod], int], list[bool]]
"""Pods of one cluster, and how many fit on a node → for each whether it is evicted."""


def too_many_restarts(threshold: int, states: Sequence[str] = ()) -> Policy:
    """RemovePodsHavingTooManyRestarts: `podRestartThreshold`, restarts of all containers together; `states`: phases or
    reasons of waiting, one of which a pod has to be in."""
    return _each(lambda pod: _restarts(pod) >= threshold and (not states or _in_state(pod, states)))


def life_time(most_s: float | None, states: Sequence[str] = ()) -> Policy:
    """PodLifeTime: older than `maxPodLifeTimeSeconds` (where it is given), and in one of the states (where given)."""
    return _each(lambda pod: (most_s is None or pod.age_s > most_s) and (not states or _in_state(pod, states)))


def failed(least_s: float) -> Policy:
    """RemoveFailedPods: phase Failed, at least `minPodLifetimeSeconds` old, whatever the reason."""
    return _each(lambda pod: pod.object["status"].get("phase") == "Failed" and pod.age_s >= least_s)


def low_node_utilization(thresholds: float, target: float) -> Policy:
    """LowNodeUtilization by numbers of pods (nothing here asks for processor or memory): nodes above `target` give away
    until they are not, or those below `thresholds` are full up to it. Nothing where there are none of either."""

    def judged(pods: Sequence[Pod], room: int) -> list[bool]:
        on = Counter(pod.object["spec"]["nodeName"] for pod in pods)
        free = sum(target * room - count for count in on.values() if count < thresholds * room)
        evicted = [False] * len(pods)
        for node, _ in on.most_common():
            for index, pod in enumerate(pods):
                if pod.object["spec"]["nodeName"] == node and on[node] > target * room and free >= 1:
                    evicted[index], on[node], free = True, on[node] - 1, free - 1
        return evicted

    return judged


def together(*policies: Policy) -> Policy:
    """As a profile that enables all of them."""
    return lambda pods, room: [any(each) for each in zip(*(policy(pods, room) for policy in policies), strict=True)]


def _each(test: Callable[[Pod], bool]) -> Policy:
    return lambda pods, _: [test(pod) for pod in pods]


def _restarts(pod: Pod) -> int:
    return sum(int(each.get("restartCount") or 0) for each in pod.object["status"].get("containerStatuses") or [])


def _in_state(pod: Pod, states: Sequence[str]) -> bool:
    status = pod.object["status"]
    waiting = [
        ((each.get("state") or {}).get("waiting") or {}).get("reason") for each in status.get("containerStatuses") or []
    ]
    return any(each in states for each in (status.get("phase"), *waiting))


RESTARTS = too_many_restarts(100)
STUCK = life_time(None, ("CrashLoopBackOff", "ImagePullBackOff"))
PUBLISHED: Mapping[str, Policy] = {
    "RemovePodsHavingTooManyRestarts, 100": RESTARTS,
    "the same, in CrashLoopBackOff": too_many_restarts(100, ("CrashLoopBackOff",)),
    "RemoveFailedPods, after an hour": failed(HOUR_S),
    "PodLifeTime, a week": life_time(WEEK_S),
    "PodLifeTime, a day, Pending": life_time(DAY_S, ("Pending", "PodInitializing")),
    "PodLifeTime, stuck (back-off)": STUCK,
    "LowNodeUtilization, 20 % and 50 %": low_node_utilization(0.2, 0.5),
    "all of these": together(
        RESTARTS, failed(HOUR_S), life_time(WEEK_S), life_time(DAY_S, ("Pending", "PodInitializing")), STUCK,
        low_node_utilization(0.2, 0.5),
    ),
    "fitted: more than 3 restarts, failed, stuck": together(too_many_restarts(4), failed(0), STUCK),
}  # fmt: skip
"""Row of the table → policy. The last is none of the examples: the strategies with the thresholds of the matrix."""
