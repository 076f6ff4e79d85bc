"""`kt doctor`: what is configured, what answers, what is missing and how to fix it. Changes nothing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import msgspec

from kt.runtime import Runtime
from kt.settings import load

SECRET = ("token", "password", "urls")
SIGNS = {"well": ("green", "✓"), "odd": ("yellow", "!"), "ill": ("red", "✗")}


@click.command()
@click.option("--settings", "show_settings", is_flag=True, help="Print every setting with its value, secrets hidden.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def doctor(config: Path | None, show_settings: bool, as_json: bool) -> None:
    """Check settings and everything that KT talks to, and say how to mend what is not well.

    Exit code 1 when something is ill (✗); what is merely missing (!) does not count.
    """
    settings = load(config, os.environ)
    if show_settings:
        click.echo(json.dumps(_hidden(msgspec.to_builtins(settings)), indent=2))
        return
    from kt.checks import look

    found: dict[str, dict[str, object]] = {}
    for name, finding in look(Runtime(settings)):
        found[name] = {"ok": finding.state != "ill", **msgspec.to_builtins(finding)}
        if not as_json:
            colour, sign = SIGNS[finding.state]
            click.echo(f"{click.style(sign, fg=colour)} {name:<13} {finding.detail}")
            if finding.fix:
                click.echo(f"  {'':<13} → {finding.fix}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
    if not all(each["ok"] for each in found.values()):
        raise click.exceptions.Exit(1)


def _hidden(values: object) -> object:
    if isinstance(values, str):
        return re.sub(r"(://[^/@]*:)[^@]*@", r"\1***@", values)
    if not isinstance(values, dict):
        return values
    return {key: "***" if key in SECRET and value else _hidden(value) for key, value in values.items()}
