"""`kt serve`, `kt worker`, `kt beat`: the processes of KT. Embedded, `kt serve` is all three in one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import click
from celery import Celery

from kt.pipeline.app import STAGES, create_app
from kt.processes import Beat, CallsWatch, WorkerThread, follower
from kt.runtime import Runtime
from kt.settings import load
from kt.telemetry import configure_logs


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
        token=settings.web.token,
        max_body_bytes=settings.web.max_body_bytes,
        on_received=lambda: app.pipeline.enqueue("sense"),
        telemetry=runtime.telemetry,
    )
    listening = listen(settings.web.host, settings.web.port)
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
    configure_logs()
    app = create_app(Runtime(load(config, os.environ)))
    app.set_default()
    app.worker_main(
        ["worker", "--pool=threads", f"--concurrency={concurrency}", "--loglevel=WARNING", "--without-gossip",
         "--without-mingle", f"--queues={','.join(STAGES)}", f"--hostname=kt-{os.getpid()}@%h"]
    )  # fmt: skip


@click.command()
@click.pass_obj
def beat(config: Path | None) -> None:
    """Follow the cluster and ask for every step that is due, whatever became of its task."""
    configure_logs()
    runtime = Runtime(load(config, os.environ))
    app = create_app(runtime)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    following = follower(runtime)
    threading.Thread(target=following.run, args=(stop,), name="follower", daemon=True).start()
    threading.Thread(target=CallsWatch(runtime, following).run, args=(stop,), name="calls", daemon=True).start()
    Beat(runtime, app).run(stop)


@contextlib.contextmanager
def _embedded(runtime: Runtime, app: Celery) -> Iterator[None]:
    """Worker and beat of this process, for as long as the block runs."""
    running, stop, following = WorkerThread(app), threading.Event(), follower(runtime)
    running.start()
    threads = [
        threading.Thread(target=following.run, args=(stop,), name="follower", daemon=True),
        threading.Thread(target=CallsWatch(runtime, following).run, args=(stop,), name="calls", daemon=True),
        threading.Thread(target=Beat(runtime, app).run, args=(stop,), name="beat", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        running.stop()


def listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port}: {error.strerror}; set web.port, or stop what holds it"
        ) from error
    listening.listen(2048)
    return listening
