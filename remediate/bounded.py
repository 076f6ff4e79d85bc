"""A network whose calls end at a moment, however slowly the other side talks: a client's own time-out is for each read,
so that an answer which trickles in would be read for ever."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import httpcore

T = TypeVar("T")


class Until(httpcore.NetworkBackend):
    """What is connected through it takes no longer than `seconds` from now in all. Raises the time-outs of httpcore."""

    def __init__(self, seconds: float) -> None:
        self._ends, self._network = time.monotonic() + seconds, httpcore.SyncBackend()

    def left(self, most_s: float | None) -> float:
        """Seconds for one read or write; none left is for the caller to see."""
        left = self._ends - time.monotonic()
        return left if most_s is None else min(left, most_s)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = self.left(timeout)
        if left <= 0:
            raise httpcore.ConnectTimeout
        return _Stream(self._network.connect_tcp(host, port, left, local_address, socket_options), self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, until: Until) -> None:
        self._stream, self._until = stream, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._until.left(timeout)
        if left <= 0:
            raise httpcore.ReadTimeout
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self._until.left(timeout)
        if left <= 0:
            raise httpcore.WriteTimeout
        self._stream.write(buffer, left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._until.left(timeout)
        if left <= 0:
            raise httpcore.ConnectTimeout
        # A handshake takes no longer than that in all (Python docs, ssl.SSLSocket.do_handshake).
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What the function gives, whatever it raises, or `TimeoutError`: then it is left to itself. For what cannot be
    bounded, as the resolver's look-up of a name."""
    answers: list[T] = []
    errors: list[Exception] = []

    def asked() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=asked, name="bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError
    return answers[0]


def look_up(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name, each once. Raises `OSError` for a name that nobody knows, or when it takes longer."""
    found = within(seconds, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return list(dict.fromkeys(str(each[4][0]) for each in found))
