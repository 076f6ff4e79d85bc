"""Neo4j community over Bolt: its jars by Maven, started by the few lines of Main.java.

Registries have no Neo4j server package, but they have its jars; Main.java builds the same database service that the
server builds. The HTTP side is not there; KT speaks Bolt only.
"""

import socket
from pathlib import Path

from testbed import places, processes, server

FOLDER = Path(__file__).parent


class Neo4j:
    """One Neo4j on a free port of 127.0.0.1, without authentication; port and data stay over restarts."""

    name = "neo4j"
    variables: tuple[str, ...] = ("KT_TEST_NEO4J_URI", "KT_TEST_NEO4J_USER", "KT_TEST_NEO4J_PASSWORD")
    needs: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.own = places.own(self.name)

    def check(self) -> None:
        server.require_commands(self.name, "java", "javac", "mvn")

    def start(self) -> server.Record:
        record = server.load(self.own)
        if not record.ports:
            record.ports = {"bolt": processes.free_ports(1)[0]}
            uri = f"bolt://127.0.0.1:{record.ports['bolt']}"
            record.variables = dict(zip(self.variables, (uri, "neo4j", ""), strict=True))
            server.save(self.own, record)
        port = record.ports["bolt"]
        if not self.running():
            processes.start(self.own, _command(_jars(), places.state() / self.own, port, brief=self.own != self.name))
        processes.wait("neo4j answers", lambda: _speaks_bolt(port), seconds=120, of=self.own)
        return record

    def stop(self, *, kill: bool = False) -> None:
        processes.stop(self.own, kill=kill, grace=20)

    def running(self) -> bool:
        return processes.find(self.own) is not None

    def clean(self) -> None:
        """Nothing outside the state folder."""


def _command(jars: Path, home: Path, port: int, *, brief: bool) -> list[str | Path]:
    """`brief`: one of several beside each other for tests alone, which are over before thorough compiling pays: it took
    half of the processor time (62 s against 29 s for 44 tests)."""
    home.mkdir(parents=True, exist_ok=True)
    opens = ["--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/java.io=ALL-UNNAMED"]
    tuned = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] if brief else ["-XX:+UseG1GC"]
    options = ["-Xms256m", "-Xmx1g", *tuned, *opens, "-cp", f"{jars}/*:{jars}"]
    return ["java", *options, "Main", home, str(port)]


def _jars() -> Path:
    pom, main = FOLDER / "pom.xml", FOLDER / "Main.java"

    def make(folder: Path) -> None:
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        processes.run(["mvn", "-q", "-B", "-f", pom, *copy], seconds=600)
        processes.run(["javac", "-cp", f"{folder}/*", "-d", folder, main], seconds=120)

    return places.built("neo4j", places.digest([pom, main]), make)


def _speaks_bolt(port: int) -> bool:
    """The Bolt handshake: the magic, four proposed versions, four bytes back."""
    hello = bytes.fromhex("6060b017") + bytes.fromhex("00000405") + bytes.fromhex("00000404") + bytes(8)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
            sock.sendall(hello)
            return len(sock.recv(4)) == 4
    except OSError:
        return False
