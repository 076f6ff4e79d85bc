"""`kt notify`: whether messages to people arrive."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.pass_obj
def notify(config: Path | None) -> None:
    """Send a test message to every service of notify.urls. Exit code 1 when one does not take it."""
    from kt.notify import Message, services
    from kt.settings import load

    found = services(load(config, os.environ).notify.urls)
    if not found:
        raise click.UsageError("notify.urls names nobody; see docs/remediation.md")
    message = Message(kind="outcome", title="KT: a test", body="This is how KT will tell you what it waits for.")
    failed = 0
    for number, service in enumerate(found, 1):
        taken = service.send(message)
        failed += not taken
        word = click.style("taken", fg="green") if taken else click.style("not taken", fg="red")
        click.echo(f"{number}. {service.name}: {word}")
    if failed:
        raise click.exceptions.Exit(1)
