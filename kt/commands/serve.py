"""`kt serve`, `kt worker`, `kt beat`: the processes of KT. Embedded, `kt serve` is all three in one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import click
from celery import Celery, signals

from kt.pipeline.app import STAGES, create_app
from kt.pipeline.rehearsal import rehearse
from kt.policy import PolicyFile
from kt.processes import Beat, CallsWatch, WorkerThread, follower
from kt.pulse import Pulse
from kt.runtime import Runtime
from kt.settings import Settings, load, settings_file
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
    runtime = _runtime(config, settings)
    app = create_app(runtime)
    web = create_web(
        runtime.log,
        runtime.pulses,
        token=settings.web.token,
        max_body_bytes=settings.web.max_body_bytes,
        on_received=lambda: app.pipeline.enqueue("sense"),
        telemetry=runtime.telemetry,
        brakes=runtime.brakes,
    )
    listening = listen(settings.web.host, settings.web.port, "web.port")
    host, port = listening.getsockname()[:2]
    click.echo(f"KT listens on http://{host}:{port}/webhook/alertmanager", err=True)
    server = uvicorn.Server(uvicorn.Config(web, log_level="warning", access_log=False))
    with _embedded(runtime, app) if embedded else contextlib.nullcontext():
        server.run(sockets=[listening])
    runtime.close()


def _place(_context: click.Context, _option: click.Parameter, given: str | None) -> tuple[str, int] | None:
    if not given:
        return None
    host, _, port = given.rpartition(":")
    if not host or not port.isdigit():
        raise click.BadParameter(f"{given} is not HOST:PORT")
    return host.strip("[]"), int(port)


LISTEN = click.option(
    "--listen",
    metavar="HOST:PORT",
    callback=_place,
    help="Answer /healthz and /metrics there; else at metrics.host and metrics.port.",
)


@click.command()
@click.option("--concurrency", default=4, show_default=True, type=click.IntRange(1, 64))
@LISTEN
@click.pass_obj
def worker(config: Path | None, concurrency: int, listen: tuple[str, int] | None) -> None:
    """Run the stages. As many workers as you like may run; a step is taken by one of them."""
    configure_logs()
    runtime = _runtime(config, load(config, os.environ))
    app = create_app(runtime)
    app.set_default()
    pulse = _pulse("worker", runtime, listen)
    signals.task_postrun.connect(pulse.beat, weak=False)
    # Beside the first steps, which need no cluster.
    threading.Thread(target=rehearse, args=(runtime,), name="rehearsal", daemon=True).start()
    app.worker_main(
        ["worker", "--pool=threads", f"--concurrency={concurrency}", "--loglevel=WARNING", "--without-gossip",
         "--without-mingle", f"--queues={','.join(STAGES)}", f"--hostname=kt-{os.getpid()}@%h"]
    )  # fmt: skip


@click.command()
@LISTEN
@click.pass_obj
def beat(config: Path | None, listen: tuple[str, int] | None) -> None:
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
    Beat(runtime, app, _pulse("beat", runtime, listen).beat).run(stop)


def _runtime(config: Path | None, settings: Settings) -> Runtime:
    """With a policy that follows the settings file, where there is one."""
    runtime = Runtime(settings)
    runtime.telemetry.policy(runtime.policy().version, "")
    path = settings_file(config, os.environ)
    if path is not None:
        runtime.policy = PolicyFile(
            path, os.environ, settings, told=lambda policy, problem: runtime.telemetry.policy(policy.version, problem)
        )
    return runtime


def _pulse(process: str, runtime: Runtime, where: tuple[str, int] | None) -> Pulse:
    """The pulse of this process, heard at (host, port), else where the settings say, else nowhere."""
    pulse, metrics = Pulse(process, runtime.telemetry), runtime.settings.metrics
    where = where or ((metrics.host, metrics.port) if metrics.port else None)
    if where:
        try:
            pulse.listen(*where)
        except OSError as error:
            raise click.ClickException(f"cannot listen on {where[0]}:{where[1]}: {error.strerror or error}") from error
    return pulse


@contextlib.contextmanager
def _embedded(runtime: Runtime, app: Celery) -> Iterator[None]:
    """Worker and beat of this process, for as long as the block runs."""
    running, stop, following = WorkerThread(app), threading.Event(), follower(runtime)
    running.start()
    threads = [
        threading.Thread(target=following.run, args=(stop,), name="follower", daemon=True),
        threading.Thread(target=CallsWatch(runtime, following).run, args=(stop,), name="calls", daemon=True),
        threading.Thread(target=Beat(runtime, app).run, args=(stop,), name="beat", daemon=True),
        threading.Thread(target=rehearse, args=(runtime,), name="rehearsal", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        running.stop()
