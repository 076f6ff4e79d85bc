"""How long KT itself takes from the webhook to the first write at the API server, approval automatic.

KT runs as users run it (`kt serve --embedded`, or web, worker and beat on a broker with --broker), against the twin.
The time begins when the notification is sent and ends when the twin's API server has the change of the action. The
wait for the rest of a burst of alerts (`pipeline.settle_s`) is part of it, and is also told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from graph_schema.ontology import load_ontology
from kt.incident.log import SWEEP
from kt.pipeline.journey import Journey
from kt.runtime import wall_clock
from kt.settings import Settings, load
from kt.stores.places import open_graph, open_log, open_pulses
from twin.server import Twin

SPEED = 10.0
PATIENCE_S = 90.0
STEPS = ("AlertsReceived", "Diagnosed", "PlanProposed", "ActionStarted", "written")


class Timed(Twin):
    """Knows when it began to post each notification."""

    def __init__(self, *, seed: int, speed: float) -> None:
        super().__init__(seed=seed, speed=speed)
        self.posted: list[float] = []

    def _post(self, client: httpx.Client, url: str, payload: dict[str, Any]) -> None:
        self.posted.append(time.time())
        super()._post(client, url, payload)


def until(holds: Callable[[], bool], what: str, pause: float) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"it did not come about that {what}")
        time.sleep(pause)


def environment_of(folder: Path, twin: Twin, **more: str) -> dict[str, str]:
    """The variables of a KT that acts on the twin and keeps what it knows in the folder."""
    return {
        **os.environ,
        "KT_DATA_DIR": str(folder),
        "KT_WEB__PORT": "0",
        "KT_KUBERNETES__KUBECONFIG": str(twin.kubeconfig),
        "KT_PROMETHEUS__URL": twin.prometheus_url,
        "KT_GUARD__ENABLED": "true",
        **more,
    }


def once(options: argparse.Namespace) -> dict[str, float]:
    """Seconds from the first notification to each step, for a fresh KT and a bad rollout."""
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="kt-bench-")))
        twin = Timed(seed=options.seed, speed=SPEED)
        twin.start()
        ending.callback(twin.stop)
        broker = {"KT_BROKER_URL": options.broker} if options.broker else {}
        environment = environment_of(folder, twin, **broker)
        settings = load(None, environment)
        commands = ["serve", "worker", "beat"] if options.broker else ["serve --embedded"]
        for command in commands:
            start(ending, folder, command.split(), environment)
        url = url_of(folder)
        twin.notify(url, None)
        wait_for_all(settings)
        twin.inject("bad-rollout")
        written = _first_write(twin)
        return _steps(settings, twin.posted, written)


def start(
    ending: contextlib.ExitStack, folder: Path, command: list[str], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A command of KT as a process that ends with the stack."""
    output = ending.enter_context((folder / f"{command[0]}.log").open("wb"))
    line = [sys.executable, "-c", "from kt.cli import main; main()", *command]
    process = subprocess.Popen(line, env=environment, stdout=output, stderr=output)
    ending.callback(process.wait)
    ending.callback(process.terminate)
    return process


def url_of(folder: Path) -> str:
    """The webhook of the web process that writes its log there."""
    log = folder / "serve.log"
    until(lambda: "/webhook" in log.read_text(), "KT listens", 0.05)
    found = re.search(r"http://\S+/webhook/alertmanager", log.read_text())
    assert found
    return found[0]


def wait_for_all(settings: Settings) -> None:
    """The cluster is in the graph and a worker takes tasks."""
    with contextlib.closing(open_graph(settings, load_ontology())) as graph:
        until(lambda: bool(graph.get(["Deployment/shop/cart"])), "the cluster is followed", 0.1)
    with contextlib.closing(open_pulses(settings, wall_clock)) as pulses:
        until(lambda: pulses.last(SWEEP) is not None, "a worker takes tasks", 0.1)


def _first_write(twin: Twin) -> float:
    """The wall clock's time when the twin has a Deployment that an action of KT has changed."""

    def acted() -> bool:
        with twin.cluster.lock:
            marks = twin.cluster.store.get("Deployment", "cart", "shop")["metadata"].get("annotations") or {}
        return "kt.io/action" in marks

    until(acted, "KT acts", 0.002)
    return time.time()


def _steps(settings: Settings, posted: list[float], written: float) -> dict[str, float]:
    with contextlib.closing(open_log(settings)) as log:
        journey = Journey(log, log.entries()[-1].incident)
    at = {type(record.event).__name__: record.event.at.timestamp() for record in reversed(journey.records)}
    # Not every notification opens an incident: the one that opened this one is the last before it was opened.
    received = max(each for each in posted if each < at["AlertsReceived"])
    found = {**{name: at[name] for name in STEPS if name in at}, "written": written}
    return {name: round(value - received, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--broker", default="", help="URL of a Redis: web, worker and beat run as processes.")
    options = parser.parse_args()
    runs = []
    for number in range(options.runs):
        runs.append(once(options))
        print(f"run {number + 1}: " + ", ".join(f"{name} {value:.3f} s" for name, value in runs[-1].items()))
    medians = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    settle = Settings().pipeline.settle_s
    total = medians["written"]
    figures = {
        "own_overhead_s": total,
        "worst_s": max(run["written"] for run in runs),
        "beyond_settle_s": round(total - settle, 3),
        "settle_s": settle,
        "steps_s": medians,
        "runs": len(runs),
        "setup": "processes" if options.broker else "embedded",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
