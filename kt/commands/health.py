"""`kt health`: asks a process of KT whether it is well. The health check of its containers; needs no other program."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

import click

TIMEOUT_S = 5.0


@click.command()
@click.argument("url", required=False)
@click.pass_obj
def health(config: Path | None, url: str | None) -> None:
    """Ask URL, by default /readyz of the web process of these settings; exit code 1 unless it is well."""
    where = url or _web(config)
    if not where.startswith(("http://", "https://")):
        raise click.UsageError(f"{where} is not the address of a web page; give http://HOST:PORT/healthz")
    # No proxy: what is asked is beside this process.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(where, timeout=TIMEOUT_S) as answer:
            click.echo(answer.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        raise click.ClickException(f"{where}: {error.code} {error.read().decode(errors='replace')}") from error
    except OSError as error:
        raise click.ClickException(f"{where} does not answer: {getattr(error, 'reason', error)}") from error


def _web(config: Path | None) -> str:
    from kt.settings import load  # only when no address is given

    web = load(config, os.environ).web
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(web.host, web.host)  # noqa: S104  # every address: ask the nearest
    return f"http://{host}:{web.port}/readyz"
