"""Redis of Debian's package, without persistence: what a crash takes is really gone."""

import socket
from pathlib import Path

from testbed import places, processes, server


class Redis:
    """One Redis on a free port of 127.0.0.1; the port stays the same over restarts."""

    name = "redis"
    variables: tuple[str, ...] = ("KT_TEST_REDIS_URL",)
    needs: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.own = places.own(self.name)

    def check(self) -> None:
        server.require_commands(self.name, "redis-server")

    def start(self) -> server.Record:
        record = server.load(self.own)
        if not record.ports:
            record.ports = {"redis": processes.free_ports(1)[0]}
            record.variables = {"KT_TEST_REDIS_URL": f"redis://127.0.0.1:{record.ports['redis']}/0"}
            server.save(self.own, record)
        if not self.running():
            processes.start(self.own, self._command(record.ports["redis"]))
        processes.wait("redis answers", lambda: _pong(record.ports["redis"]), seconds=20, of=self.own)
        return record

    def _command(self, port: int) -> list[str | Path]:
        folder = places.state() / self.own
        folder.mkdir(parents=True, exist_ok=True)
        options = {"--port": str(port), "--bind": "127.0.0.1", "--dir": str(folder), "--save": "", "--appendonly": "no"}
        return ["redis-server", *(word for pair in options.items() for word in pair)]

    def stop(self, *, kill: bool = False) -> None:
        processes.stop(self.own, kill=kill)

    def running(self) -> bool:
        return processes.find(self.own) is not None

    def clean(self) -> None:
        """Nothing outside the state folder."""


def _pong(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
    except OSError:
        return False
