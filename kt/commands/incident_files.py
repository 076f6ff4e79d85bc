"""`kt incidents export` and `kt incidents confirm`: an incident as files, and what a person says its cause was."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from graph_schema.model import Signal
    from kt.incident.basis import Basis
    from kt.settings import Settings

NEVER = "0001-01-01T00:00:00Z"
MOST_TRIES = 8


@click.command()
@click.argument("incident")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--metrics/--no-metrics", default=True, help="Ask Prometheus for the minutes around the onset.")
@click.pass_obj
def export(config: Path | None, incident: str, folder: Path, metrics: bool) -> None:
    """Write what the last diagnosis of INCIDENT rested on to FOLDER, as files that `kt diagnose` and `kt replay` take.

    Topology, changes, alerts, rules and metrics, and replay.json, which has all of it and the diagnosis. Labels and
    annotations of alerts are in it as they came.
    """
    import msgspec

    from kt.commands.files import write
    from kt.commands.incidents import whole_id
    from kt.incident.basis import BadBasis
    from kt.replay import RECORDED, recorded
    from kt.settings import load
    from kt.stores.places import open_log

    settings = load(config, os.environ)
    log = open_log(settings)
    whole = whole_id(log, incident)
    try:
        file = recorded(whole, log.load(whole))
    except BadBasis as error:
        raise click.ClickException(f"{whole}: {error}") from error
    if not file.diagnoses:
        raise click.ClickException(f"incident {whole} has no diagnosis of which was kept what it rested on")
    basis = file.diagnoses[-1].basis
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be made: {error.strerror or error}") from error
    for name, content in (
        (RECORDED, file),
        ("topology.json", _topology(basis)),
        ("changes.json", basis.piece.changes),
        ("alerts.json", _payload(basis)),
        *((("rules.json", _rules(basis.watched)),) if basis.watched is not None else ()),
    ):
        write(folder / name, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    if metrics:
        _write_metrics(settings, basis, folder / "metrics.csv")
    names = ", ".join(sorted(each.name for each in folder.iterdir()))
    click.echo(f"Written to {folder}: {names}.")
    click.echo(f"kt replay {folder}   makes the diagnosis again; --knowledge DIR by another catalogue.")


def _topology(basis: Basis) -> dict[str, Any]:
    entities = sorted(basis.piece.entities.values(), key=lambda each: each.id)
    return {"entities": entities, "relations": [*basis.piece.relations, *basis.piece.ended]}


def _payload(basis: Basis) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": "exported",
        "status": "firing",
        "alerts": [_alert(each) for each in basis.alerts],
    }


def _alert(signal: Signal) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": signal.name, **signal.labels},
        "annotations": signal.annotations,
        "startsAt": signal.starts_at,
        "endsAt": NEVER,
        "fingerprint": signal.fingerprint,
    }


def _rules(watched: tuple[str, ...]) -> dict[str, Any]:
    """Rules that watch for the same symptoms as those that there were; what they asked was not kept."""
    rules = [
        {"type": "alerting", "name": f"Watches{number}", "labels": {"symptom": each}, "health": "ok"}
        for number, each in enumerate(watched)
    ]
    return {"status": "success", "data": {"groups": [{"name": "exported", "rules": rules}]}}


def _write_metrics(settings: Settings, basis: Basis, file: Path) -> None:
    """Samples around the onset, as long as Prometheus has them; without them the other files stand."""
    from kt.commands.files import write
    from sense import prometheus
    from sense.metrics.evidence import AS_GIVEN

    start = min((each.starts_at for each in basis.alerts), default=basis.now).timestamp() - AS_GIVEN.before_s
    near = list(basis.piece.entities.values())
    try:
        table = prometheus.read(settings.prometheus.url, prometheus.load(), near, start, basis.now.timestamp())
    except prometheus.RangeUnavailable as error:
        click.secho(f"! no metrics: {error}", fg="yellow", err=True)
        return
    rows = [
        f"{at:.3f},{entity},{metric},{value:.6g}"
        for entity, series_of in sorted(table.items())
        for metric, series in sorted(series_of.items())
        for at, value in zip(series.times, series.values, strict=True)
    ]
    if rows:
        write(file, "\n".join(["timestamp,entity,metric,value", *rows, ""]).encode())
    else:
        click.secho("! no metrics: Prometheus has none of that time any more", fg="yellow", err=True)


@click.command()
@click.argument("incident")
@click.option("--cause", required=True, metavar="ENTITY", help="What it was, such as Deployment/shop/cart.")
@click.option("--fault", required=True, help="The fault mode; `kt knowledge list` lists them.")
@click.option("--why", default="", help="Kept in the log.")
@click.option("--by", default="", help="Who says so; else you, or whose token it is.")
@click.option("--token-file", type=click.Path(path_type=Path), help="Holds your token; else KT_OPERATOR_TOKEN.")
@click.pass_obj
def confirm(
    config: Path | None, incident: str, cause: str, fault: str, why: str, by: str, token_file: Path | None
) -> None:
    """Say what the cause of INCIDENT was, whether KT named it or not. KT learns from it; the last word counts."""
    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology
    from kt.commands.approve import decider
    from kt.commands.incidents import whole_id
    from kt.incident.events import Confirmed
    from kt.incident.log import VersionConflict
    from kt.learned import learn_from
    from kt.pipeline.journey import Journey
    from kt.settings import load
    from kt.stores import places

    settings = load(config, os.environ)
    name = decider(settings, by, token_file, "approver")
    ontology = load_ontology()
    known = load_catalogue(ontology=ontology).faults
    if fault not in known:
        import difflib

        close = difflib.get_close_matches(fault, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; `kt knowledge list` lists them"
        raise click.UsageError(f"“{fault}” is no fault mode{hint}")
    kind = cause.partition("/")[0]
    if ontology.known_kind(kind) is None or "/" not in cause:
        raise click.UsageError(f"--cause {cause}: expected is Kind/namespace/name, or Kind/name without a namespace")
    log = places.open_log(settings)
    whole = whole_id(log, incident)
    for _ in range(MOST_TRIES):
        journey = Journey(log, whole)
        said = journey.state.confirmed
        if said is not None and (said.entity, said.fault, said.by) == (cause, fault, name):
            click.echo(f"{name} has said so already.")
            return
        event = Confirmed(at=datetime.now(UTC), entity=cause, kind=kind, fault=fault, by=name, why=why)
        try:
            journey.append(event)
        except VersionConflict:
            continue
        learn_from(journey.records, places.open_learned(settings), ontology)
        click.echo(f"Noted: {fault} of {cause}. `kt knowledge diff` shows what was learned.")
        return
    raise click.ClickException(f"incident {whole} keeps moving; try again")


COMMANDS = (export, confirm)
