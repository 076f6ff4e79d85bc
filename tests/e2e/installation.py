"""KT as it is installed: web, beat and workers as processes of their own, and a look into their log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from graph_schema.ontology import load_ontology
from kt.incident.events import Happened
from kt.incident.log import SWEEP, Entry, IncidentLog
from kt.pipeline.journey import Journey
from kt.runtime import wall_clock
from kt.settings import load
from kt.stores.places import open_graph, open_log, open_pulses
from kt.views.live import line

DEADLINE_S = 120.0
ENDED = ("healed", "escalated")


class Installation:
    """The processes of KT on one folder, under settings of its own (`settings`: KT_… variables)."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        given = {"KT_DATA_DIR": str(folder), "KT_WEB__PORT": "0", **settings}
        self.environment = {**os.environ, **given}
        self._running: list[subprocess.Popen[bytes]] = []
        self.settings = load(None, self.environment)
        self.log: IncidentLog = open_log(self.settings)

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
        self.web = self.start("serve")
        log = self._folder / f"serve-{len(self._running) - 1}.log"
        until(lambda: b"/webhook" in log.read_bytes(), "the web process listens")
        self.webhook = next(word for word in log.read_text().split() if word.startswith("http"))
        return self.webhook

    def entries(self) -> list[Entry]:
        """Every incident that counts, the first opened first."""
        return list(reversed(self.log.entries()))

    def journeys(self) -> list[Journey]:
        """The same, with all that happened."""
        return [Journey(self.log, entry.incident) for entry in self.entries()]

    def journey(self) -> Journey | None:
        """The first incident."""
        return next(iter(self.journeys()), None)

    def events(self, kind: type[Happened]) -> list[Any]:
        """Of that kind, in the first incident."""
        journey = self.journey()
        return [record.event for record in journey.records if isinstance(record.event, kind)] if journey else []

    def phase(self) -> str:
        """Of the first incident; empty before there is one."""
        journey = self.journey()
        return journey.state.phase if journey else ""

    def ended(self) -> bool:
        """Whether there are incidents, and all have ended."""
        phases = [entry.phase for entry in self.entries()]
        return bool(phases) and all(phase in ENDED for phase in phases)

    def knows(self, entity: str) -> bool:
        """Whether the graph has this entity."""
        graph = open_graph(self.settings, load_ontology())
        try:
            return entity in graph.get([entity])
        finally:
            graph.close()

    def swept(self) -> bool:
        """Whether a worker has taken a task of the beat's: it has read all that it needs and takes others."""
        pulses = open_pulses(self.settings, wall_clock)
        try:
            return pulses.last(SWEEP) is not None
        finally:
            pulses.close()

    def output(self) -> str:
        return "\n".join(f"== {file.name}\n{file.read_text()[-1500:]}" for file in sorted(self._folder.glob("*.log")))

    def story(self) -> str:
        """What happened to each incident, as a person sees it: what a failing test has to tell."""
        return "\n".join(
            "\n".join([f"== incident {entry.incident[:12]}", *(line(each) for each in self.log.load(entry.incident))])
            for entry in self.entries()
        )

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.log.close()


def interruptible() -> None:
    """For `preexec_fn`: tests that a shell runs in the background ignore SIGINT, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(holds: Callable[[], bool], what: str, *, seconds: float = DEADLINE_S) -> None:
    """Wait for a condition; fail when it does not come about in time."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not holds():
        assert time.monotonic() < deadline, f"it did not come about that {what}"
        time.sleep(pause)
        # Who looks all the time at what takes long takes the processor from what is waited for.
        pause = min(pause * 1.5, 0.2)
