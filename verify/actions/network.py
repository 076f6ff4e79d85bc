"""Cuts and delays traffic: by NetworkPolicies in the cluster, by a small TCP proxy where the experiment itself runs."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any

from verify.actions.changing import failed
from verify.kubernetes import Api, Refused, path_of

__all__ = ["cut_traffic", "restore_traffic", "start_proxy", "stop_proxy"]
MARK = "kt.io/chaos"
LONGEST_CHUNK = 65536
ERROR = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def cut_traffic(
    namespace: str, name: str, to: dict[str, str] | str, from_other_than: dict[str, str] | None = None
) -> dict[str, Any]:
    """Let pods with the labels `to` take no traffic at all, or only from pods that lack the labels `from_other_than`.

    `to` may be a selector, such as app=cart. `name` is that of the NetworkPolicy that does it, for `restore_traffic`.
    Needs a network plugin that enforces them.
    """
    if isinstance(to, str):
        to = {key: value for key, _, value in (part.partition("=") for part in to.split(","))}
    ingress = []
    if from_other_than:
        others = [{"key": key, "operator": "NotIn", "values": [value]} for key, value in from_other_than.items()]
        # A pod outside of the namespace is none of those meant, so it may come too.
        ingress = [{"from": [{"podSelector": {"matchExpressions": others}}, {"namespaceSelector": _other(namespace)}]}]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": {MARK: "true"}},
        "spec": {"podSelector": {"matchLabels": to}, "policyTypes": ["Ingress"], "ingress": ingress},
    }
    try:
        Api().ask("POST", path_of("NetworkPolicy", namespace), policy)
    except Refused as error:
        raise failed(str(error)) from error
    return {"created": name}


def restore_traffic(namespace: str, name: str) -> dict[str, Any]:
    """Take the NetworkPolicy of `cut_traffic` away; that it is gone already is as good."""
    try:
        return {"deleted": Api().delete("NetworkPolicy", namespace, name)}
    except Refused as error:
        raise failed(str(error)) from error


def _other(namespace: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [namespace]}]}


_proxies: dict[int, _Proxy] = {}
"""Those of this process, by port: an action starts one, another activity of the same run stops it."""


def start_proxy(
    port: int, to_host: str, to_port: int, delay_ms: float = 0.0, jitter_ms: float = 0.0, drop: float = 0.0,
    reset: float = 0.0, error: float = 0.0, seconds: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """Pass TCP connections to localhost:`port` on, each chunk from the client `delay_ms` ± `jitter_ms` late.

    `drop`, `reset`, `error`: shares of connections that are closed at once, cut (RST), or answered with HTTP 503.
    `seconds`: after so long all is passed on unharmed (0: never). Port 0: any free one. It lives as long as the run.
    """
    shares = {"drop": drop, "reset": reset, "error": error}
    if any(each < 0 for each in shares.values()) or sum(shares.values()) > 1:
        raise failed(f"drop, reset and error are {drop}, {reset}, {error}; expected are shares of 1 at most together")
    proxy = _Proxy(to_host, to_port, delay_ms / 1000, jitter_ms / 1000, shares, seconds)
    bound = proxy.start(port)
    _proxies[bound] = proxy
    return {"port": bound}


def stop_proxy(port: int) -> bool:
    """End a proxy of this run; False when there is none (any more)."""
    proxy = _proxies.pop(port, None)
    if proxy is not None:
        proxy.stop()
    return proxy is not None


class _Proxy:
    """One listening socket with an event loop in a thread of its own."""

    def __init__(
        self, host: str, port: int, delay_s: float, jitter_s: float, shares: Mapping[str, float], seconds: float
    ) -> None:
        self._target, self._delay_s, self._jitter_s, self._shares = (host, port), delay_s, jitter_s, shares
        self._until = time.monotonic() + seconds if seconds > 0 else math.inf
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos proxy", daemon=True)
        self._random = random.Random()  # noqa: S311 - delays are no secret

    def start(self, port: int) -> int:
        """The port that it listens on. Raises `ActivityFailed` when it cannot."""
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", port), self._loop)
        try:
            self._server = starting.result()
        except OSError as error:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise failed(f"port {port} cannot be listened on: {error.strerror or error}") from error
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.closing(back):
            fate = self._fate()
            if fate == "reset":
                # Closed with data in the kernel thrown away, which the other side sees as a reset.
                back.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                back.transport.abort()
            elif fate == "error":
                await near.read(LONGEST_CHUNK)
                back.write(ERROR)
                await back.drain()
            if fate != "pass":
                return
            try:
                far, onward = await asyncio.open_connection(*self._target)
            except OSError:
                return
            with contextlib.closing(onward):
                await asyncio.gather(self._pump(near, onward, late=True), self._pump(far, back, late=False))

    def _fate(self) -> str:
        """What becomes of a connection: pass, drop, reset or error."""
        drawn = self._random.random()
        for fate, share in self._shares.items() if self._on else ():
            if drawn < share:
                return fate
            drawn -= share
        return "pass"

    @property
    def _on(self) -> bool:
        return time.monotonic() < self._until

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, late: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(LONGEST_CHUNK):
                if late and self._on:
                    await asyncio.sleep(max(0.0, self._random.uniform(-1, 1) * self._jitter_s + self._delay_s))
                sink.write(chunk)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()
