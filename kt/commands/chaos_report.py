"""`kt chaos report`: one run, or all of them with the resilience of each service, as text, Markdown, HTML or JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from kt.chaos.model import Run

FORMATS = ("markdown", "html", "json")
MOST_RUNS = 10_000


@click.command()
@click.argument("run", required=False)
@click.option("--format", "form", type=click.Choice(FORMATS), help="Else by the ending of --output, else markdown.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file to write it to, such as report.html.")
@click.pass_obj
def report(config: Path | None, run: str | None, form: str | None, output: Path | None) -> None:
    """The report of RUN (its id or the beginning of it); without RUN of all runs: scores, trends, findings.

    \b
    kt chaos report -o chaos.html
    kt chaos report 3f2a -o run.md
    """
    from kt.settings import load
    from kt.stores.places import open_chaos

    store = open_chaos(load(config, os.environ))
    form = form or {".html": "html", ".htm": "html", ".json": "json"}.get(output.suffix if output else "", "markdown")
    if run:
        from kt.commands.chaos import one_run

        one = one_run(store, run)
        text = _of_run(form, one, store.journals(one.id))
    else:
        text = _of_all(form, store.runs(limit=MOST_RUNS))
    if output is None:
        click.echo(text.rstrip("\n"))
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise click.UsageError(f"{output} cannot be written: {error.strerror or error}") from error
    click.echo(f"{output} is written.")


def _of_run(form: str, run: Run, journals: Mapping[str, Mapping[str, Any]]) -> str:
    import msgspec

    from kt.chaos import report as plain
    from kt.chaos import report_html

    found = plain.report_of(run, journals)
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(found)).decode()
    return report_html.page(found) if form == "html" else plain.markdown(found)


def _of_all(form: str, runs: Sequence[Run]) -> str:
    import msgspec

    from kt.chaos import report as plain
    from kt.chaos import report_html
    from kt.chaos.resilience import scores

    now = datetime.now(UTC)
    scored = scores(runs, now)
    if form == "json":
        rows = [{**msgspec.to_builtins(each), "trend": each.trend} for each in scored]
        return msgspec.json.format(msgspec.json.encode({"services": rows, "runs": len(runs)})).decode()
    return report_html.overview(runs, scored, now) if form == "html" else plain.overview(runs, scored, now)
