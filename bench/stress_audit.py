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


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """The controller told that all replicas are of this generation, and serve."""

    target: str
    version: int
    generation: int


class Writes(msgspec.Struct, frozen=True, kw_only=True):
    effects: list[Effect]
    arrivals: list[Arrival]


def writes_of(log: Path, user: str) -> Writes:
    """What this user did to Deployments, and when it had arrived; each in the order of the API server."""
    effects, arrivals, marks = [], [], defaultdict[str, dict[str, str]](dict)
    events = sorted(_events(log), key=lambda event: int(event["responseObject"]["metadata"]["resourceVersion"]))
    for event in events:
        thing = event["responseObject"]
        meta = thing["metadata"]
        target, version = f"Deployment/{meta['namespace']}/{meta['name']}", int(meta["resourceVersion"])
        if event["objectRef"].get("subresource") == "status":
            if _arrived(thing):
                generation = thing["status"]["observedGeneration"]
                arrivals.append(Arrival(target=target, version=version, generation=generation))
            continue
        before, marks[target] = marks[target], marks_of(thing)
        if event["user"]["username"] != user:
            continue
        for mark, undone in ((ACTION, False), (UNDONE, True)):
            action = marks[target].get(mark, "")
            if action and action != before.get(mark):
                at, fencing = datetime.fromisoformat(event["stageTimestamp"]), int(marks[target].get(FENCING, "0"))
                write = Write(at=at, target=target, action=action, fencing=fencing, undone=undone)
                effects.append(Effect(write=write, version=version, generation=meta["generation"]))
    return Writes(effects=effects, arrivals=arrivals)


def at_once(writes: Writes) -> Iterator[str]:
    """Targets that were acted on while an action before was neither taken back nor had arrived."""
    arrivals: dict[str, list[Arrival]] = defaultdict(list)
    for each in writes.arrivals:
        arrivals[each.target].append(each)
    open_: dict[str, Effect] = {}
    for each in writes.effects:
        target, action = each.write.target, each.write.action
        before = open_.get(target)
        if before is not None and before.write.action != action and not _between(arrivals[target], before, each):
            yield f"{action} changed {target} while {before.write.action} was under way"
        if each.write.undone:
            open_.pop(target, None)
        else:
            open_[target] = each


def rushed(writes: Writes, per_minute: int) -> Iterator[str]:
    """Moments at which more was done than a minute may see: in what is surely less than the minute that was counted."""
    times = sorted(each.write.at for each in writes.effects if not each.write.undone)
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
    """The writes to Deployments that took place."""
    with log.open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            about, code = event.get("objectRef") or {}, (event.get("responseStatus") or {}).get("code", 0)
            done = event.get("stage") == "ResponseComplete" and code < 300 and "dryRun=" not in event["requestURI"]
            if done and about.get("resource") == "deployments" and "metadata" in event.get("responseObject", {}):
                yield event


def _arrived(thing: dict[str, Any]) -> bool:
    status, wanted = thing.get("status", {}), thing["spec"].get("replicas", 1)
    told = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    return status.get("observedGeneration", 0) == thing["metadata"]["generation"] and told == [wanted] * 4
