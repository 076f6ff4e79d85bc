"""What an API server's audit log tells of who changed which Deployment when, and of when a change had arrived.

Nothing of KT's own account is used: the order is that of the API server's versions, what was done is told by the
annotations that came with it, and that a change has arrived by what the Deployment's controller wrote of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bench.stress_judged import Write
from remediate.actions.base import ACTION, FENCING, UNDONE, marks_of

LATE_S = 15.0
"""How long after it was counted an action may take effect at most: whoever counted it may be killed in between."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    write: Write
    version: int
    generation: int


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A pod was evicted or deleted; such a request bears no mark, so which action it was of has to be asked of KT."""

    at: datetime
    pod: str
    """`namespace/name`."""

    @property
    def target(self) -> str:
        return _workload(self.pod)


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """The controller told that all replicas are of this generation, and serve."""

    target: str
    version: int
    generation: int


class Writes(msgspec.Struct, frozen=True, kw_only=True):
    effects: list[Effect]
    ended: list[Ended]
    arrivals: list[Arrival]


def writes_of(log: Path, user: str) -> Writes:
    """What this user did to Deployments and their pods, and when it had arrived; in the order of the API server."""
    effects, arrivals, marks = [], [], defaultdict[str, dict[str, str]](dict)
    events = list(_events(log))
    told = [event for event in events if not _ends(event)]
    for event in sorted(told, key=lambda event: int(event["responseObject"]["metadata"]["resourceVersion"])):
        thing, pod = event["responseObject"], event["objectRef"]["resource"] == "pods"
        meta = thing["metadata"]
        name, version = f"{meta['namespace']}/{meta['name']}", int(meta["resourceVersion"])
        target = _workload(name) if pod else f"Deployment/{name}"
        if event["objectRef"].get("subresource") == "status":
            if _arrived(thing):
                generation = thing["status"]["observedGeneration"]
                arrivals.append(Arrival(target=target, version=version, generation=generation))
            continue
        before, now = marks[f"{pod}{name}"], marks_of(thing)
        marks[f"{pod}{name}"] = now
        if event["user"]["username"] != user:
            continue
        for mark, undone in ((ACTION, False), (UNDONE, True)):
            action = now.get(mark, "")
            if action and action != before.get(mark):
                # The rights to a pod and to its workload are two: their tokens are not to be compared.
                fencing = 0 if pod else int(now.get(FENCING, "0"))
                write = Write(at=_at(event), target=target, action=action, fencing=fencing, undone=undone)
                effects.append(Effect(write=write, version=version, generation=0 if pod else meta["generation"]))
    ends = [event for event in events if _ends(event) and event["user"]["username"] == user]
    about = [(_at(event), event["objectRef"]) for event in ends]
    ended = [Ended(at=at, pod=f"{of['namespace']}/{of['name']}") for at, of in about]
    return Writes(effects=effects, ended=ended, arrivals=arrivals)


def at_once(writes: Writes, patience_s: float) -> Iterator[str]:
    """Targets that were acted on while an action before was neither taken back, nor had arrived, nor could have been
    given up: not before `patience_s` have passed."""
    arrivals: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in writes.arrivals:
        arrivals[arrival.target].append(arrival)
    open_: dict[str, Effect] = {}
    for each in writes.effects:
        target, action = each.write.target, each.write.action
        before = open_.get(target)
        given_up = before is not None and each.write.at - before.write.at >= timedelta(seconds=patience_s)
        if not (
            before is None or before.write.action == action or given_up or _between(arrivals[target], before, each)
        ):
            yield f"{action} changed {target} while {before.write.action} was under way"
        if each.write.undone:
            open_.pop(target, None)
        else:
            open_[target] = each


def rushed(writes: Writes, per_minute: int) -> Iterator[str]:
    """Moments at which more was done than a minute may see: in what is surely less than the minute that was counted."""
    times = sorted([each.write.at for each in writes.effects if not each.write.undone] + [e.at for e in writes.ended])
    window = timedelta(seconds=60.0 - LATE_S)
    for first, last in zip(times, times[per_minute:], strict=False):
        if last - first < window:
            yield f"more than {per_minute} actions within {(last - first).total_seconds():.0f} s of {first}"
            return


def _between(arrivals: list[Arrival], before: Effect, after: Effect) -> bool:
    return any(
        before.version < each.version < after.version and each.generation >= before.generation for each in arrivals
    )


def _events(log: Path) -> Iterator[dict[str, Any]]:
    """The writes to Deployments and pods that took place."""
    with log.open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            about, code = event.get("objectRef") or {}, (event.get("responseStatus") or {}).get("code", 0)
            done = event.get("stage") == "ResponseComplete" and code < 300 and "dryRun=" not in event["requestURI"]
            changed = about.get("resource") in ("deployments", "pods") and about.get("subresource") != "eviction"
            kept = changed and "metadata" in event.get("responseObject", {})
            if done and (kept or _ends(event)):
                yield event


def _ends(event: dict[str, Any]) -> bool:
    """Whether it evicts or deletes a pod."""
    about = event.get("objectRef") or {}
    if about.get("resource") != "pods" or about.get("subresource") != "eviction":
        return about.get("resource") == "pods" and bool(event["verb"] == "delete")
    # An eviction says in its body that it is only tried.
    return not ((event.get("requestObject") or {}).get("deleteOptions") or {}).get("dryRun")


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["stageTimestamp"])


def _workload(pod: str) -> str:
    """The Deployment of a pod, whose name begins with that of its Deployment and of its ReplicaSet."""
    return f"Deployment/{pod.rsplit('-', 2)[0]}"


def _arrived(thing: dict[str, Any]) -> bool:
    status, wanted = thing.get("status", {}), thing["spec"].get("replicas", 1)
    told = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    return status.get("observedGeneration", 0) == thing["metadata"]["generation"] and told == [wanted] * 4
