"""`kt serve`, `kt worker`, `kt beat`: the processes of KT. Embedded, `kt serve` is all three in one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import click
from celery import Celery

from kt.pipeline.app import STAGES, create_app
from kt.processes import Beat, WorkerThread, follower, worker_condition
from kt.runtime import Runtime
from kt.settings import load
from kt.telemetry import configure_logs
from kt.web.listen import listen


@click.command()
@click.option("--embedded", is_flag=True, help="Worker, beat and broker in this process: nothing else is needed.")
@click.pass_obj
def serve(config: Path | None, embedded: bool) -> None:
    """Take alerts in over HTTP: POST /webhook/alertmanager, /healthz, /readyz, /metrics."""
    import msgspec
    import uvicorn

    from kt.web.app import create_app as create_web

    configure_logs()
    settings = load(config, os.environ)
    if embedded:
        settings = msgspec.structs.replace(settings, broker_url="memory://")
    runtime = Runtime(settings)
    app = create_app(runtime)
    web = create_web(
        runtime.log,
        runtime.pulses,
        token=settings.web.token,
        max_body_bytes=settings.web.max_body_bytes,
        on_received=lambda: app.pipeline.enqueue("sense"),
        telemetry=runtime.telemetry,
    )
    listening = listen(settings.web.host, settings.web.port, "web.port")
    host, port = listening.getsockname()[:2]
    click.echo(f"KT listens on http://{host}:{port}/webhook/alertmanager", err=True)
    server = uvicorn.Server(uvicorn.Config(web, log_level="warning", access_log=False))
    with _embedded(runtime, app) if embedded else contextlib.nullcontext():
        server.run(sockets=[listening])
    runtime.close()


@click.command()
@click.option("--concurrency", default=4, show_default=True, type=click.IntRange(1, 64))
@click.pass_obj
def worker(config: Path | None, concurrency: int) -> None:
    """Run the stages. As many workers as you like may run; a step is taken by one of them."""
    from kt.web import health

    configure_logs()
    runtime = Runtime(load(config, os.environ))
    app = create_app(runtime)
    app.set_default()
    metrics = runtime.settings.metrics
    health.serve(metrics.host, metrics.port, runtime.telemetry, lambda: worker_condition(runtime.telemetry))
    # Beside the first steps, which need no cluster.
    threading.Thread(target=runtime.warm, name="warm-up", daemon=True).start()
    app.worker_main(
        ["worker", "--pool=threads", f"--concurrency={concurrency}", "--loglevel=WARNING", "--without-gossip",
         "--without-mingle", f"--queues={','.join(STAGES)}", f"--hostname=kt-{os.getpid()}@%h"]
    )  # fmt: skip


@click.command()
@click.pass_obj
def beat(config: Path | None) -> None:
    """Follow the cluster and ask for every step that is due, whatever became of its task."""
    from kt.web import health

    configure_logs()
    runtime = Runtime(load(config, os.environ))
    app = create_app(runtime)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=follower(runtime).run, args=(stop,), name="follower", daemon=True).start()
    ticking = Beat(runtime, app)
    metrics = runtime.settings.metrics
    health.serve(metrics.host, metrics.port, runtime.telemetry, ticking.condition)
    ticking.run(stop)


@contextlib.contextmanager
def _embedded(runtime: Runtime, app: Celery) -> Iterator[None]:
    """Worker and beat of this process, for as long as the block runs."""
    running, stop = WorkerThread(app), threading.Event()
    running.start()
    threads = [
        threading.Thread(target=follower(runtime).run, args=(stop,), name="follower", daemon=True),
        threading.Thread(target=Beat(runtime, app).run, args=(stop,), name="beat", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        running.stop()
