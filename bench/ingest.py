"""How many notifications of ten alerts KT makes durable per second, beside a bare server that keeps nothing.

All are measured in the same run, one process each, by the same client over the same keep-alive connections: the bare
server, KT on SQLite, KT on a real Neo4j. At the end KT is killed with SIGKILL under load: what was acknowledged and is
not in the log is counted as lost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import neo4j

import testbed.servers
from kt.incident.log import IncidentLog
from kt.stores.neo4j_log import Neo4jIncidentLog
from kt.stores.sqlite_log import SqliteIncidentLog

BARE = """
import socket, sys, uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

async def webhook(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"id": ""})

listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(2048)
print(f"http://127.0.0.1:{listening.getsockname()[1]}/webhook", file=sys.stderr, flush=True)
app = Starlette(routes=[Route("/webhook/alertmanager", webhook, methods=["POST"])])
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listening])
"""


def payload(number: int) -> bytes:
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": "KtErrorRatioHigh", "namespace": "shop", "service": f"s{number}-{index}"},
            "annotations": {
                "summary": "the share of errors is above 5 %",
                "runbook_url": "https://example.org/runbook",
            },
            "startsAt": "2026-03-01T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph",
            "fingerprint": f"{number:012x}{index:04x}",
        }
        for index in range(10)
    ]
    return json.dumps({"version": "4", "groupKey": f"g{number}", "status": "firing", "alerts": alerts}).encode()


class Load:
    """Keep-alive connections that send one request after the other; what was acknowledged, and how long it took."""

    def __init__(self, port: int, connections: int) -> None:
        self._port, self._connections = port, connections
        self.acknowledged: list[str] = []
        self.seconds: list[float] = []

    async def run(self, seconds: float) -> None:
        ending = time.perf_counter() + seconds
        await asyncio.gather(*(self._send(number, ending) for number in range(self._connections)))

    async def _send(self, sender: int, ending: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        number = sender * 1_000_000
        try:
            while (begun := time.perf_counter()) < ending:
                body = payload_cached(number % 50)
                head = f"POST /webhook/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
                content = await reader.readexactly(int(length[1]) if length else 0)
                if not answer.startswith(b"HTTP/1.1 200"):
                    continue
                self.seconds.append(time.perf_counter() - begun)
                self.acknowledged.append(json.loads(content)["id"])
                number += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


_BODIES = [payload(number) for number in range(50)]


def payload_cached(number: int) -> bytes:
    return _BODIES[number]


def start(code: list[str], environment: dict[str, str]) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([sys.executable, *code], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://[\d.]+:(\d+)/webhook", line):
            return process, int(found[1])
    raise SystemExit(f"the server ended with {process.wait()}")


def measure(port: int, seconds: float, connections: int) -> tuple[float, float]:
    """(requests per second, 99th percentile in ms) after a warm-up."""
    asyncio.run(Load(port, connections).run(1.0))
    load = Load(port, connections)
    begun = time.perf_counter()
    asyncio.run(load.run(seconds))
    rate = len(load.seconds) / (time.perf_counter() - begun)
    return rate, sorted(load.seconds)[int(len(load.seconds) * 0.99)] * 1000


async def killed(port: int, process: subprocess.Popen[str], connections: int) -> list[str]:
    """What was acknowledged until the server was killed in the middle."""
    load = Load(port, connections)
    running = asyncio.create_task(load.run(30.0))
    await asyncio.sleep(2.0)
    process.send_signal(signal.SIGKILL)
    await running
    return load.acknowledged


def figures_of(store: dict[str, str], log: Callable[[], IncidentLog], options: argparse.Namespace) -> dict[str, Any]:
    """What KT does on one store, and what it lost when it was killed."""
    environment = os.environ | {"KT_BROKER_URL": "memory://", "KT_WEB__PORT": "0"} | store
    kt, port = start(["-c", "from kt.cli import main; main()", "serve"], environment)
    rate, p99 = measure(port, options.seconds, options.connections)
    acknowledged = asyncio.run(killed(port, kt, options.connections))
    kt.wait()
    with contextlib.closing(log()) as opened:
        kept = {each.id for each in opened.unsettled(10_000_000)}
    return {
        "requests_per_s": round(rate),
        "p99_ms": round(p99, 1),
        "acknowledged_at_kill": len(acknowledged),
        "lost": len(set(acknowledged) - kept),
    }


def on_sqlite(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as folder:
        return figures_of({"KT_DATA_DIR": folder}, lambda: SqliteIncidentLog(Path(folder) / "kt.db"), options)


def on_neo4j(options: argparse.Namespace) -> dict[str, Any]:
    """On the Neo4j of the testbed, or the one that KT_TEST_NEO4J_URI names. Notifications there are removed."""
    try:
        uri = testbed.servers.ensure(["neo4j"])["KT_TEST_NEO4J_URI"]
    except testbed.Missing as missing:
        return {"missing": str(missing)}
    user, password = os.environ.get("KT_TEST_NEO4J_USER", ""), os.environ.get("KT_TEST_NEO4J_PASSWORD", "")
    auth = (user, password) if user else None
    store = {"KT_STORE__KIND": "neo4j", "KT_STORE__URI": uri, "KT_STORE__USER": user, "KT_STORE__PASSWORD": password}
    empty(uri, auth)
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as folder:
        found = figures_of(store | {"KT_DATA_DIR": folder}, lambda: Neo4jIncidentLog(uri, auth), options)
    empty(uri, auth)
    return found


def empty(uri: str, auth: tuple[str, str] | None) -> None:
    """Remove all notifications, a part at a time: all at once would not fit into a transaction."""
    query = "MATCH (n:KtNotification) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS"
    with neo4j.GraphDatabase.driver(uri, auth=auth) as driver, driver.session() as session:
        session.run(query).consume()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--no-neo4j", action="store_true", help="SQLite only.")
    options = parser.parse_args()
    bare, port = start(["-c", BARE], dict(os.environ))
    bare_rate, bare_p99 = measure(port, options.seconds, options.connections)
    bare.kill()
    bare.wait()
    sqlite = on_sqlite(options)
    figures: dict[str, Any] = {
        **sqlite,
        "bare": round(bare_rate),
        "ratio": round(sqlite["requests_per_s"] / bare_rate, 3),
        "bare_p99_ms": round(bare_p99, 1),
    }
    if not options.no_neo4j:
        figures["neo4j"] = on_neo4j(options)
    print(f"10 alerts each; bare {bare_rate:.0f}/s (p99 {bare_p99:.0f} ms)")
    for name, found in (("SQLite", sqlite), ("Neo4j", figures.get("neo4j"))):
        if found and "missing" in found:
            print(f"{name}: not measured, {found['missing']}")
        elif found:
            print(
                f"KT on {name}: {found['requests_per_s']}/s (p99 {found['p99_ms']:.0f} ms); killed under load: "
                f"{found['acknowledged_at_kill']} acknowledged, {found['lost']} of them lost"
            )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
