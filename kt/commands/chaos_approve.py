"""`kt chaos approve`: a person agrees to a run that waits for it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from kt.commands import chaos_words as words


@click.command()
@click.argument("run")
@click.option("--token-file", type=click.Path(path_type=Path), help="Holds your token; else KT_OPERATOR_TOKEN.")
@click.option("--by", default="", help="Who agrees; else you, or whose token it is.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def approve(config: Path | None, run: str, token_file: Path | None, by: str, as_json: bool) -> None:
    """Agree to RUN (its id or the beginning of it), which fell due and waits. `kt chaos abort` turns it down.

    It begins as soon as enough different people agreed (chaos.approvals), under the same guard as always.
    """
    from kt.chaos import running
    from kt.commands.approve import decider
    from kt.commands.chaos import one_run
    from kt.settings import load
    from kt.stores.places import open_chaos

    settings = load(config, os.environ)
    who = decider(settings, by, token_file, "approver")
    store = open_chaos(settings)
    one = one_run(store, run)
    agreed = running.approve(store, one.id, who, datetime.now(UTC))
    if agreed is None:
        raise click.UsageError(f"run {one.id} does not wait for anybody any more: it is {one.outcome or one.phase}")
    if as_json:
        words.print_json(words.plain_run(agreed))
        return
    click.echo(f"{words.tick()} {who} agrees to {words.name(agreed.what)}; so do {len(agreed.agreed) - 1} others.")
