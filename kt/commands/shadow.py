"""`kt guard shadow`: what KT would have done while it only watched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from kt.commands.incidents import MOST_KNOWN, echo_json, open_log, show_on_terminal


@click.command()
@click.option("--days", default=7.0, show_default=True, type=click.FloatRange(min=0), help="How far to look back.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def shadow(config: Path | None, days: float, as_json: bool) -> None:
    """What KT would have done while guard.enabled was off, and how those incidents ended without it."""
    from kt.views.shadow import report, since, would_have
    from kt.views.words import short_ids

    log = open_log(config)
    entries = log.entries(limit=MOST_KNOWN)
    opened = [(entry.incident, entry.opened_at) for entry in entries]
    chosen = since(opened, datetime.now(UTC) - timedelta(days=days))
    found = [each for incident in chosen for each in would_have(log.load(incident))]
    if as_json:
        echo_json(found)
        return
    show_on_terminal(report(found, len(chosen), short_ids([entry.incident for entry in entries])))
