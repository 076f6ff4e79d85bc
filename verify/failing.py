"""Whether a fix fails under everybody's eyes: containers that were started under it end again and again.

Pure functions over pods as the API server tells of them. Only what no time changes counts: a container that is down
now, after it ended several times, in a pod that was made for the fix, or that was there before and has ended so often
since. What runs is given its time, also when it is not ready, and so is what has not started yet: an image may still
come, and a place on a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

Pod = Mapping[str, Any]
NEVER = ("InvalidImageName", "ErrImageNeverPull")
"""Reasons for which a container waits that no time changes."""


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """How often a container has ended in its pod's life, and how the last time."""

    pod: str
    """`namespace/name`."""
    uid: str
    """Of the pod."""
    name: str
    times: int
    down: bool
    """It does not run now, and has not done its work."""
    how: str = ""
    """`OOMKilled, exit code 137`; empty where that is not told."""
    ended_at: datetime | None = None
    never: str = ""
    """Why it can never start as it is."""

    @property
    def key(self) -> str:
        return f"{self.uid}/{self.name}"


def ends_of(pod: Pod) -> Iterator[Ends]:
    """Of each of its containers, those that prepare it among them."""
    status = pod.get("status") or {}
    for each in status.get("initContainerStatuses") or ():
        yield _ends(pod, each, may_end=True)
    for each in status.get("containerStatuses") or ():
        yield _ends(pod, each, may_end=status.get("phase") == "Succeeded")


def _ends(pod: Pod, told: Mapping[str, Any], *, may_end: bool) -> Ends:
    """`may_end`: that it ended well is what it was made for."""
    meta, state = pod["metadata"], told.get("state") or {}
    ended = state.get("terminated") or (told.get("lastState") or {}).get("terminated") or {}
    waits = (state.get("waiting") or {}).get("reason", "")
    done = may_end and "terminated" in state and not ended.get("exitCode", 0)
    down = bool(ended) and "running" not in state and not done
    reason, code = ended.get("reason", ""), ended.get("exitCode")
    how = ("" if reason == "Error" else reason, "" if code is None else f"exit code {code}")
    return Ends(
        pod=f"{meta.get('namespace', '')}/{meta['name']}", uid=meta.get("uid", ""), name=told["name"],
        times=int(told.get("restartCount") or 0) + down, down=down, how=", ".join(filter(None, how)),
        ended_at=_moment(ended.get("finishedAt")), never=waits if waits in NEVER else "",
    )  # fmt: skip


def failing(
    pods: Sequence[Pod], before: Mapping[str, int], since: datetime, now: datetime, *, most: int, arriving: timedelta
) -> str:
    """Why a fix that was begun at `since` is not waited for any longer; empty while it is.

    `before`: `Ends.key` → how often containers of pods older than the fix had ended when they were first looked at; of
    those that are not in it nothing is known. `most`: so many ends of one container are enough. `arriving`: while
    others became ready within this time the fix is still on its way: of pods that need each other the last ones end
    until the first ones are there.
    """
    worst: Ends | None = None
    for pod in pods:
        new = made_since(pod, since)
        for each in ends_of(pod):
            if each.never and new:
                return f"{each.name} of Pod {each.pod} can never start: {each.never}"
            times = each.times if new else each.times - before.get(each.key, each.times)
            recent = new or (each.ended_at is not None and each.ended_at >= since)
            if each.down and recent and times >= most and (worst is None or times > worst.times):
                worst = msgspec.structs.replace(each, times=times)
    if worst is None or any(at >= since and at + arriving > now for at in _ready(pods, worst.uid)):
        return ""
    how = f", the last time {worst.how}" if worst.how else ""
    return f"{worst.name} of Pod {worst.pod} has ended {worst.times} times under the fix{how}"


def made_since(pod: Pod, since: datetime) -> bool:
    """Kubernetes tells whole seconds."""
    made = _moment(pod["metadata"].get("creationTimestamp"))
    return made is not None and made >= since.replace(microsecond=0)


def _ready(pods: Sequence[Pod], but: str) -> Iterator[datetime]:
    """Since when each of them is ready, but for one."""
    for pod in pods:
        for each in (pod.get("status") or {}).get("conditions") or ():
            at = _moment(each.get("lastTransitionTime"))
            if at and each["type"] == "Ready" and each["status"] == "True" and pod["metadata"].get("uid", "") != but:
                yield at


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
