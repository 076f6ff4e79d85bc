"""What KT tells about itself: Prometheus metrics, and logs as one JSON object a line (or for eyes, on a terminal)."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kt.incident.log import IncidentLog

STAGE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
PHASES = ("new", "diagnosed", "awaiting approval", "acting", "verifying", "undoing")


class Telemetry:
    """Counters of one process. `render` is what `/metrics` answers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.notifications = Counter(
            "kt_notifications_total", "Webhook notifications by outcome", ["outcome"], registry=self.registry
        )
        self._received = Gauge("kt_notifications_received", "Notifications ever kept", registry=self.registry)
        self._unsettled = Gauge(
            "kt_notifications_unsettled", "Notifications kept that no incident has taken yet", registry=self.registry
        )
        self._queue_age = Gauge(
            "kt_queue_age_seconds", "Age of the oldest notification not taken yet", registry=self.registry
        )
        self._incidents = Gauge("kt_incidents_open", "Open incidents by phase", ["phase"], registry=self.registry)
        self._stages = Histogram(
            "kt_stage_seconds",
            "Duration of one visit of a stage",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self._failures = Counter(
            "kt_stage_failures_total", "Visits of a stage that raised", ["stage", "error"], registry=self.registry
        )
        self._actions = Counter(
            "kt_actions_total", "Actions on the cluster by outcome", ["action", "outcome"], registry=self.registry
        )

        self._chaos = Counter("kt_chaos_runs_total", "Runs of chaos by outcome", ["outcome"], registry=self.registry)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a visit of a stage; one that raises is counted by its error."""
        begun = time.perf_counter()
        try:
            yield
        except Exception as error:
            self._failures.labels(name, type(error).__name__).inc()
            raise
        finally:
            self._stages.labels(name).observe(time.perf_counter() - begun)

    def acted(self, action: str, ok: bool) -> None:
        self._actions.labels(action, "ok" if ok else "failed").inc()

    def chaos(self, outcome: str) -> None:
        self._chaos.labels(outcome).inc()

    def observe(self, log: IncidentLog) -> None:
        """Take the figures that only the log knows. Raises `LogUnavailable`."""
        received, unsettled = log.counts()
        self._received.set(received)
        self._unsettled.set(unsettled)
        oldest = log.unsettled(1)
        self._queue_age.set(max(0.0, (datetime.now(UTC) - oldest[0].received_at).total_seconds()) if oldest else 0)
        phases = [entry.phase for entry in log.entries(open_only=True, limit=10_000)]
        for phase in PHASES:
            self._incidents.labels(phase).set(phases.count(phase))

    def render(self) -> bytes:
        return generate_latest(self.registry)


def configure_logs(*, level: str = "info", json: bool | None = None) -> None:
    """Send logs to standard error. `json` None: JSON unless a person is looking."""
    for_eyes = sys.stderr.isatty() if json is None else not json
    renderer = structlog.dev.ConsoleRenderer() if for_eyes else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
