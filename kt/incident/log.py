"""The port to where incidents are kept. Two stores fulfil it, SQLite and Neo4j, held to one contract suite.

Notifications (webhook bodies) arrive first, raw, so that taking one in is a single cheap durable write. The sense stage
turns them into events of incidents; `commit` does that atomically, so none is lost and none counts twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from kt.incident.events import Event

SWEEP = "sweep"
"""The pulse of the whole pipeline: a sweep that beat asked for, the broker carried and a worker took."""
DEAD_S = 60.0
"""Without a sign of life for this long, a process or the whole pipeline counts as dead; a sweep is due every second."""


class VersionConflict(Exception):
    """Somebody else moved the incident, or settled the notification, first. Load again and decide again."""


class LogUnavailable(Exception):
    """The log cannot be reached or cannot commit now; trying again later can help."""


class LogCorrupted(Exception):
    """The hash chain of an incident does not hold: events were altered behind the log's back."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook body as it was received. `id` is unique and ascends with time of receipt (ULID-like)."""

    id: str
    received_at: datetime
    body: bytes


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One event in the log of one incident. `version` counts from 1; `hash`: SHA-256 over `previous` and event."""

    incident: str
    version: int
    event: Event
    previous: str
    hash: str


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """Events to add to one incident that stands at `expected` (0: it must not exist yet)."""

    incident: str
    expected: int
    events: tuple[Event, ...]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the index knows of an incident without folding its log."""

    incident: str
    version: int
    phase: str
    due_at: datetime | None
    """When its next step may be taken; None while it waits for a person or has ended."""
    opened_at: datetime
    updated_at: datetime
    summary: str


class IncidentLog(Protocol):
    """All methods may be called from several threads and processes at once and raise `LogUnavailable` when the store
    does not answer or cannot commit."""

    def receive(self, notifications: Sequence[Notification]) -> None:
        """Make all of them durable (synced to disk) in one transaction. The same id twice is stored once."""
        ...

    def unsettled(self, limit: int) -> list[Notification]:
        """Notifications that no commit has settled yet, oldest first."""
        ...

    def counts(self) -> tuple[int, int]:
        """How many notifications were ever received, how many of them are not settled yet."""
        ...

    def commit(
        self, appends: Sequence[Append], *, settle: Sequence[str] = (), keys: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Append to incidents, settle notifications and claim signal keys, all or nothing, durable on return.

        `keys` are (signal key, incident). Raises `VersionConflict` and changes nothing if an incident does not stand at
        `expected`, a notification is unknown or settled already, or a key is claimed already.
        """
        ...

    def claimed(self, keys: Collection[str]) -> dict[str, str]:
        """The incident of each of these signal keys that was claimed before."""
        ...

    def load(self, incident: str) -> list[Record]:
        """The log of an incident, oldest first; empty if there is none. `LogCorrupted` if its chain is broken."""
        ...

    def entries(self, *, open_only: bool = False, limit: int = 100) -> list[Entry]:
        """The index, latest opened first."""
        ...

    def due(self, now: datetime, limit: int = 1000) -> list[str]:
        """Incidents whose next step is due, the longest due first."""
        ...

    def close(self) -> None: ...


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Who has a lease, under which token."""

    holder: str
    token: int


class Leases(Protocol):
    """Exclusive rights for a time, with fencing: each grant of a name carries a higher token than all grants before."""

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> int | None:
        """A fencing token, or None if another holder has it and has not let it lapse. The holder itself gets it renewed
        under the same token while it has not lapsed."""
        ...

    def acquire_all(self, names: Collection[str], holder: str, *, ttl_s: float) -> dict[str, int] | None:
        """A token for each of these names, or None and nothing changed if another holder has any of them.

        Whoever asks for several is granted them in one step and takes them in one order: two that ask for the same ones
        never wait for each other."""
        ...

    def held_by(self, name: str) -> Grant | None:
        """Who has it now; None when nobody has, or it has lapsed."""
        ...

    def renew(self, name: str, holder: str, token: int, *, ttl_s: float) -> bool:
        """False if the lease lapsed and was granted to somebody else, or was released."""
        ...

    def release(self, name: str, holder: str, token: int) -> None:
        """Give it back; no error if it is no longer held."""
        ...

    def release_all(self, tokens: Mapping[str, int], holder: str) -> None:
        """Give back what is still held of these, each under its token, in one step."""
        ...


class Pulses(Protocol):
    """Signs of life: when a thing that must happen again and again happened last. Both raise `LogUnavailable`."""

    def beat(self, name: str) -> None:
        """It happened now."""
        ...

    def last(self, name: str) -> datetime | None:
        """When it happened last; None if it never did."""
        ...

    def close(self) -> None: ...
