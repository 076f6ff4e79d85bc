"""`kt playbooks`: what KT can do, and whether a playbook of one's own is right. Needs no cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import msgspec

from kt.commands.incidents import echo_json
from kt.commands.playbooks_try import try_
from remediate.actions import ACTIONS
from remediate.playbook import Playbook, load_playbooks, read_playbook, schema
from remediate.trials import Rate, by_fault


@click.group()
def playbooks() -> None:
    """List playbooks, show one with its record, check a file of your own, try one without harm."""


@playbooks.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def list_(config: Path | None, as_json: bool) -> None:
    """The built-in playbooks and those of guard.playbooks."""
    found = _all(config)
    if as_json:
        echo_json(list(found.values()))
        return
    for playbook in found.values():
        click.echo(f"{click.style(f'{playbook.name:<20}', bold=True)} {playbook.risk:<7} {playbook.about}")


@playbooks.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def show(config: Path | None, name: str, as_json: bool) -> None:
    """Everything about the playbook NAME, as a file of its own would say it, and how often it helped so far."""
    found = _all(config)
    if name not in found:
        raise click.UsageError(f"there is no playbook “{name}”; there are {', '.join(sorted(found))}")
    record = _record(config, name)
    if as_json:
        echo_json({**msgspec.to_builtins(found[name]), "record": [_told(*each) for each in record.items()]})
        return
    import yaml

    click.echo(
        yaml.safe_dump(msgspec.to_builtins(found[name]), sort_keys=False, allow_unicode=True, width=110), nl=False
    )
    click.echo("\nRecord (95 % intervals):" if record else "\nRecord: it was never carried out to the end here.")
    for fault, rate in record.items():
        soon = f", in about {rate.median_s:.0f} s" if rate.median_s is not None else ""
        share = f"helped {rate.helped} of {rate.tried} times, {rate.low:.0%} to {rate.high:.0%}{soon}"
        click.echo(f"  {fault:<36} {share}")


@playbooks.command("schema")
def schema_() -> None:
    """The JSON Schema of a playbook file, for editors and CI."""
    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


@playbooks.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Whether FILES are right. Exit code 2 with file, line and reason when one is not."""
    found = [read_playbook(file, ACTIONS) for file in files]
    if as_json:
        echo_json(found)
        return
    for file, playbook in zip(files, found, strict=True):
        click.echo(f"{file}: “{playbook.name}” is right")


playbooks.add_command(try_)


def _told(fault: str, rate: Rate) -> dict[str, object]:
    return {"fault": fault, "share": rate.share, **msgspec.to_builtins(rate)}


def _record(config: Path | None, name: str) -> dict[str, Rate]:
    """Fault → how often it helped; nothing where KT has kept nothing yet: looking must not make a store."""
    from kt.settings import load
    from kt.stores.places import open_trials

    settings = load(config, os.environ)
    if settings.store.kind == "sqlite" and not (settings.data / "kt.db").exists():
        return {}
    trials = open_trials(settings)
    try:
        return by_fault(trials.of(playbook=name))
    finally:
        trials.close()


def _all(config: Path | None) -> dict[str, Playbook]:
    from kt.settings import load

    folder = load(config, os.environ).guard.playbooks
    return load_playbooks(ACTIONS, Path(folder) if folder else None)
