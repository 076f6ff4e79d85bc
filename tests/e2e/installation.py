"""The processes of KT on one folder, one Redis and one twin, for the tests that start, stop and kill them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graph_schema.ontology import load_ontology
from kt.incident.events import Happened
from kt.incident.log import IncidentLog
from kt.pipeline.journey import Journey
from kt.settings import load
from kt.stores.neo4j_log import Neo4jIncidentLog
from kt.stores.places import open_graph
from kt.stores.sqlite_log import SqliteIncidentLog
from twin.server import Twin

DEADLINE_S = 120.0


def incident_log(request: pytest.FixtureRequest, folder: Path) -> tuple[IncidentLog, dict[str, str]]:
    """The log of the store that the fixture's parameter names, and the settings by which KT finds that store."""
    if request.param != "neo4j":
        return SqliteIncidentLog(folder / "kt.db"), {}
    place = request.getfixturevalue("empty_neo4j")
    user, password = place.auth or ("", "")
    store = {"KT_STORE__KIND": "neo4j", "KT_STORE__URI": place.uri}
    store |= {"KT_STORE__USER": user, "KT_STORE__PASSWORD": password}
    return Neo4jIncidentLog(place.uri, place.auth), store


class Installation:
    """The processes of KT on one folder, one Redis and one twin."""

    def __init__(self, folder: Path, redis_url: str, twin: Twin, log: IncidentLog, store: dict[str, str]) -> None:
        self.twin, self._folder = twin, folder
        self.environment = {
            **os.environ,
            "KT_DATA_DIR": str(folder),
            "KT_BROKER_URL": redis_url,
            "KT_WEB__PORT": "0",
            "KT_KUBERNETES__KUBECONFIG": str(twin.kubeconfig),
            "KT_PROMETHEUS__URL": twin.prometheus_url,
            "KT_GUARD__ENABLED": "true",
            "KT_APPROVAL__MEDIUM": "0",
            "KT_PIPELINE__LEASE_TTL_S": "2",
            "KT_PIPELINE__VERIFY_QUIET_S": "0.5",
            **store,
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self.log = log

    def start(self, command: str) -> subprocess.Popen[bytes]:
        output = (self._folder / f"{command}-{len(self._running)}.log").open("wb")
        line = [sys.executable, "-c", "from kt.cli import main; main()", command]
        process = subprocess.Popen(line, env=self.environment, stdout=output, stderr=output)
        output.close()
        self._running.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command, as a person gives it, to its end."""
        line = [sys.executable, "-c", "from kt.cli import main; main()", *arguments]
        return subprocess.run(line, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def serve(self) -> str:
        """Start the web process; the URL of its webhook."""
        self.start("serve")
        log = self._folder / f"serve-{len(self._running) - 1}.log"
        until(lambda: b"/webhook" in log.read_bytes(), "the web process listens")
        return next(word for word in log.read_text().split() if word.startswith("http"))

    def journey(self) -> Journey | None:
        entries = self.log.entries()
        return Journey(self.log, entries[-1].incident) if entries else None

    def events(self, kind: type[Happened]) -> list[Any]:
        journey = self.journey()
        return [record.event for record in journey.records if isinstance(record.event, kind)] if journey else []

    def phase(self) -> str:
        journey = self.journey()
        return journey.state.phase if journey else ""

    def rolled_back(self) -> int:
        """How often the API server saw the good image come back."""
        changes = self.twin.cluster.store.since("Deployment", 0)
        return sum(
            1
            for each in changes
            if each.before and image(each.before) == "shop:bad" and image(each.object) != "shop:bad"
        )

    def knows(self, entity: str) -> bool:
        with contextlib.closing(open_graph(load(None, self.environment), load_ontology())) as graph:
            return entity in graph.get([entity])

    def output(self) -> str:
        return "\n".join(f"== {file.name}\n{file.read_text()[-1500:]}" for file in sorted(self._folder.glob("*.log")))

    def end(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.log.close()


def image(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    pause = 0.02
    while not holds():
        assert time.monotonic() < deadline, f"it did not come about that {what}"
        time.sleep(pause)
