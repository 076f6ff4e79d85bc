"""Telling people what they are waited for, what became of it, and what KT cannot do: through Apprise, to any service.

Delivery is a matter of a thread of its own with a bounded queue. A service that fails or hangs costs its message, which
is counted; it never holds a stage. Addresses are secrets: neither they nor what a service answers goes into a log.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
import structlog

from kt.incident.events import Escalated, Healed, PlanDropped, PlanProposed, UndoAsked, UndoDropped, Undone
from kt.incident.log import Record
from kt.incident.state import State, summary
from kt.sections import Kind
from kt.settings import BadSettings
from kt.views.words import SEAL, SHORTEST_ID

MOST_WAITING = 200
TRIES = 3
PAUSE_S = 2.0
_log = structlog.get_logger(__name__)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What people are told. `kind`: what they can choose to be told of."""

    kind: Kind
    title: str
    body: str


class Service(Protocol):
    """Where messages go. `name`: the kind of service, no address."""

    @property
    def name(self) -> str: ...

    def send(self, message: Message) -> bool:
        """Whether it was taken. May take as long as its time-outs let it; must not raise."""
        ...


def messages(records: Sequence[Record], state: State) -> Iterator[Message]:
    """What is worth telling of these events; `state` is the incident's after the last of them."""
    lapsed = {each.event.why for each in records if isinstance(each.event, PlanDropped)}
    for record in records:
        event = record.event
        match event:
            case PlanProposed() if event.approvals_needed and state.phase != "escalated":
                steps = "; ".join(step.summary or step.action for step in event.plan.steps)
                touched = ", ".join((*event.plan.blast_radius, *event.plan.affects[:5]))
                until = f"Until {event.expires_at:%Y-%m-%d %H:%M} UTC; {event.approvals_needed} must agree."
                risk = f"Risk: {event.plan.risk}. {event.plan.ask}"
                body = f"For {summary(state)}.\nTouches or affects {touched}. {risk}\n{until}"
                yield _message("proposed", f"KT asks: {steps}", body, state, event.plan.digest)
            case UndoAsked() if event.approvals_needed:
                body = f"{event.by} asks for it: {event.why or 'no reason given'}.\nFor {summary(state)}."
                yield _message("proposed", "KT asks: take a remedy back", body, state, event.digest)
            case Escalated() if not state.told_before:
                kind: Kind = "expired" if event.why in lapsed else "escalated"
                yield _message(kind, f"KT needs you: {summary(state)}", event.why, state)
            case Healed() if state.actions:
                yield _message("outcome", f"Healed: {summary(state)}", event.why, state)
            case Undone():
                yield _message("outcome", f"Taken back: {summary(state)}", state.ended_why, state)
            case UndoDropped():
                yield _message("outcome", f"Not taken back: {summary(state)}", event.why, state)


def _message(kind: Kind, title: str, body: str, state: State, digest: str = "") -> Message:
    short = state.id[: SHORTEST_ID + 8]
    answer = f"\nkt approve {short} --plan {digest[:SEAL]}   or   kt reject {short} --why …" if digest else ""
    return Message(kind=kind, title=title, body=f"{body.strip()}\nkt show {short}{answer}")


class Messenger:
    """Takes messages at once and delivers them when it can. `told`: counts (service, sent | failed | dropped)."""

    def __init__(
        self,
        services: Sequence[Service],
        kinds: Sequence[Kind],
        told: Callable[[str, str], None],
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._services, self._kinds, self._told, self._pause_s = services, frozenset(kinds), told, pause_s
        # A queue and a thread for each: one that hangs must not keep the others waiting.
        self._queues: list[queue.Queue[Message]] = [queue.Queue(MOST_WAITING) for _ in services]
        self._closing = threading.Event()
        self._started = threading.Lock()
        self._threads: list[threading.Thread] = []

    def tell(self, records: Sequence[Record], state: State) -> None:
        """Never waits, never raises."""
        if not self._services or not records:
            return
        for message in messages(records, state):
            if message.kind in self._kinds:
                self.send(message)

    def send(self, message: Message) -> None:
        self._start()
        for service, waiting in zip(self._services, self._queues, strict=True):
            try:
                waiting.put_nowait(message)
            except queue.Full:
                self._told(service.name, "dropped")

    def close(self, wait_s: float = 5.0) -> None:
        """Give what waits a moment to go out."""
        self._closing.set()
        for thread in self._threads:
            thread.join(wait_s)

    def _start(self) -> None:
        with self._started:
            if self._threads:
                return
            for service, waiting in zip(self._services, self._queues, strict=True):
                thread = threading.Thread(target=self._deliver, args=(service, waiting), name="notify", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _deliver(self, service: Service, waiting: queue.Queue[Message]) -> None:
        while not (self._closing.is_set() and waiting.empty()):
            try:
                message = waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            self._told(service.name, "sent" if self._sent(service, message) else "failed")

    def _sent(self, service: Service, message: Message) -> bool:
        for attempt in range(1, TRIES + 1):
            if service.send(message):
                return True
            if attempt < TRIES:
                self._closing.wait(self._pause_s * attempt)
        _log.warning("message not delivered", service=service.name, kind=message.kind, title=message.title)
        return False


class AppriseService:
    """One address of Apprise's."""

    def __init__(self, address: str) -> None:
        self.name, self._address = address.partition(":")[0], address

    def send(self, message: Message) -> bool:
        try:
            return bool(_apprise(self._address).notify(body=message.body, title=message.title))
        except Exception as error:
            # Whatever a plugin trips over is its own; its words may hold the address.
            _log.warning("a service of Apprise failed", service=self.name, error=type(error).__name__)
            return False


def services(urls: str) -> list[AppriseService]:
    """The services of `notify.urls`. Raises `BadSettings` without telling an address."""
    found = urls.split()
    for number, address in enumerate(found, 1):
        if not _apprise(address):
            scheme = address.partition(":")[0] if "://" in address else "no scheme"
            raise BadSettings(
                f"notify.urls: address {number} of {len(found)} ({scheme}) is none that Apprise knows; "
                "they look like slack://…, mailto://…, json://…"
            )
    return [AppriseService(address) for address in found]


def _apprise(address: str) -> Any:
    """Apprise with this one address; falsy when it cannot be read."""
    import apprise  # slow to import: only who has something to tell pays for it

    # Its own log lines name addresses, which are secrets.
    logger = logging.getLogger("apprise")
    logger.propagate, logger.disabled = False, True
    made = apprise.Apprise()
    return made if made.add(address) else None
