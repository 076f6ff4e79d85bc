"""`kt doctor`: what is configured, what answers, what is missing and how to fix it. Changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from kt.runtime import Runtime
from kt.settings import Settings, load

SECRET = ("token", "password")


@click.command()
@click.option("--settings", "show_settings", is_flag=True, help="Print every setting with its value, secrets hidden.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def doctor(config: Path | None, show_settings: bool, as_json: bool) -> None:
    """Check settings and everything that KT talks to. Exit code 1 when something does not answer."""
    settings = load(config, os.environ)
    if show_settings:
        click.echo(json.dumps(_hidden(msgspec.to_builtins(settings)), indent=2))
        return
    runtime = Runtime(settings)
    checks: dict[str, Callable[[], str]] = {
        "incident log": lambda: f"{runtime.log.counts()[0]} notifications in {settings.store.kind}",
        "graph": lambda: f"{len(runtime.graph.find())} entities",
        "broker": lambda: _broker(settings),
        "kubernetes": lambda: f"{len(runtime.cluster.list('Node'))} nodes at {runtime.api_client.configuration.host}",
        "prometheus": lambda: _prometheus(settings),
        "guard": lambda: _guard(runtime),
        "stop": lambda: _stop(runtime),
    }
    results = {name: _try(check) for name, check in checks.items()}
    if as_json:
        click.echo(json.dumps({name: {"ok": ok, "detail": detail} for name, (ok, detail) in results.items()}, indent=2))
    else:
        for name, (ok, detail) in results.items():
            click.echo(f"{click.style('✓', fg='green') if ok else click.style('✗', fg='red')} {name:<13} {detail}")
    if not all(ok for ok, _ in results.values()):
        raise click.exceptions.Exit(1)


def _try(check: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, check()
    except Exception as error:
        # Whatever goes wrong in a check is its finding.
        return False, f"{error}"[:300]


def _broker(settings: Settings) -> str:
    from kombu.connection import Connection

    connection = Connection(settings.broker_url, connect_timeout=3)  # type: ignore[no-untyped-call]  # kombu is untyped
    with connection:
        connection.ensure_connection(max_retries=1, timeout=3)  # type: ignore[no-untyped-call]  # as above
        return str(connection.as_uri())


def _prometheus(settings: Settings) -> str:
    from verify.prometheus import instant

    rules = instant(settings.prometheus.url, "kt:error_ratio")
    return settings.prometheus.url + ("" if rules else "; it has no kt: series, load deploy/prometheus/kt-rules.yaml")


def _guard(runtime: Runtime) -> str:
    if not runtime.settings.guard.enabled:
        return "off: KT proposes and never acts (guard.enabled)"
    from remediate.guard import OPT_IN

    spaces = runtime.cluster.list("Namespace", labels=f"{OPT_IN}=enabled")
    names = ", ".join(sorted(space["metadata"]["name"] for space in spaces))
    return f"on; KT may act in: {names}" if names else f"on, but no namespace is labelled {OPT_IN}=enabled"


def _stop(runtime: Runtime) -> str:
    from kt.commands.brake import said

    stop = runtime.brakes.stopped()
    return f"{said(stop)}; `kt resume` lets go" if stop else "not stopped; `kt stop` holds everything"


def _hidden(values: object) -> object:
    if not isinstance(values, dict):
        return values
    return {key: "***" if key in SECRET and value else _hidden(value) for key, value in values.items()}
