"""`kt chaos templates`: for each fault mode the experiment that repeats it, or the watch where it must not be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from graph_schema.catalogue import Catalogue
    from verify.templates import Attack, Book, Passive


@click.group()
def templates() -> None:
    """Experiments for fault modes: plain Chaos Toolkit, from the knowledge that comes with KT."""


@templates.command("list")
@click.option("--kind", type=click.Choice(["attack", "passive"]), help="Only those that are repeated, or that are not.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
def list_(kind: str | None, as_json: bool) -> None:
    """One line for each fault mode: how it is repeated and within which radius, or why it is not."""
    catalogue, book = _loaded()
    rows = [_row(fault, book.of(fault)) for fault in catalogue.faults]
    rows = [each for each in rows if kind in (None, each["kind"])]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for each in rows:
        colour = {"attack": "cyan", "passive": "bright_black"}.get(each["kind"])
        click.echo(f"{each['fault']:42s} {click.style(each['kind'], fg=colour):8s} {each['how']:18s} {each['about']}")


@templates.command()
@click.argument("fault")
@click.option("--var", "variables", multiple=True, metavar="KEY=VALUE", help="A value; may be repeated.")
@click.option("--yaml", "as_yaml", is_flag=True, help="YAML instead of JSON.")
@click.pass_obj
def show(config: Path | None, fault: str, variables: tuple[str, ...], as_yaml: bool) -> None:
    """Print the experiment for FAULT, for `chaos run` or `kt chaos run`.

    \b
    kt chaos templates show Workload.ScaledToZero --var namespace=shop --var workload=cart > zero.json
    """
    from kt.commands.knowledge import known_fault
    from kt.settings import load
    from verify import plain
    from verify.templates import experiment_of

    catalogue, book = _loaded()
    mode = known_fault(catalogue, fault, "kt chaos templates list")
    values = {"prometheus_url": load(config, os.environ).prometheus.url, **_values(variables)}
    experiment = experiment_of(book, mode, values)
    click.echo(plain.dump(experiment) if as_yaml else json.dumps(experiment, indent=2, ensure_ascii=False))
    for name in experiment["configuration"]:
        if name not in values:
            about = book.variables[name]
            click.echo(f"--var {name}=…  {about.about} (now: {about.default})", err=True)


def _values(variables: tuple[str, ...]) -> dict[str, Any]:
    """Each value as YAML reads it, so that 30 is a number. Raises `UsageError`."""
    import yaml

    found = {}
    for each in variables:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise click.UsageError(f"“{each}”: a variable is KEY=VALUE")
        found[name] = yaml.safe_load(value) if value else ""
    return found


def _row(fault: str, template: Attack | Passive | None) -> dict[str, str]:
    from verify.templates import Attack, Passive

    if isinstance(template, Attack):
        return {
            "fault": fault,
            "kind": "attack",
            "how": template.name,
            "radius": template.radius,
            "about": template.about,
        }
    if isinstance(template, Passive):
        return {"fault": fault, "kind": "passive", "how": template.name, "radius": "", "about": template.why}
    return {"fault": fault, "kind": "none", "how": "", "radius": "", "about": "has no template yet"}


def _loaded() -> tuple[Catalogue, Book]:
    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology
    from verify.templates import load_templates

    return load_catalogue(ontology=load_ontology()), load_templates()
