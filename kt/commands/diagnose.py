"""`kt diagnose`: the diagnosis of a snapshot of files; for post-mortems and for trying rules, without any server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from graph_schema.model import Diagnosis, Hypothesis, NextProbe, Signal

if TYPE_CHECKING:
    from graph_schema.catalogue import Catalogue

FEWEST = 5
RUNNERS_UP = 3


@click.command()
@click.option("--topology", "-t", type=click.Path(path_type=Path), help="Entities and relations (JSON).")
@click.option("--alerts", "-a", type=click.Path(path_type=Path), help="Alertmanager payload(s) (JSON).")
@click.option("--changes", "-c", type=click.Path(path_type=Path), help="What was altered on purpose (JSON).")
@click.option("--metrics", "-m", type=click.Path(path_type=Path), help="Samples (CSV, or a folder of such files).")
@click.option("--quiet", "-q", type=click.Path(path_type=Path), help="The same metrics from a time without incidents.")
@click.option("--logs", "-l", type=click.Path(path_type=Path), help="Log lines (one JSON object a line).")
@click.option("--traces", "-s", type=click.Path(path_type=Path), help="Spans (one JSON object a line).")
@click.option("--rules", "-r", type=click.Path(path_type=Path), help="Alert rules, as Prometheus' rules API answers.")
@click.option("--at", help="When it began (RFC 3339 or seconds since 1970); found if not given.")
@click.option("--explain", is_flag=True, help="Runners-up, what separates them, and what to ask next.")
@click.option("--why-not", metavar="ENTITY", help="Why this entity is not named as the cause.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def diagnose(
    config: Path | None, topology: Path | None, alerts: Path | None, changes: Path | None, metrics: Path | None,
    quiet: Path | None, logs: Path | None, traces: Path | None, rules: Path | None, at: str | None, explain: bool,
    why_not: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Find the likeliest cause of what alerts, metrics, logs and traces show in a topology.

    \b
    kt diagnose --topology T.json --alerts A.json --changes C.json
    kt diagnose --metrics M.csv --topology T.json

    Any of them may be left out, but something must be seen. The formats are described in docs/offline-diagnosis.md.
    """
    import os

    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology
    from kt import snapshot
    from kt.offline import Files, gather, judge, reasons
    from kt.settings import load
    from sense.alertmanager import standing
    from sense.files import BadFile, moment
    from sense.index import Index
    from sense.mapping import LabelMapping
    from sense.rules import BadRules

    settings = load(config, os.environ)
    mapping = LabelMapping.load(Path(settings.sense.label_mapping) if settings.sense.label_mapping else None)
    try:
        # First, so that of two mistakes the one in what was given is told.
        piece, warnings = snapshot.piece(topology, changes)
        if not any((alerts, metrics, logs, traces, rules)):
            raise click.UsageError("nothing was seen: give --alerts, --metrics, --logs, --traces or --rules")
        files = Files(metrics=metrics, quiet=quiet, logs=logs, traces=traces, rules=rules, at=_onset(at))
        index = Index(piece.entities.values())
        batches = snapshot.batches(alerts) if alerts else []
        alerted = mapping.signals(standing(batches), index.lookup)
        gathered = gather(files, piece, alerted, mapping, index.lookup)
    except (BadFile, BadRules) as error:
        raise click.UsageError(str(error)) from error
    ontology = load_ontology()
    catalogue = load_catalogue(ontology=ontology)
    now = moment(gathered.onset) if gathered.onset is not None else datetime.now(UTC)
    if why_not is not None:
        lines = reasons(why_not, gathered, catalogue, ontology, now=now)
        click.echo(json.dumps({"entity": why_not, "reasons": lines}, indent=2) if as_json else "\n".join(lines))
        return
    answer = judge(gathered, catalogue, ontology, now=now)
    answer = msgspec.structs.replace(answer, warnings=(*warnings, *answer.warnings))
    if as_json:
        click.echo(json.dumps(_plain(answer, catalogue), indent=2))
    else:
        _show(answer, gathered.signals, explain=explain)


def _onset(at: str | None) -> float | None:
    from sense.files import seconds

    try:
        return seconds(at) if at else None
    except ValueError as error:
        raise click.BadParameter(
            f"“{at}” is neither RFC 3339 (2026-03-01T12:00:00Z) nor seconds since 1970", param_hint="--at"
        ) from error


def _plain(answer: Diagnosis, catalogue: Catalogue) -> dict[str, Any]:
    faults = catalogue.faults  # metrics may name one that is not in it: where, not what
    return {
        "hypotheses": [
            {
                "entity": each.entity,
                "fault": each.fault,
                "probability": each.probability,
                "fault_probability": each.fault_probability,
                "other_faults": [{"fault": name, "probability": share} for name, share in each.other_faults],
                "remedies": list(faults[each.fault].remedies) if each.fault in faults else [],
                "no_safe_action": faults[each.fault].no_safe_action if each.fault in faults else "",
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


def _show(answer: Diagnosis, signals: Iterable[Signal], *, explain: bool) -> None:
    for warning in answer.warnings:
        click.secho(f"! {warning}", fg="yellow", err=True)
    if not answer.hypotheses:
        click.echo("No cause was found: nothing that was seen is tied to an entity of the topology.")
    if answer.hypotheses and not answer.enough:
        click.secho("Not enough evidence: the best guess is below.", fg="yellow")
    for index, each in enumerate(answer.hypotheses[: max(FEWEST, len(answer.causes))]):
        _show_one(each, is_cause=index in answer.causes)
    known = {each.fingerprint: each for each in signals}
    for name, fingerprints in (("unexplained", answer.unexplained), ("unmapped", answer.unmapped)):
        for fingerprint in fingerprints:
            signal = known[fingerprint]
            text = f"{name}: {signal.symptom} on {signal.entity} ({signal.name}, {fingerprint})"
            click.secho(text, fg="yellow")
    if explain:
        _explain(answer)
    if answer.next_probe is not None and (explain or not answer.enough):
        _ask(answer.next_probe)


def _explain(answer: Diagnosis) -> None:
    from diagnose.explain import separates

    others = [each for place, each in enumerate(answer.hypotheses) if place > 0 and place not in answer.causes]
    for other in others[:RUNNERS_UP]:
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
