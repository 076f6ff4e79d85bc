"""The Celery app: one task per stage on its own queue, each with the id of an incident (or a run) and nothing else.

A task loads the log, takes the steps that are due, appends, and enqueues the next stage. What is lost with the broker
is found again by the sweep, so no task is ever retried by Celery itself.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from graph_schema.store import StoreUnavailable
from kt.chaos import planning, running
from kt.chaos.lessons import take_in_runs
from kt.incident.events import Escalated
from kt.incident.log import SWEEP, LogUnavailable, VersionConflict
from kt.incident.state import State
from kt.learned import learn_from
from kt.pipeline.doubts import Doubts
from kt.pipeline.gathering import Ahead
from kt.pipeline.journey import Held, Journey, held
from kt.pipeline.stages import diagnose, remediate, sense, undo, verify
from kt.runtime import Runtime

MOST_FAILURES = 5
SOON_S = 5.0
"""A step that is due this soon is asked for at its time; the sweep asks for what is due later."""
STAGES = ("sense", "diagnose", "remediate", "verify", "chaos", "sweep")
LEARNED_WITHIN = timedelta(minutes=10)
"""A run is learned from when its aftermath is over, at most this much later."""
T = TypeVar("T")
_log = structlog.get_logger(__name__)


def create_app(runtime: Runtime) -> Celery:
    """A configured app with its tasks; nothing is connected yet."""
    app = Celery("kt", broker=runtime.settings.broker_url, set_as_current=False)
    app.conf.update(
        task_queues=[Queue(name, routing_key=name) for name in STAGES],  # type: ignore[no-untyped-call]  # kombu is untyped
        task_default_queue="sense",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport(runtime.settings.broker_url),
        task_publish_retry=False,
        task_serializer="json",
        accept_content=["json"],
        timezone="UTC",
    )
    pipeline = Pipeline(runtime, app)
    for name in STAGES:
        app.task(getattr(pipeline, name), name=f"kt.{name}", queue=name)
    app.pipeline = pipeline
    return app


def _transport(broker: str) -> dict[str, Any]:
    if broker.startswith("memory:"):
        return {"polling_interval": 0.02}
    return {
        # A worker that was killed gives its tasks back this soon; stages are short, and a lease keeps a long
        # verification from running twice.
        "visibility_timeout": 30,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


class Pipeline:
    """The tasks. Holder of leases under one name per process and start."""

    def __init__(self, runtime: Runtime, app: Celery) -> None:
        self.runtime = runtime
        self._app = app
        self._start = uuid.uuid4().hex[:8]
        self._ahead = Ahead()
        self._doubts = Doubts()
        self._failed: dict[str, int] = {}
        """Incident → visits in a row that ended with a defect, in this process."""

    def enqueue(self, stage: str, *arguments: str, in_s: float = 0.0) -> bool:
        """Ask for a stage, now or soon. False when the broker is away, which loses nothing: the sweep asks again."""
        try:
            self._app.send_task(f"kt.{stage}", args=arguments, queue=stage, countdown=in_s or None)
        except (OperationalError, OSError) as error:
            _log.warning("broker away, the sweep will ask again", stage=stage, error=str(error))
            return False
        return True

    def sense(self) -> None:
        """Turn what was received into signals of incidents and hand those on."""
        with self.runtime.telemetry.stage("sense"):
            moved = self._store_willing("sense", lambda: sense.drain(self.runtime)) or []
            for state in moved:
                self._next(state)
        # In a storm what is gathered now would be gathered again: more comes in before it is used.
        # What is measured now says little of what is there when an attack of KT's own has calmed down.
        if len(moved) == 1 and moved[0].calm_at is None and diagnose.waits(self.runtime, moved[0]):
            self._store_willing("sense", lambda: self._ahead.gather(self.runtime, moved[0]))

    def diagnose(self, incident: str) -> None:
        self._step("diagnose", incident, lambda journey, lease: diagnose.run(self.runtime, journey, self._ahead))

    def remediate(self, incident: str) -> None:
        self._step("remediate", incident, lambda journey, lease: self._remediate(journey, lease))

    def _remediate(self, journey: Journey, lease: Held) -> None:
        stage = remediate.run if journey.state.undo is None else undo.run
        stage(self.runtime, journey, lease)

    def verify(self, incident: str) -> None:
        self._step("verify", incident, lambda journey, lease: verify.run(self.runtime, journey, lease, self._doubts))

    def sweep(self) -> None:
        """Ask for every step that is due, whatever became of the task that should have taken it."""
        with self.runtime.telemetry.stage("sweep"):
            self._store_willing("sweep", self._sweep)

    def _sweep(self) -> None:
        runtime = self.runtime
        runtime.pulses.beat(SWEEP)
        runtime.policy()  # a change of its file is told also while nothing is decided
        trip = runtime.brakes.tripped()
        open_ = trip is not None and trip.until > runtime.clock()
        runtime.telemetry.held(stopped=runtime.brakes.stopped() is not None, breaker_open=open_)
        if runtime.log.unsettled(1):
            self.enqueue("sense")
        for incident in runtime.log.due(runtime.clock()):
            self._next(Journey(runtime.log, incident).state, at_once=True)
        self._store_willing("chaos", self._sweep_chaos)

    def chaos(self, run: str) -> None:
        """Take a run of chaos to its end: a new one, or one whose runner died."""
        ttl = self.runtime.settings.pipeline.lease_ttl_s
        with (
            structlog.contextvars.bound_contextvars(run=run, stage="chaos"),
            held(self.runtime.leases, f"chaos/{run}", self._holder(), ttl_s=ttl) as lease,
        ):
            if lease is None:
                return
            with self.runtime.telemetry.stage("chaos"):
                self._store_willing("chaos", lambda: running.carry_on(self.runtime, run, lease))

    def _sweep_chaos(self) -> None:
        """Claim what is due; ask for every run that has not ended. One that has its runner is left to it: its lease."""
        runtime = self.runtime
        planning.claim_due(runtime.chaos, runtime.clock(), runtime.settings.chaos.late_s)
        for run in runtime.chaos.open_runs():
            self.enqueue("chaos", run.id)
        aftermath_s, now = runtime.settings.chaos.aftermath_s, runtime.clock()
        # What a stop of KT left out, `kt knowledge` takes in.
        lately = runtime.chaos.runs_during(now - timedelta(seconds=aftermath_s) - LEARNED_WITHIN)
        take_in_runs(
            lately, runtime.chaos, runtime.log, runtime.learned, runtime.catalogue, runtime.ontology, runtime.graph,
            now=now, aftermath_s=aftermath_s,
        )  # fmt: skip

    def _holder(self) -> str:
        return f"{socket.gethostname()}/{os.getpid()}/{self._start}/{uuid.uuid4().hex[:6]}"

    def _step(self, stage: str, incident: str, work: Callable[[Journey, Held], None]) -> None:
        """Load, work if it is this stage's turn, hand on. Losing a race is no failure: the winner goes on."""
        ttl = self.runtime.settings.pipeline.lease_ttl_s
        with (
            structlog.contextvars.bound_contextvars(incident=incident, stage=stage),
            held(self.runtime.leases, f"incident/{incident}", self._holder(), ttl_s=ttl) as lease,
        ):
            if lease is None:
                return
            state = self._store_willing(stage, lambda: self._guarded(stage, incident, lease, work))
        if state:
            self._next(state)

    def _guarded(self, stage: str, incident: str, lease: Held, work: Callable[[Journey, Held], None]) -> State | None:
        """Work; when it fails again and again with a defect, a person is told instead of trying for ever."""
        try:
            state = self._work(stage, incident, lease, work)
        except (VersionConflict, LogUnavailable, StoreUnavailable):
            raise
        except Exception as error:
            self._failed[incident] = self._failed.get(incident, 0) + 1
            if self._failed[incident] < MOST_FAILURES:
                raise
            _log.exception("stage failed for good", stage=stage)
            self.runtime.telemetry.failed(stage, error)
            journey = Journey(self.runtime.log, incident)
            why = f"KT itself failed {MOST_FAILURES} times at “{stage}”: {error}"
            journey.append(Escalated(at=self.runtime.clock(), why=why))
            self.runtime.messenger.tell(journey.records[-1:], journey.state)
            self.runtime.ended(journey.state)
            self.runtime.telemetry.ended(journey.state)
            state = journey.state
        self._failed.pop(incident, None)
        return state

    def _work(self, stage: str, incident: str, lease: Held, work: Callable[[Journey, Held], None]) -> State | None:
        """Where the incident stands afterwards; None when it did not move, and is the sweep's to ask for again."""
        journey = Journey(self.runtime.log, incident)
        if journey.state.next_step != stage:
            return journey.state
        before = journey.state.version
        try:
            with self.runtime.telemetry.stage(stage):
                work(journey, lease)
        finally:
            self.runtime.messenger.tell(journey.records[before:], journey.state)
        if journey.state.ended:
            self.runtime.ended(journey.state)
            self.runtime.telemetry.ended(journey.state)
            learn_from(journey.records, self.runtime.learned, self.runtime.ontology)
        return journey.state if journey.state.version > before else None

    def _store_willing(self, stage: str, work: Callable[[], T]) -> T | None:
        """Run work; a store that is away or a lost race is left to the sweep, anything else is logged and counted."""
        try:
            return work()
        except VersionConflict:
            _log.info("somebody else moved it first", stage=stage)
        except (LogUnavailable, StoreUnavailable) as error:
            self.runtime.telemetry.failed(stage, error)
            _log.warning("store away, the sweep will ask again", stage=stage, error=str(error))
        except Exception as error:
            self.runtime.telemetry.failed(stage, error)
            # A defect must not take the worker along, nor hide: it is counted, told with its place, and tried again.
            _log.exception("stage failed, the sweep will ask again", stage=stage)
        return None

    def _next(self, state: State, *, at_once: bool = False) -> None:
        """Enqueue the stage whose turn it is, if its time has come or, unless `at_once`, comes soon."""
        stage = state.next_step
        if stage is None or state.due_at is None:
            return
        due = max(state.due_at, diagnose.settled_at(self.runtime, state)) if stage == "diagnose" else state.due_at
        wait = max(0.0, (due - self.runtime.clock()).total_seconds())
        if wait <= (0.0 if at_once else SOON_S):
            self.enqueue(stage, state.id, in_s=wait)
