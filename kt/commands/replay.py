"""`kt replay`: recorded incidents against another version of the knowledge, or of KT: what would change."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kt.replay import Case, Compared, Name

COLOURS = {"better": "green", "worse": "red", "changed": "yellow", "moved": "cyan", "same": None}
FAILING = {"change": ("changed", "better", "worse"), "worse": ("worse",), "never": ()}


@click.command()
@click.argument("what", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All incidents in the store.")
@click.option("--knowledge", type=click.Path(path_type=Path), help="Folder of the other catalogue; else KT's own.")
@click.option(
    "--fail-on",
    type=click.Choice(list(FAILING)),
    default="change",
    show_default=True,
    help="When to end with code 1: any other cause, a true cause lost, never.",
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def replay(
    config: Path | None, what: Sequence[str], everything: bool, knowledge: Path | None, fail_on: str, as_json: bool
) -> None:
    """Diagnose recorded incidents again and show what would change.

    \b
    kt replay --all --knowledge graph_schema/knowledge
    kt replay incidents/2026-03-01 incidents/2026-03-04 --knowledge new/ --fail-on worse

    WHAT: ids of incidents in the store (or their beginnings), or folders: those that `kt incidents export` wrote, or
    any with the files of `kt diagnose`. Without --knowledge it shows what this version of KT makes of them.

    Exit code: 0 nothing changed (see --fail-on), 1 something did, 2 wrong use or input.
    """
    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology
    from kt.replay import compare, knowledge_in

    if bool(what) == everything:
        raise click.UsageError("say what to replay: ids of incidents, folders, or --all")
    if knowledge is not None and not knowledge.is_dir():
        raise click.UsageError(f"--knowledge {knowledge} is no folder")
    if knowledge is not None:
        catalogue, ontology = knowledge_in(knowledge)
    else:
        ontology = load_ontology()
        catalogue = load_catalogue(ontology=ontology)
    without: list[str] = []
    found = [compare(case, catalogue, ontology) for case in _cases(config, what, without)]
    tally = Counter(each.verdict for each in found)
    if as_json:
        rows = [{name: getattr(each, name) for name in each.__struct_fields__} for each in found]
        click.echo(json.dumps({"cases": rows, "verdicts": tally, "without_recording": without}, indent=2))
    else:
        for each in found:
            _show(each)
        for name in without:
            click.secho(f"! {name}: what its diagnosis rested on was not recorded", fg="yellow", err=True)
        click.echo(f"{len(found)} diagnoses: " + (", ".join(f"{n} {name}" for name, n in sorted(tally.items())) or "-"))
    if any(each.verdict in FAILING[fail_on] for each in found):
        raise click.exceptions.Exit(1)


def _cases(config: Path | None, what: Sequence[str], without: list[str]) -> Iterator[Case]:
    """Of folders and of the store; `without`: incidents in which nothing was recorded."""
    from kt.replay import BadCase, in_folder

    folders = [each for each in what if Path(each).is_dir()]
    for each in folders:
        try:
            yield from in_folder(Path(each))
        except BadCase as error:
            raise click.UsageError(str(error)) from error
    ids = [each for each in what if each not in folders]
    if ids or not what:
        yield from _stored(config, ids, without)


def _stored(config: Path | None, ids: Sequence[str], without: list[str]) -> Iterator[Case]:
    from kt.commands.incidents import MOST_KNOWN, whole_id
    from kt.incident.basis import BadBasis
    from kt.replay import cases_of, recorded
    from kt.settings import load
    from kt.stores.places import open_log

    log = open_log(load(config, os.environ))
    known = log.entries(limit=MOST_KNOWN)
    wanted = [whole_id(log, each, known) for each in ids] or [entry.incident for entry in known]
    for incident in wanted:
        try:
            found = cases_of(recorded(incident, log.load(incident)))
        except BadBasis as error:
            raise click.ClickException(f"{incident}: {error}") from error
        if not found:
            without.append(incident)
        yield from found


def _show(each: Compared) -> None:
    click.secho(f"{each.verdict:8s}{each.case}", fg=COLOURS[each.verdict], bold=each.verdict != "same")
    if each.verdict == "same":
        return
    low, high = each.probability
    click.echo(f"        {_names(each.before)} ({low:.0%})  →  {_names(each.after)} ({high:.0%})")
    if each.truths and each.verdict != "moved":
        click.echo(f"        it was: {_names(each.truths)}")


def _names(names: Sequence[Name]) -> str:
    return " and ".join(f"{fault} of {entity}" if fault else entity for entity, fault in names) or "no cause"
