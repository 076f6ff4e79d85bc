"""`kt diagnose`: the diagnosis of a snapshot of files; for post-mortems and for trying rules, without any server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from graph_schema.model import Change, Diagnosis, Entity, Hypothesis, Relation, Subgraph
from sense.alertmanager import AlertBatch, BadPayload, parse

T = TypeVar("T")
FEWEST = 5


class _Topology(msgspec.Struct):
    entities: list[Entity]
    relations: list[Relation]


@click.command()
@click.option("--topology", "-t", type=click.Path(path_type=Path), required=True, help="Entities and relations (JSON).")
@click.option("--alerts", "-a", type=click.Path(path_type=Path), required=True, help="Alertmanager payload(s) (JSON).")
@click.option("--changes", "-c", type=click.Path(path_type=Path), help="What was altered on purpose (JSON).")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def diagnose(config: Path | None, topology: Path, alerts: Path, changes: Path | None, as_json: bool) -> None:
    """Find the likeliest cause of ALERTS in a TOPOLOGY.

    \b
    kt diagnose --topology T.json --alerts A.json --changes C.json

    The formats are described in docs/offline-diagnosis.md.
    """
    import os

    from diagnose import diagnose as find_cause
    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology
    from kt.settings import load
    from sense.index import Index
    from sense.mapping import LabelMapping

    settings = load(config, os.environ)
    piece = _piece(topology, changes)
    ontology = load_ontology()
    index = Index(piece.entities.values())
    mapping = LabelMapping.load(Path(settings.sense.label_mapping) if settings.sense.label_mapping else None)
    signals = mapping.signals([alert for batch in _batches(alerts) for alert in batch.alerts], index.lookup)
    answer = find_cause(piece, signals, load_catalogue(ontology=ontology), ontology, now=datetime.now(UTC))
    if as_json:
        click.echo(json.dumps(_plain(answer), indent=2))
    else:
        _show(answer)


def _piece(topology: Path, changes: Path | None) -> Subgraph:
    content = _read(topology, _Topology, '{"entities": […], "relations": […]}')
    entities: dict[str, Entity] = {}
    for entity in content.entities:
        if entity.id in entities:
            raise click.UsageError(f"{topology}: entity “{entity.id}” is there twice; ids must be unique")
        entities[entity.id] = entity
    for number, relation in enumerate(content.relations):
        for end in (relation.source, relation.target):
            if end not in entities:
                raise click.UsageError(
                    f"{topology}: relations[{number}] names “{end}”, which is not among the entities"
                )
    known = _read(changes, list[Change], '[{"entity": …, "at": …, "kind": …}]') if changes else []
    aware = [msgspec.structs.replace(each, at=_utc(each.at)) for each in known]
    return Subgraph(entities, tuple(content.relations), tuple(aware))


def _batches(path: Path) -> list[AlertBatch]:
    """One payload or a JSON array of them."""
    raw = _read(path, msgspec.Raw, "a webhook payload of Alertmanager, or an array of them")
    text = bytes(raw)
    parts = (
        [bytes(each) for each in msgspec.json.decode(text, type=list[msgspec.Raw])] if text.startswith(b"[") else [text]
    )
    found: list[AlertBatch] = []
    for number, part in enumerate(parts):
        try:
            found.append(parse(part))
        except BadPayload as error:
            raise click.UsageError(f"{path}: payload {number + 1}: {error}") from error
    return found


def _read(path: Path, type_: type[T], expected: str) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except msgspec.ValidationError as error:
        raise click.UsageError(f"{path}: {error}; expected is {expected}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not JSON: {error}") from error


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _plain(answer: Diagnosis) -> dict[str, Any]:
    return {
        "hypotheses": [
            {
                "entity": each.entity,
                "fault": each.fault,
                "probability": each.probability,
                "explains": list(each.explains),
                "paths": [list(path) for path in each.paths],
                "evidence_for": [evidence.text for evidence in each.evidence_for],
                "evidence_against": [evidence.text for evidence in each.evidence_against],
            }
            for each in answer.hypotheses
        ],
        "causes": list(answer.causes),
        "unexplained": list(answer.unexplained),
        "unmapped": list(answer.unmapped),
        "warnings": list(answer.warnings),
    }


def _show(answer: Diagnosis) -> None:
    for warning in answer.warnings:
        click.secho(f"! {warning}", fg="yellow", err=True)
    if not answer.hypotheses:
        click.echo("No cause was found: no firing alert maps to an entity of the topology.")
    for index, each in enumerate(answer.hypotheses[: max(FEWEST, len(answer.causes))]):
        _show_one(each, is_cause=index in answer.causes)
    for name, fingerprints in (("unexplained", answer.unexplained), ("unmapped", answer.unmapped)):
        if fingerprints:
            click.secho(f"{name}: {', '.join(fingerprints)}", fg="yellow")


def _show_one(each: Hypothesis, *, is_cause: bool) -> None:
    colour = "green" if is_cause else None
    click.secho(f"{each.probability:6.1%}  {each.fault} of {each.entity}", fg=colour, bold=is_cause)
    if not is_cause:
        return
    for path in dict.fromkeys(each.paths):
        click.echo(f"        {' → '.join(path)}")
    for evidence in each.evidence_for:
        click.echo(f"      + {evidence.text}")
    for evidence in each.evidence_against:
        click.echo(f"      - {evidence.text}")
