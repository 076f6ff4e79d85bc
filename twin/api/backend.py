"""What the API needs of the cluster behind it."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from twin.objects import Object, Store

Right = tuple[str, str, str, str]
"""(namespace, API group, resource, verb); the resource may be `pods/eviction`."""


class ProxyAnswer(msgspec.Struct, frozen=True):
    """What a service answered to a request that went through the API server's proxy."""

    code: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


class Backend(Protocol):
    """The cluster: its objects, the lock that guards them, and what runs in it."""

    @property
    def store(self) -> Store: ...

    @property
    def lock(self) -> threading.RLock: ...

    @property
    def token(self) -> str: ...

    @property
    def denied(self) -> set[Right]:
        """What whoever holds the token may not do; everything else it may."""
        ...

    @property
    def closing(self) -> threading.Event:
        """Set when the cluster goes down: watches end."""
        ...

    def now(self) -> datetime: ...

    def log_lines(self, pod: Object, *, previous: bool) -> Sequence[tuple[datetime, str]] | None:
        """What the container of a pod wrote, the oldest first; None when there was no such run."""
        ...

    def request(self, namespace: str, service: str, port: str, path: str) -> Awaitable[ProxyAnswer]:
        """Send one request into a service. Raises ApiError 503 when it has no endpoint."""
        ...
