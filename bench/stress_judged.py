"""What must never be when many incidents act on a few targets, judged by what the cluster saw being written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from kt.incident.events import ActionStarted, Escalated, Healed
from kt.pipeline.journey import Journey


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """How many actions in an hour."""

    per_target: int = 4
    per_namespace: int = 60
    in_all: int = 200


CAPS = Caps()


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """KT changed a target: `action` took effect there, or was undone."""

    at: datetime
    target: str
    action: str
    fencing: int
    undone: bool


def violations(journeys: Sequence[Journey], writes: Sequence[Write], caps: Caps = CAPS) -> Iterator[str]:
    """What must never be, by what the cluster saw."""
    owner = {
        record.event.action_id: journey.incident
        for journey in journeys
        for record in journey.records
        if isinstance(record.event, ActionStarted)
    }
    ends = {
        journey.incident: next(each.event.at for each in journey.records if isinstance(each.event, Healed | Escalated))
        for journey in journeys
    }
    effects = [each for each in writes if not each.undone]
    for each in writes:
        if each.action not in owner:
            yield f"action {each.action} on {each.target} was never announced"
    for (target, action), count in Counter((each.target, each.action) for each in effects).items():
        if count > 1:
            yield f"action {action} took effect {count} times on {target}"
    of_target: dict[str, list[Write]] = defaultdict(list)
    for each in writes:
        of_target[each.target].append(each)
    for target, theirs in of_target.items():
        yield from _one_at_a_time(target, theirs, owner, ends)
        count = sum(not each.undone for each in theirs)
        if count > caps.per_target:
            yield f"{count} actions on {target}"
    spaces = Counter(each.target.split("/")[1] for each in effects)
    yield from (f"{count} actions in {space}" for space, count in spaces.items() if count > caps.per_namespace)
    if len(effects) > caps.in_all:
        yield f"{len(effects)} actions in all"
    seen = {each.action for each in effects}
    for journey in journeys:
        for done in journey.state.actions:
            if done.finished is not None and done.finished.ok and done.id not in seen:
                yield f"action {done.id} of {journey.incident} is told as done and had no effect"


def _one_at_a_time(
    target: str, writes: Sequence[Write], owner: Mapping[str, str], ends: Mapping[str, datetime]
) -> Iterator[str]:
    """From its first effect on a target until it has ended, or has taken back what it did there, an incident has it for
    itself; rights only grow."""
    effects = [each for each in writes if not each.undone]
    fencing = [each.fencing for each in effects if each.fencing]
    if fencing != sorted(fencing):
        yield f"an older right acted after a newer one on {target}: {fencing}"
    begun: dict[str, datetime] = {}
    for each in writes:
        incident = owner.get(each.action, "")
        if each.undone:
            begun.pop(incident, None)
            continue
        begun.setdefault(incident, each.at)
        for other, since in begun.items():
            if other != incident and since < each.at < ends.get(other, each.at):
                yield f"{incident} acted on {target} while {other} had it"
