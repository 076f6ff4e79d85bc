"""What KT tells about itself: Prometheus metrics, and logs as one JSON object a line (or for eyes, on a terminal)."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kt.incident.log import IncidentLog
from kt.incident.state import State

STAGE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
INCIDENT_BUCKETS = (1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)
OUTCOMES = {
    "kept": ("",),
    "refused": ("bad payload", "too large"),
    "unauthorized": ("token",),
    "not kept": ("store away", "starting"),
    "gone": ("sender gone",),
}
"""Of a notification: outcome → why. Only what is kept was acknowledged; who is told “not kept” sends again."""
PHASES = ("new", "diagnosed", "awaiting approval", "acting", "verifying", "undoing")


class Telemetry:
    """What one process has counted. Each exposes its own: web what came in, workers what the stages did.

    The figures of the store (`observe`) are the same whoever asks; only the web process exposes them, so that a sum
    over processes does not count them twice.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._notifications = Counter(
            "kt_notifications_total",
            "Webhook notifications by outcome and why; kept: durable and acknowledged",
            ["outcome", "reason"],
            registry=registry,
        )
        for outcome, reasons in OUTCOMES.items():
            for reason in reasons:
                # There from the start: a series that is born at 1 shows Prometheus no increase.
                self._notifications.labels(outcome, reason)
        self._received = Gauge("kt_notifications_received", "Notifications ever kept", registry=registry)
        self._unsettled = Gauge(
            "kt_notifications_unsettled", "Notifications kept that no incident has taken yet", registry=registry
        )
        self._queue_age = Gauge(
            "kt_queue_age_seconds", "Age of the oldest notification not taken yet", registry=registry
        )
        self._due_age = Gauge(
            "kt_due_age_seconds", "How long the step that is due the longest has not been taken", registry=registry
        )
        self._last_sweep = Gauge(
            "kt_last_sweep_timestamp_seconds",
            "When a worker took a sweep last, 0 if never: a time long ago means that no step is taken",
            registry=registry,
        )
        self._store_up = Gauge("kt_store_up", "1 when the incident log answered this scrape", registry=registry)
        self._incidents = Gauge("kt_incidents_open", "Open incidents by phase", ["phase"], registry=registry)
        self._ended = Histogram(
            "kt_incident_seconds",
            "From an incident's first alert to its end, by how it ended",
            ["outcome"],
            buckets=INCIDENT_BUCKETS,
            registry=registry,
        )
        self._stages = Histogram(
            "kt_stage_seconds", "Duration of one visit of a stage", ["stage"], buckets=STAGE_BUCKETS, registry=registry
        )
        self._failures = Counter(
            "kt_stage_failures_total", "Visits of a stage that failed", ["stage", "error"], registry=registry
        )
        self._actions = Counter(
            "kt_actions_total",
            "Actions on the cluster by outcome: ok, failed, undone, undo failed",
            ["action", "outcome"],
            registry=registry,
        )

        self._breaker = Gauge(
            "kt_breaker_open", "1 while the circuit breaker is open: KT only proposes", registry=registry
        )
        self._stopped = Gauge("kt_stopped", "1 while somebody has stopped KT (kt stop)", registry=registry)
        self._policy_refused = Gauge(
            "kt_policy_refused", "1 while the policy of the settings file is refused: the one before goes on",
            registry=registry,
        )  # fmt: skip
        self._policy = Gauge(
            "kt_policy_info", "1 for the version of the policy in force", ["version"], registry=registry
        )
        self._messages = Counter(
            "kt_messages_total", "Messages to people by service and outcome", ["service", "outcome"], registry=registry
        )
        self._chaos = Counter("kt_chaos_runs_total", "Runs of chaos by outcome", ["outcome"], registry=registry)

    def kept(self) -> None:
        """A notification is durable and was acknowledged."""
        self._notifications.labels("kept", "").inc()

    def refused(self, reason: str) -> None:
        """A notification was not taken; `reason` is one of `OUTCOMES`."""
        outcome = next(outcome for outcome, reasons in OUTCOMES.items() if reason in reasons)
        self._notifications.labels(outcome, reason).inc()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a visit of a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(name).observe(time.perf_counter() - begun)

    def failed(self, stage: str, error: Exception) -> None:
        self._failures.labels(stage, type(error).__name__).inc()

    def acted(self, action: str, ok: bool) -> None:
        self._actions.labels(action, "ok" if ok else "failed").inc()

    def undone(self, action: str, ok: bool) -> None:
        self._actions.labels(action, "undone" if ok else "undo failed").inc()

    def ended(self, state: State) -> None:
        if state.opened_at and state.updated_at:
            self._ended.labels(state.phase).observe((state.updated_at - state.opened_at).total_seconds())

    def held(self, *, stopped: bool, breaker_open: bool) -> None:
        """Whether everything is held, and whether KT only proposes."""
        self._stopped.set(stopped)
        self._breaker.set(breaker_open)

    def policy(self, version: str, problem: str) -> None:
        """The policy in force; `problem`: why its file is refused, if it is."""
        self._policy.clear()
        self._policy.labels(version).set(1)
        self._policy_refused.set(bool(problem))

    def told(self, service: str, outcome: str) -> None:
        """A message to people was sent, failed, or was dropped since too many waited."""
        self._messages.labels(service, outcome).inc()

    def chaos(self, outcome: str) -> None:
        self._chaos.labels(outcome).inc()

    def observe(self, log: IncidentLog, last_sweep: datetime | None, now: datetime) -> None:
        """Take the figures that only the store knows. Raises `LogUnavailable`."""
        received, unsettled = log.counts()
        self._received.set(received)
        self._unsettled.set(unsettled)
        oldest = log.unsettled(1)
        self._queue_age.set(_age(oldest[0].received_at, now) if oldest else 0)
        entries = log.entries(open_only=True, limit=10_000)
        due = [entry.due_at for entry in entries if entry.due_at]
        self._due_age.set(_age(min(due), now) if due else 0)
        phases = [entry.phase for entry in entries]
        for phase in PHASES:
            self._incidents.labels(phase).set(phases.count(phase))
        self._last_sweep.set(last_sweep.timestamp() if last_sweep else 0)
        self._store_up.set(1)

    def store_away(self) -> None:
        """The store did not answer: its other figures stay as they were."""
        self._store_up.set(0)

    def render(self) -> bytes:
        return generate_latest(self.registry)


def _age(at: datetime, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds())


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
