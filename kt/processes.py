"""The long-lived parts of KT as threads: a worker, the beat, and the follower of the cluster."""

from __future__ import annotations

import threading
import time
from typing import Any

from celery import Celery

from kt.incident.log import DEAD_S
from kt.pipeline.app import STAGES
from kt.runtime import Runtime
from kt.telemetry import Telemetry
from sense.kubernetes.follower import TopologyFollower


class Beat:
    """Asks for every due step at a fixed interval. Two beats at once do no harm: a step is taken under a lease."""

    def __init__(self, runtime: Runtime, app: Celery) -> None:
        self._runtime, self._app = runtime, app
        self._asked = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self._runtime.settings.pipeline.sweep_interval_s):
            if self._app.pipeline.enqueue("sweep"):
                self._asked = time.monotonic()

    def condition(self) -> dict[str, Any]:
        """Well while the broker takes what is asked for."""
        quiet = time.monotonic() - self._asked
        return {"ok": quiet < DEAD_S, "last_asked_s": round(quiet, 1)}


def worker_condition(telemetry: Telemetry) -> dict[str, Any]:
    """Well while tasks are really taken; a worker that is connected and takes none is not."""
    idle = telemetry.idle_s()
    return {"ok": idle < DEAD_S, "last_task_s": round(idle, 1)}


def follower(runtime: Runtime) -> TopologyFollower:
    return TopologyFollower(runtime.api_client, runtime.graph, runtime.clock, runtime.settings.kubernetes.cluster)


class WorkerThread:
    """A Celery worker in this process: the embedded mode. The same app, tasks and queues as `kt worker`."""

    def __init__(self, app: Celery, *, concurrency: int = 4) -> None:
        app.set_default()
        self._worker: Any = app.WorkController(
            pool="threads", concurrency=concurrency, queues=STAGES, without_gossip=True, without_mingle=True,
            without_heartbeat=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._worker.start, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._worker.stop(in_sighandler=False)
        self._thread.join(10)
