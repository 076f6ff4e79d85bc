"""Servers that do what an API server should not: they take connections, and then it depends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

Talk = Callable[[socket.socket], None]


class Listener:
    """`connections`: how many were taken; `asked`: the first line of each request that was read."""

    def __init__(self, talk: Talk | None) -> None:
        self.connections = 0
        self.asked: list[str] = []
        self._talk, self._open = talk, list[socket.socket]()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._socket.accept()
                self.connections += 1
                self._open.append(one)
                if self._talk is not None:
                    threading.Thread(target=self._speak, args=(one,), daemon=True).start()

    def _speak(self, one: socket.socket) -> None:
        assert self._talk is not None
        with contextlib.suppress(OSError):
            while line := self.read(one):
                self.asked.append(line)
                self._talk(one)
        one.close()

    @staticmethod
    def read(one: socket.socket) -> str:
        """The first line of a request, which is read to its end; empty when the other side has closed."""
        got = b""
        while b"\r\n\r\n" not in got:
            part = one.recv(65536)
            if not part:
                return ""
            got += part
        head, _, body = got.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        missing = int(fields.get(b"content-length", 0)) - len(body)
        while missing > 0:
            missing -= len(one.recv(missing))
        return head.partition(b"\r\n")[0].decode()

    def kubeconfig(self, folder: Path) -> str:
        """A file that leads a client here."""
        path = folder / f"kubeconfig-{self.port}"
        path.write_bytes(msgspec.json.encode({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }))  # fmt: skip
        return str(path)

    def close(self) -> None:
        for each in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextlib.contextmanager
def listening(talk: Talk | None = None) -> Iterator[Listener]:
    """A server that answers each request with `talk`; without one it takes connections and never answers."""
    listener = Listener(talk)
    try:
        yield listener
    finally:
        listener.close()


def answer(code: int, body: str = "{}", *fields: str) -> Talk:
    """What a well-behaved server would say."""
    head = "\r\n".join([f"HTTP/1.1 {code} Said", f"Content-Length: {len(body)}", *fields])

    def talk(one: socket.socket) -> None:
        one.sendall(f"{head}\r\n\r\n{body}".encode())

    return talk


def hang_up(one: socket.socket) -> None:
    """Close without an answer."""
    one.shutdown(socket.SHUT_RDWR)


def without_end(one: socket.socket) -> None:
    """An answer that goes on for ever."""
    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        one.sendall(b" " * 1024)
