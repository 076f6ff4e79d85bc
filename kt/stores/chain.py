"""The hash chain of an incident's log, the same for every store: what is kept of an event and how it is checked.

Each record's hash is SHA-256 over the hash before it and the event's JSON exactly as kept, so code that would encode an
event differently tomorrow still finds an old chain whole. The chain starts from the incident's id: the log of one
incident cannot be passed off as another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from kt.incident.events import Event
from kt.incident.log import LogCorrupted, Record

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Link(msgspec.Struct, frozen=True):
    """A record as a store keeps it: the event still as its JSON."""

    version: int
    event: bytes
    previous: str
    hash: str


def origin(incident: str) -> str:
    """What the first event of this incident is chained to."""
    return hashlib.sha256(incident.encode()).hexdigest()


def digest(previous: str, event: bytes) -> str:
    return hashlib.sha256(previous.encode() + event).hexdigest()


def forge(incident: str, before: Sequence[Record], events: Iterable[Event]) -> tuple[list[Link], list[Record]]:
    """The links to keep for `events` that follow `before`, and the same as records."""
    links: list[Link] = []
    records: list[Record] = []
    previous = before[-1].hash if before else origin(incident)
    for version, event in enumerate(events, start=len(before) + 1):
        kept = _encoder.encode(event)
        link = Link(version, kept, previous, digest(previous, kept))
        links.append(link)
        records.append(Record(incident=incident, version=version, event=event, previous=previous, hash=link.hash))
        previous = link.hash
    return links, records


def follow(incident: str, before: Sequence[Record], events: Iterable[Event]) -> list[Record]:
    """The records of `events` after `before`, exactly as a store that has kept them gives them back."""
    links, records = forge(incident, before, events)
    return [
        msgspec.structs.replace(record, event=_decode(incident, link.version, link.event))
        for link, record in zip(links, records, strict=True)
    ]


def check(incident: str, links: Iterable[Link], *, version: int, head: str) -> list[Record]:
    """The records of a log that is whole; `version` and `head` are what the index says its end is."""
    records: list[Record] = []
    previous = origin(incident)
    for number, link in enumerate(links, start=1):
        if link.version != number or link.previous != previous or link.hash != digest(previous, link.event):
            raise LogCorrupted(
                f"incident {incident}: event {number} is not what was logged; the chain of hashes breaks there"
            )
        records.append(
            Record(
                incident=incident,
                version=number,
                event=_decode(incident, number, link.event),
                previous=previous,
                hash=link.hash,
            )
        )
        previous = link.hash
    if len(records) != version or (records and previous != head):
        raise LogCorrupted(f"incident {incident}: the log ends at event {len(records)}, the index says {version}")
    return records


def _decode(incident: str, number: int, event: bytes) -> Event:
    try:
        return _decoder.decode(event)
    except msgspec.DecodeError as error:
        raise LogCorrupted(f"incident {incident}: event {number} cannot be read: {error}") from error
