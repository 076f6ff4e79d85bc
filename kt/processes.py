"""The long-lived parts of KT as threads: a worker, the beat, and the follower of the cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery

from diagnose.untold import believed_of
from graph_schema.model import Relation
from graph_schema.store import StoreUnavailable
from kt.incident.log import LogUnavailable
from kt.pipeline.app import STAGES
from kt.runtime import Runtime
from sense.calls import SERIES, ObservedCalls, relations
from sense.kubernetes.follower import TopologyFollower
from verify.prometheus import PrometheusUnavailable, instant

_log = structlog.get_logger(__name__)
LEARNED_EVERY_S = 10.0
"""How often it is looked what was learned, where Prometheus is not asked."""


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
    """Tells the follower who calls whom: what Prometheus says, and what runs of chaos gave away."""

    def __init__(self, runtime: Runtime, following: TopologyFollower) -> None:
        self._runtime, self._following = runtime, following
        self._observed = ObservedCalls()

    def run(self, stop: threading.Event) -> None:
        every_s = self._runtime.settings.prometheus.calls_every_s
        while not stop.wait(every_s or LEARNED_EVERY_S):
            try:
                calls = self._measured() if every_s else set()
                self._following.observe_calls(calls | self._learned())
            except (StoreUnavailable, LogUnavailable) as error:
                _log.warning("calls between services are not known anew", error=str(error))

    def _measured(self) -> set[Relation]:
        """Those that were seen lately; those of before when Prometheus does not answer."""
        seen: set[Relation] = set()
        try:
            seen = relations(labels for labels, _ in instant(self._runtime.settings.prometheus.url, SERIES))
        except PrometheusUnavailable as error:
            _log.warning("calls between services are not measured", error=str(error))
        return self._observed.update(seen, self._runtime.clock())

    def _learned(self) -> set[Relation]:
        return believed_of(self._runtime.learned.counts(), self._runtime.settings.diagnose.learning)


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
