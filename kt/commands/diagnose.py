"""`kt diagnose`: the diagnosis of a snapshot of files; for post-mortems and for trying rules, without any server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from graph_schema.model import Change, Diagnosis, Entity, Hypothesis, Relation, Signal, Subgraph
from sense.alertmanager import AlertBatch, BadPayload, parse

T = TypeVar("T")
FEWEST = 5


class _Topology(msgspec.Struct):
    entities: list[Entity]
    relations: list[Relation]


@click.command()
@click.option("--topology", "-t", type=click.Path(path_type=Path), help="Entities and relations (JSON).")
@click.option("--alerts", "-a", type=click.Path(path_type=Path), help="Alertmanager payload(s) (JSON).")
@click.option("--changes", "-c", type=click.Path(path_type=Path), help="What was altered on purpose (JSON).")
@click.option("--metrics", "-m", type=click.Path(path_type=Path), help="Samples (CSV, or a folder of such files).")
@click.option("--quiet", "-q", type=click.Path(path_type=Path), help="The same metrics from a time without incidents.")
@click.option("--logs", "-l", type=click.Path(path_type=Path), help="Log lines (one JSON object a line).")
@click.option("--traces", "-s", type=click.Path(path_type=Path), help="Spans (one JSON object a line).")
@click.option(
    "--rules", "-r", type=click.Path(path_type=Path), help="Alerts that are watched for (Prometheus' rules API)."
)
@click.option("--at", help="When it began (RFC 3339 or seconds since 1970); found if not given.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def diagnose(
    config: Path | None, topology: Path | None, alerts: Path | None, changes: Path | None, metrics: Path | None,
    quiet: Path | None, logs: Path | None, traces: Path | None, rules: Path | None, at: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Find the likeliest cause of what alerts, metrics, logs and traces show in a topology.

    \b
    kt diagnose --topology T.json --alerts A.json --changes C.json
    kt diagnose --metrics M.csv --topology T.json

    Any of them may be left out, but something must be seen. The formats are described in docs/offline-diagnosis.md.
    """
    import os

    from diagnose import diagnose as find_cause
    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology
    from kt.offline import Files, gather, judge
    from kt.settings import load
    from sense.files import BadFile, moment
    from sense.mapping import LabelMapping

    settings = load(config, os.environ)
    if not any((alerts, metrics, logs, traces, rules)):
        raise click.UsageError("nothing was seen: give --alerts, --metrics, --logs, --traces or --rules")
    piece = _piece(topology, changes)
    ontology = load_ontology()
    index = _Index(piece)
    mapping = LabelMapping.load(Path(settings.sense.label_mapping) if settings.sense.label_mapping else None)
    batches = _batches(alerts) if alerts else []
    alerted = mapping.signals([alert for batch in batches for alert in batch.alerts], index.lookup)
    try:
        files = Files(metrics=metrics, quiet=quiet, logs=logs, traces=traces, rules=rules, at=_onset(at))
        gathered = gather(files, piece, alerted, mapping, index.lookup)
    except BadFile as error:
        raise click.UsageError(str(error)) from error
    now = moment(gathered.onset) if gathered.onset is not None else datetime.now(UTC)
    catalogue = load_catalogue(ontology=ontology)
    found = find_cause(gathered.piece, gathered.signals, catalogue, ontology, now=now)
    answer = judge(found, gathered, catalogue, ontology)
    if as_json:
        click.echo(json.dumps(_plain(answer), indent=2))
    else:
        _show(answer)
        _show_unexplained(answer, gathered.signals)


class _Index:
    """Finds entities by kind, namespace and name; nodes also by address."""

    def __init__(self, piece: Subgraph) -> None:
        self._found: dict[tuple[str, str, str], list[Entity]] = {}
        for entity in piece.entities.values():
            names = {entity.name, str(entity.properties.get("address", entity.name))}
            for name in names:
                self._found.setdefault((entity.kind, entity.namespace, name), []).append(entity)

    def lookup(self, kind: str, namespace: str, name: str) -> Entity | None:
        found = self._found.get((kind, namespace, name), [])
        return found[0] if len(found) == 1 else None


def _onset(at: str | None) -> float | None:
    from sense.files import seconds

    try:
        return seconds(at) if at else None
    except ValueError as error:
        raise click.BadParameter(
            f"“{at}” is neither RFC 3339 (2026-03-01T12:00:00Z) nor seconds since 1970", param_hint="--at"
        ) from error


def _piece(topology: Path | None, changes: Path | None) -> Subgraph:
    content = _read(topology, _Topology, '{"entities": […], "relations": […]}') if topology else _Topology([], [])
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
        click.echo("No cause was found: nothing that was seen is tied to an entity of the topology.")
    for index, each in enumerate(answer.hypotheses[: max(FEWEST, len(answer.causes))]):
        _show_one(each, is_cause=index in answer.causes)


def _show_unexplained(answer: Diagnosis, signals: Iterable[Signal]) -> None:
    known = {each.fingerprint: each for each in signals}
    for name, fingerprints in (("unexplained", answer.unexplained), ("unmapped", answer.unmapped)):
        for fingerprint in fingerprints:
            each = known[fingerprint]
            click.secho(f"{name}: {each.symptom} on {each.entity} ({each.name}, {fingerprint})", fg="yellow")


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
