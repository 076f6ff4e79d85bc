"""`kt chaos report`: one run, or all of them with the resilience of each service, as text, Markdown, HTML or JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import click

from kt.chaos.model import Run

if TYPE_CHECKING:
    from kt.chaos.store import ChaosStore

FORMATS = ("markdown", "html", "json")
MOST_RUNS = 10_000


@click.command()
@click.argument("run", required=False)
@click.option("--format", "form", type=click.Choice(FORMATS), help="Else by the ending of --output, else markdown.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A file to write it to, such as report.html; or a folder, for linked pages of all runs.",
)
@click.pass_obj
def report(config: Path | None, run: str | None, form: str | None, output: Path | None) -> None:
    """The report of RUN (its id or the beginning of it); without RUN of all runs: scores, trends, findings.

    \b
    kt chaos report -o chaos.html
    kt chaos report -o pages/           # index.html with every run's own page; --format markdown for index.md
    kt chaos report 3f2a -o run.md
    """
    from kt.settings import load
    from kt.stores.places import open_chaos

    store = open_chaos(load(config, os.environ))
    if output is not None and (output.is_dir() or not (run or output.suffix)):
        if run or form == "json":
            raise click.UsageError(f"{output} is a folder: it takes the pages of all runs, as html or markdown")
        _pages(form or "html", output, store)
        return
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


def _pages(form: str, folder: Path, store: ChaosStore) -> None:
    """Write a page of all runs and one for each, linked to one another."""
    from kt.chaos import report as plain
    from kt.chaos import report_html
    from kt.chaos.resilience import scores

    ending, now, runs = {"html": "html", "markdown": "md"}[form], datetime.now(UTC), store.runs(limit=MOST_RUNS)

    def link(run: Run) -> str:
        return f"runs/{quote(run.id, safe='')}.{ending}"

    of_all, of_run = (report_html.overview, report_html.page) if form == "html" else (plain.overview, plain.markdown)
    pages = {f"index.{ending}": of_all(runs, scores(runs, now), now, link)}
    for run in runs:
        found = plain.report_of(run, store.journals(run.id))
        pages[unquote(link(run))] = of_run(found, f"../index.{ending}")
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (folder / name).write_text(text)
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be written: {error.strerror or error}") from error
    click.echo(f"{folder / f'index.{ending}'} and {len(runs)} pages of runs are written.")


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
