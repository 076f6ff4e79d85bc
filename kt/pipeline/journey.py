"""One incident in the hands of one worker: its log loaded, its state folded, events appended at the right version.

A stage holds the incident's lease while it works (`held`), so two workers do not do the same work twice; correctness
does not rest on it, since every append takes the expected version and a loser stops at `VersionConflict`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from graph_schema.model import Signal
from kt.incident.events import AlertsReceived, Confirmed, Event
from kt.incident.log import Append, IncidentLog, Leases, LogUnavailable, Record, VersionConflict
from kt.incident.state import State, fold
from kt.stores.chain import follow

_log = structlog.get_logger(__name__)


class Journey:
    """The way of one incident so far, and the pen to write it on with."""

    def __init__(self, log: IncidentLog, incident: str) -> None:
        self._log = log
        self.incident = incident
        self.records: list[Record] = log.load(incident)
        self.state: State = fold(incident, (record.event for record in self.records))

    def append(self, *events: Event) -> None:
        """Add events at the version that was seen. Raises `VersionConflict` when somebody was faster."""
        self._log.commit([Append(incident=self.incident, expected=self.state.version, events=events)])
        # Nobody else can have appended: what the log has now is known without asking for it.
        self.records += follow(self.incident, self.records, events)
        self.state = fold(self.incident, (record.event for record in self.records))

    def record(self, *events: Event) -> None:
        """Add what has happened in the world (an effect, a verdict): still true when meanwhile alerts came in, or a
        person said what the cause was.

        Raises `VersionConflict` when anything else did: then somebody else moved the incident."""
        while True:
            try:
                self.append(*events)
            except VersionConflict:
                now = Journey(self._log, self.incident)
                news = now.records[len(self.records) :]
                if not news or not all(isinstance(record.event, AlertsReceived | Confirmed) for record in news):
                    raise
                self.records, self.state = now.records, now.state
            else:
                return

    @property
    def signals(self) -> tuple[Signal, ...]:
        return tuple(self.state.signals.values())


class Held:
    """A lease that is being kept; `lost` tells that it could not be."""

    def __init__(self, token: int) -> None:
        self.token = token
        self.lost = threading.Event()


@contextmanager
def held(leases: Leases, name: str, holder: str, *, ttl_s: float) -> Iterator[Held | None]:
    """Hold `name` for as long as the block runs, renewed by a thread; None when somebody else has it."""
    token = leases.acquire(name, holder, ttl_s=ttl_s)
    if token is None:
        yield None
        return
    lease, done = Held(token), threading.Event()
    thread = threading.Thread(
        target=_keep, args=(leases, name, holder, lease, done, ttl_s), name=f"lease {name}", daemon=True
    )
    thread.start()
    try:
        yield lease
    finally:
        done.set()
        thread.join()
        try:
            leases.release(name, holder, token)
        except LogUnavailable:
            _log.warning("lease not given back, it lapses by itself", lease=name, ttl_s=ttl_s)


def _keep(leases: Leases, name: str, holder: str, lease: Held, done: threading.Event, ttl_s: float) -> None:
    """Renew at a third of the lease's time. A store that is away for a moment is not a lost lease; a refusal is."""
    while not done.wait(ttl_s / 3):
        try:
            if not leases.renew(name, holder, lease.token, ttl_s=ttl_s):
                lease.lost.set()
                return
        except LogUnavailable as error:
            _log.warning("lease could not be renewed yet", lease=name, error=str(error))
