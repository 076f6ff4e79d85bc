"""The webhook: a notification is durable before the 200, or the sender is told to try again.

Requests that arrive together share one synced transaction (group commit): a writer thread takes all that wait, so the
cost of a sync is paid once for many, and the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kt.incident.log import IncidentLog, LogUnavailable, Notification

MOST_PER_COMMIT = 512


class NotKept(Exception):
    """The notification could not be made durable; nothing was acknowledged."""


def notification_id(at_ns: int | None = None) -> str:
    """Unique, ascending with time: 16 hexadecimal digits of nanoseconds, then 16 of chance."""
    return f"{time.time_ns() if at_ns is None else at_ns:016x}{os.urandom(8).hex()}"


class Intake:
    """Makes notifications durable. `on_kept` is called once per commit, after it, from the writer's thread."""

    def __init__(self, log: IncidentLog, on_kept: Callable[[], object]) -> None:
        self._log = log
        self._on_kept = on_kept
        self._waiting: queue.SimpleQueue[tuple[Notification, asyncio.Future[None], asyncio.AbstractEventLoop] | None]
        self._waiting = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="intake", daemon=True)
        self._thread.start()

    async def keep(self, body: bytes) -> str:
        """The id under which it is durable now. Raises `NotKept`."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        notification = Notification(id=notification_id(), received_at=datetime.now(UTC), body=body)
        self._waiting.put((notification, done, loop))
        await done
        return notification.id

    def close(self) -> None:
        """Finish what waits, then stop."""
        self._waiting.put(None)
        self._thread.join()

    def _write(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            batch, ended = [first], False
            while len(batch) < MOST_PER_COMMIT:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                batch.append(more)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[tuple[Notification, asyncio.Future[None], asyncio.AbstractEventLoop]]) -> None:
        failure: NotKept | None = None
        try:
            self._log.receive([notification for notification, _, _ in batch])
        except LogUnavailable as error:
            failure = NotKept(str(error))
        waiting: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for _, done, loop in batch:
            waiting.setdefault(loop, []).append(done)
        for loop, futures in waiting.items():
            loop.call_soon_threadsafe(_settle, futures, failure)
        if failure is None:
            self._on_kept()


def _settle(futures: list[asyncio.Future[None]], failure: NotKept | None) -> None:
    for future in futures:
        if future.done():  # the client went away
            continue
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)
