"""`kt diagnose`: the diagnosis of a snapshot of files; for post-mortems and for trying rules, without any server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from graph_schema.model import Change, Diagnosis, Entity, Hypothesis, NextProbe, Relation, Subgraph
from sense.alertmanager import AlertBatch, BadPayload, parse

if TYPE_CHECKING:
    from graph_schema.catalogue import Catalogue
    from graph_schema.ontology import Ontology
    from sense.mapping import LabelMapping

T = TypeVar("T")
FEWEST = 5
RUNNERS_UP = 3
MOST_WARNINGS = 10


class _Topology(msgspec.Struct):
    entities: list[Entity]
    relations: list[Relation]


@click.command()
@click.option("--topology", "-t", type=click.Path(path_type=Path), required=True, help="Entities and relations (JSON).")
@click.option("--alerts", "-a", type=click.Path(path_type=Path), required=True, help="Alertmanager payload(s) (JSON).")
@click.option("--changes", "-c", type=click.Path(path_type=Path), help="What was altered on purpose (JSON).")
@click.option("--rules", "-r", type=click.Path(path_type=Path), help="Alert rules, as Prometheus' rules API answers.")
@click.option("--explain", is_flag=True, help="Runners-up, what separates them, and what to ask next.")
@click.option("--why-not", metavar="ENTITY", help="Why this entity is not named as the cause.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def diagnose(
    config: Path | None, topology: Path, alerts: Path, changes: Path | None, rules: Path | None, explain: bool,
    why_not: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Find the likeliest cause of ALERTS in a TOPOLOGY.

    \b
    kt diagnose --topology T.json --alerts A.json --changes C.json

    The formats are described in docs/offline-diagnosis.md.
    """
    import os

    from diagnose import diagnose as find_cause
    from diagnose.engine import consider
    from diagnose.explain import why_not as reasons
    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology
    from kt.settings import load
    from sense.index import Index
    from sense.mapping import LabelMapping

    settings = load(config, os.environ)
    ontology = load_ontology()
    catalogue = load_catalogue(ontology=ontology)
    piece, warnings = _piece(topology, changes, ontology)
    index = Index(piece.entities.values())
    mapping = LabelMapping.load(Path(settings.sense.label_mapping) if settings.sense.label_mapping else None)
    signals = mapping.signals([alert for batch in _batches(alerts) for alert in batch.alerts], index.lookup)
    watched = _watched(rules, mapping) if rules else None
    now = datetime.now(UTC)
    if why_not is not None:
        found = consider(piece, signals, catalogue, ontology, now=now, rules=watched)
        lines = reasons(why_not, found, catalogue, ontology)
        click.echo(json.dumps({"entity": why_not, "reasons": lines}, indent=2) if as_json else "\n".join(lines))
        return
    answer = find_cause(piece, signals, catalogue, ontology, now=now, rules=watched)
    answer = msgspec.structs.replace(answer, warnings=(*warnings, *answer.warnings))
    if as_json:
        click.echo(json.dumps(_plain(answer, catalogue), indent=2))
    else:
        _show(answer, explain=explain)


def _watched(path: Path, mapping: LabelMapping) -> frozenset[str]:
    """The symptoms that the rules of this file watch for."""
    from sense.rules import BadRules, parse

    try:
        return frozenset(
            mapping.meaning(rule.name, rule.labels).symptom for rule in parse(path.read_bytes(), str(path))
        )
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except BadRules as error:
        raise click.UsageError(str(error)) from error


def _piece(topology: Path, changes: Path | None, ontology: Ontology) -> tuple[Subgraph, list[str]]:
    """(what the files hold, warnings). What a known entity relates to and is not there may have been deleted."""
    content = _read(topology, _Topology, '{"entities": […], "relations": […]}')
    entities: dict[str, Entity] = {}
    for entity in content.entities:
        if entity.id in entities:
            raise click.UsageError(f"{topology}: entity “{entity.id}” is there twice; ids must be unique")
        entities[entity.id] = entity
    warnings = []
    for number, relation in enumerate(content.relations):
        absent = [end for end in (relation.source, relation.target) if end not in entities]
        if len(absent) == 2:
            raise click.UsageError(
                f"{topology}: relations[{number}] names “{absent[0]}” and “{absent[1]}”; neither is among the entities"
            )
        if absent:
            warnings.append(
                f"relations[{number}] names {absent[0]}, which is not among the entities; it counts as gone"
            )
    if len(warnings) > MOST_WARNINGS:
        warnings = [*warnings[:MOST_WARNINGS], f"and {len(warnings) - MOST_WARNINGS} more relations like these"]
    known = _read(changes, list[Change], '[{"entity": …, "at": …, "kind": …}]') if changes else []
    aware = [msgspec.structs.replace(each, at=_utc(each.at)) for each in known]
    return Subgraph(entities, tuple(content.relations), tuple(aware)), warnings


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


def _plain(answer: Diagnosis, catalogue: Catalogue) -> dict[str, Any]:
    return {
        "hypotheses": [
            {
                "entity": each.entity,
                "fault": each.fault,
                "probability": each.probability,
                "fault_probability": each.fault_probability,
                "other_faults": [{"fault": name, "probability": share} for name, share in each.other_faults],
                "remedies": list(catalogue.faults[each.fault].remedies),
                "no_safe_action": catalogue.faults[each.fault].no_safe_action,
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
        "enough": answer.enough,
        "next_probe": msgspec.to_builtins(answer.next_probe),
    }


def _show(answer: Diagnosis, *, explain: bool) -> None:
    for warning in answer.warnings:
        click.secho(f"! {warning}", fg="yellow", err=True)
    if not answer.hypotheses:
        click.echo("No cause was found: no firing alert maps to an entity of the topology.")
    if answer.hypotheses and not answer.enough:
        click.secho("Not enough evidence: the best guess is below.", fg="yellow")
    for index, each in enumerate(answer.hypotheses[: max(FEWEST, len(answer.causes))]):
        _show_one(each, is_cause=index in answer.causes)
    for name, fingerprints in (("unexplained", answer.unexplained), ("unmapped", answer.unmapped)):
        if fingerprints:
            click.secho(f"{name}: {', '.join(fingerprints)}", fg="yellow")

    if explain:
        _explain(answer)
    if answer.next_probe is not None and (explain or not answer.enough):
        _ask(answer.next_probe)


def _explain(answer: Diagnosis) -> None:
    from diagnose.explain import separates

    for other in answer.hypotheses[len(answer.causes) : len(answer.causes) + RUNNERS_UP]:
        click.secho(f"What separates {answer.hypotheses[0].entity} from {other.entity} ({other.fault}):", bold=True)
        for line in separates(answer.hypotheses[0], other):
            click.echo(f"    {line}")


def _ask(probe: NextProbe) -> None:
    click.secho(f"Ask next ({probe.gain_bits:.2f} bits), about {probe.fault} of {probe.entity}:", bold=True)
    click.echo(f"    {probe.promql or probe.kubernetes}")
    click.echo(f"    speaks for it: {probe.confirms}")


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
