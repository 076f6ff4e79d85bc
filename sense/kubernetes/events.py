"""Warning events and conditions of Kubernetes as signals. Pure: takes what the API answered.

An event counts when it was seen around the onset, unless its object was well again before: for an hour the API tells
of a volume that could not be mounted for a second. A condition counts when it turned around the onset: one that has
been that way for days is a state of things and no news, even though the API repeats it with every read.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import yaml

from graph_schema.model import Signal, entity_id

Object = dict[str, Any]

BEFORE = timedelta(minutes=10)
"""How long before the onset something may have begun that belongs to the incident."""
AFTER = timedelta(minutes=30)
BY_REASON = 0.8
"""Confidence in the symptom that the reason of an event tells."""
BY_CONDITION = 0.9
COMPLETED = "PodCompleted"
"""Why a pod is not ready that has come to its end as it should, as those of jobs do all day."""

RIGHTS = (("", "events", "list"),)
"""What reading events needs besides what is watched anyway: (API group, resource, verbs)."""


class BadEventRules(Exception):
    """The file of event rules is wrong; the message says where and what to do."""


class EventRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: str
    symptom: str
    message: str = ""
    kind: str = ""
    """Only for events about objects of this kind."""


class ConditionRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: str
    type: str
    status: str
    symptom: str
    message: str = ""
    """Only where the message has this, in small letters."""


class WellRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The condition that says, when it is True, that an object of this kind is well."""

    kind: str
    type: str


class EventRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: tuple[EventRule, ...]
    conditions: tuple[ConditionRule, ...]
    well: tuple[WellRule, ...] = ()

    @property
    def symptoms(self) -> frozenset[str]:
        return frozenset([each.symptom for each in self.events] + [each.symptom for each in self.conditions])


def load(path: Path | None = None) -> EventRules:
    """The rules of a file, or the ones that come with KT. Raises `BadEventRules`."""
    where = str(path) if path else "the built-in event rules"
    try:
        text = path.read_text() if path else resources.files("sense").joinpath("knowledge/events.yaml").read_text()
        content: Any = yaml.safe_load(text)
        return msgspec.convert(content, EventRules)
    except OSError as error:
        raise BadEventRules(f"{where} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise BadEventRules(f"{where} are not event rules: {error}") from error


def of_events(
    events: Iterable[Object], onset: datetime, rules: EventRules, things: Iterable[Object] = ()
) -> list[Signal]:
    """One signal for each object and symptom that Warning events around the onset tell of, the earliest event first.

    `things`: objects with their kind, as they are now, by whose conditions it is seen what is over.
    """
    found: dict[tuple[str, str], tuple[datetime, Object]] = {}
    well_since = _well_since(things, rules)
    for event in events:
        first, last = _seen(event)
        if event.get("type") != "Warning" or last is None or first is None:
            continue
        if not onset - BEFORE <= last or first > onset + AFTER:
            continue
        about = event.get("involvedObject") or event.get("regarding") or {}
        rule = _rule(event, about.get("kind", ""), rules)
        if rule is None or not about.get("kind") or not about.get("name"):
            continue
        key = (entity_id(about["kind"], about["name"], about.get("namespace", "")), rule.symptom)
        if last <= well_since.get(key[0], last - BEFORE) <= onset:
            continue
        # Began long before and still goes on: all that is known of its part in this incident is that it goes on.
        at = max(first, onset - BEFORE)
        if key not in found or at < found[key][0]:
            found[key] = at, event
    return [
        _signal(
            entity,
            symptom,
            str(event.get("reason")),
            at,
            str(event.get("message", "")),
            BY_REASON * _news(event, onset),
        )
        for (entity, symptom), (at, event) in sorted(found.items(), key=lambda item: item[0])
    ]


def of_conditions(things: Iterable[Object], onset: datetime, rules: EventRules) -> list[Signal]:
    """The conditions of objects that turned bad around the onset; none of what is done or being deleted."""
    return [
        _signal(entity, rule.symptom, f"{rule.type}={rule.status}", at, str(condition.get("message", "")), BY_CONDITION)
        for thing in things
        if "deletionTimestamp" not in thing["metadata"]
        for entity in (entity_id(thing["kind"], thing["metadata"]["name"], thing["metadata"].get("namespace", "")),)
        for condition in (thing.get("status") or {}).get("conditions") or []
        if condition.get("reason") != COMPLETED
        for rule in itertools.islice(_telling(thing["kind"], condition, rules), 1)
        for at in _times(condition.get("lastTransitionTime"))
        if onset - BEFORE <= at <= onset + AFTER
    ]


def _well_since(things: Iterable[Object], rules: EventRules) -> dict[str, datetime]:
    """Entity → since when it has been well, of those that are."""
    known = {(rule.kind, rule.type) for rule in rules.well}
    return {
        entity_id(thing["kind"], thing["metadata"]["name"], thing["metadata"].get("namespace", "")): at
        for thing in things
        for condition in (thing.get("status") or {}).get("conditions") or []
        if (thing["kind"], condition.get("type")) in known and condition.get("status") == "True"
        for at in _times(condition.get("lastTransitionTime"))
    }


def _rule(event: Object, kind: str, rules: EventRules) -> EventRule | None:
    message = str(event.get("message", "")).lower()
    fits = (each for each in rules.events if each.reason == event.get("reason") and each.message in message)
    return next((each for each in fits if each.kind in ("", kind)), None)


def _telling(kind: str, condition: Object, rules: EventRules) -> Iterator[ConditionRule]:
    message = str(condition.get("message", "")).lower()
    told = (kind, condition.get("type"), condition.get("status"))
    return (
        each for each in rules.conditions if told == (each.kind, each.type, each.status) and each.message in message
    )


def _seen(event: Object) -> tuple[datetime | None, datetime | None]:
    """(first, last) time of an event, in either form of the API."""
    series = event.get("series") or {}
    firsts = [*_times(event.get("firstTimestamp")), *_times(event.get("eventTime"))]
    lasts = [*_times(event.get("lastTimestamp")), *_times(series.get("lastObservedTime")), *firsts]
    if not firsts and not lasts:
        created = list(_times((event.get("metadata") or {}).get("creationTimestamp")))
        return (created[0], created[0]) if created else (None, None)
    return min(firsts or lasts), max(lasts)


def _news(event: Object, onset: datetime) -> float:
    """An event that has come again and again since long before the onset says less about it."""
    first, _ = _seen(event)
    return 1.0 if first is not None and first >= onset - BEFORE else 0.3


def _times(text: object) -> Iterator[datetime]:
    if isinstance(text, datetime):
        yield text.astimezone(UTC) if text.tzinfo else text.replace(tzinfo=UTC)
    elif isinstance(text, str) and text:
        yield datetime.fromisoformat(text).astimezone(UTC)


def _signal(entity: str, symptom: str, name: str, at: datetime, text: str, confidence: float) -> Signal:
    digest = hashlib.blake2b(f"{entity}\x00{symptom}\x00{name}".encode(), digest_size=8).hexdigest()
    return Signal(
        fingerprint=f"event-{digest}",
        entity=entity,
        symptom=symptom,
        name=name,
        starts_at=at,
        annotations={"summary": text[:300]} if text else {},
        confidence=round(confidence, 6),
        source="event",
    )
