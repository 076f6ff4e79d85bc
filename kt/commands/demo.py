"""`kt demo`: the whole loop on the twin, in one process, through the code that production runs."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import click
import uvicorn

from kt import sections
from kt.commands.incidents import fault_words, show_on_terminal
from kt.incident.events import Approved
from kt.incident.log import Record, VersionConflict
from kt.incident.state import State
from kt.pipeline.app import create_app
from kt.pipeline.journey import Journey
from kt.processes import Beat, WorkerThread, follower
from kt.runtime import Runtime
from kt.settings import Settings
from kt.telemetry import configure_logs
from kt.views.screen import screen
from kt.views.stages import StageView
from kt.views.words import COLOURS, SHORTEST_ID
from kt.web.app import create_app as create_web
from kt.web.listen import listen
from twin.server import FAULTS, Twin

TOKEN = "demo"  # noqa: S105 - of a server on the loopback interface that lives for a minute
SPEED = 10.0
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.1


@click.command()
@click.option("--fault", type=click.Choice(FAULTS), default="bad-rollout", show_default=True, help="What to break.")
@click.option("--ask", is_flag=True, help="Ask before acting.")
@click.option("--seed", default=0, show_default=True, help="Of the simulated cluster.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end instead of the live view.")
def demo(fault: str, ask: bool, seed: int, as_json: bool) -> None:
    """Break a simulated shop and watch KT heal it. Exit code 0 only when healed."""
    configure_logs(level="error")
    with tempfile.TemporaryDirectory(prefix="kt-demo-") as folder, StageView(quiet=as_json) as view:
        twin = Twin(seed=seed, speed=SPEED)
        try:
            view.say("A simulated cluster with a shop starts: front → cart → catalogue → store …")
            twin.start()
            with _running(twin, Path(folder), ask) as (runtime, app):
                view.say(f"Breaking it: {twin.inject(fault)}.", style="red")
                view.broken()
                state, records, seconds = _watch(runtime, app, time.monotonic(), view, ask)
        finally:
            twin.stop()
    _report(state, records, seconds, fault, as_json)
    if state is None or state.phase != "healed":
        raise click.exceptions.Exit(1)


def _settings(twin: Twin, folder: Path, ask: bool) -> Settings:
    """Times are in the twin's seconds, which pass `SPEED` times as fast."""
    agree: Literal[0, 1] = 1 if ask else 0
    return Settings(
        data_dir=str(folder),
        broker_url="memory://",
        kubernetes=sections.Kubernetes(kubeconfig=str(twin.kubeconfig), cluster="twin"),
        prometheus=sections.Prometheus(url=twin.prometheus_url),
        guard=sections.Guard(enabled=True),
        approval=sections.Approval(low=agree, medium=agree, high=agree, expires_s=3600 * SPEED),
        pipeline=sections.Pipeline(
            settle_s=8, verify_quiet_s=0.5, recovery_s=600, evidence_s=300, guard_patience_s=600, sweep_interval_s=0.2
        ),
    )


@contextlib.contextmanager
def _running(twin: Twin, folder: Path, ask: bool) -> Iterator[tuple[Runtime, Any]]:
    """All of KT in this process, its webhook listening, the twin's alerts posted there."""
    runtime = Runtime(_settings(twin, folder, ask), clock=twin.now)
    app = create_app(runtime)
    web = create_web(
        runtime.log,
        runtime.pulses,
        token=TOKEN,
        max_body_bytes=runtime.settings.web.max_body_bytes,
        on_received=lambda: app.pipeline.enqueue("sense"),
        telemetry=runtime.telemetry,
    )
    listening = listen("127.0.0.1", 0, "web.port")
    server = uvicorn.Server(uvicorn.Config(web, log_level="error", access_log=False))
    worker, stop, following = WorkerThread(app), threading.Event(), follower(runtime)
    threads = [
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True),
        threading.Thread(target=following.run, args=(stop,), name="follower", daemon=True),
        threading.Thread(target=Beat(runtime, app).run, args=(stop,), name="beat", daemon=True),
    ]
    worker.start()
    for thread in threads:
        thread.start()
    if not following.synced.wait(30):
        raise click.ClickException("the simulated cluster could not be listed")
    twin.notify(f"http://127.0.0.1:{listening.getsockname()[1]}/webhook/alertmanager", TOKEN)
    try:
        yield runtime, app
    finally:
        stop.set()
        server.should_exit = True
        worker.stop()
        for thread in threads:
            thread.join(5)
        runtime.close()


def _watch(
    runtime: Runtime, app: Any, begun: float, view: StageView, ask: bool
) -> tuple[State | None, list[Record], list[float]]:
    """Tell each event as it comes, until the incident has ended. The seconds are those since the fault, per event."""
    seen: list[float] = []
    journey: Journey | None = None
    while time.monotonic() - begun < PATIENCE_S:
        time.sleep(LOOK_EVERY_S)
        entries = runtime.log.entries()
        if not entries:
            continue
        journey = Journey(runtime.log, entries[-1].incident)
        for record in journey.records[len(seen) :]:
            seen.append(time.monotonic() - begun)
            view.tell(record, journey.state, seen[-1])
        if journey.state.ended:
            break
        if ask and journey.state.phase == "awaiting approval" and not journey.state.approvals:
            view.pause()
            _ask(journey, runtime, app)
            view.go_on()
    return (journey.state, journey.records, seen) if journey else (None, [], seen)


def _ask(journey: Journey, runtime: Runtime, app: Any) -> None:
    _show(journey.records, journey.state, runtime.clock())
    plan = journey.state.plan
    if plan is None or not click.confirm("Carry this plan out?", default=True):
        raise click.ClickException("not carried out")
    with contextlib.suppress(VersionConflict):
        journey.append(Approved(at=runtime.clock(), plan_digest=plan.digest, by="you"))
    app.pipeline.enqueue("remediate", journey.incident)


def _show(records: list[Record], state: State, now: datetime) -> None:
    show_on_terminal(screen(records, state, short=state.id[:SHORTEST_ID], now=now, about=fault_words()))


def _report(state: State | None, records: list[Record], seconds: list[float], fault: str, as_json: bool) -> None:
    stages = _stages(records, seconds)
    if as_json:
        healed = state is not None and state.phase == "healed"
        cause = next(state.diagnosis.selected(), None) if state and state.diagnosis else None
        found = {"entity": cause.entity, "fault": cause.fault, "probability": cause.probability} if cause else None
        verdict = state.verdict.outcome if state and state.verdict else None
        click.echo(
            json.dumps({"fault": fault, "healed": healed, "cause": found, "verdict": verdict, "seconds": stages})
        )
        return
    if state is None:
        click.secho("No alert arrived.", fg="red")
        return
    click.echo()
    _show(records, state, state.updated_at or records[-1].event.at)
    click.echo("\nTime  " + ", ".join(f"{name} {value:.1f} s" for name, value in stages.items()))
    click.secho(f"{state.phase} after {seconds[-1]:.1f} s", fg=COLOURS.get(state.phase), bold=True)


def _stages(records: list[Record], seconds: list[float]) -> dict[str, float]:
    """Seconds (wall clock) from each milestone to the next."""
    milestones = {
        "AlertsReceived": "injection → alert",
        "Diagnosed": "alert → cause",
        "ActionFinished": "cause → action",
        "VerificationStarted": "action → symptom gone",
        "Healed": "→ verified",
    }
    found: dict[str, float] = {}
    last = 0.0
    for record, at in zip(records, seconds, strict=False):
        name = milestones.get(type(record.event).__name__)
        if name and name not in found:
            found[name], last = round(at - last, 2), at
    return found | {"total": round(seconds[-1], 2)} if seconds else found
