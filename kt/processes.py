"""The long-lived parts of KT as threads: a worker, the beat, and the follower of the cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery

from graph_schema.store import StoreUnavailable
from kt.pipeline.app import STAGES
from kt.runtime import Runtime
from sense.calls import SERIES, ObservedCalls, relations
from sense.kubernetes.follower import TopologyFollower
from verify.prometheus import PrometheusUnavailable, instant

_log = structlog.get_logger(__name__)


class Beat:
    """Asks for every due step at a fixed interval. Two beats at once do no harm: a step is taken under a lease.

    `asked` is called each time the broker took it."""

    def __init__(self, runtime: Runtime, app: Celery, asked: Callable[[], object] = lambda: None) -> None:
        self._runtime, self._app, self._asked = runtime, app, asked

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self._runtime.settings.pipeline.sweep_interval_s):
            if self._app.pipeline.enqueue("sweep"):
                self._asked()


def follower(runtime: Runtime) -> TopologyFollower:
    options = runtime.settings.kubernetes
    return TopologyFollower(
        runtime.api_client, runtime.graph, runtime.clock, options.cluster, secrets=options.secrets
    )  # fmt: skip


class CallsWatch:
    """Asks Prometheus who calls whom and tells the follower, for as long as it runs."""

    def __init__(self, runtime: Runtime, following: TopologyFollower) -> None:
        self._url, self._every_s = runtime.settings.prometheus.url, runtime.settings.prometheus.calls_every_s
        self._clock, self._following = runtime.clock, following

    def run(self, stop: threading.Event) -> None:
        observed = ObservedCalls()
        while self._every_s and not stop.wait(self._every_s):
            try:
                series = [labels for labels, _ in instant(self._url, SERIES)]
                self._following.observe_calls(observed.update(relations(series), self._clock()))
            except (PrometheusUnavailable, StoreUnavailable) as error:
                _log.warning("calls between services are not known anew", error=str(error))


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
