"""`kt knowledge`: what KT knows of faults and alerts, and which alert rules of yours it knows nothing of."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kt.commands import learned

if TYPE_CHECKING:
    from graph_schema.catalogue import Catalogue, FaultMode
    from graph_schema.ontology import Ontology
    from sense.mapping import Meaning
    from sense.rules import AlertRule


@click.group()
def knowledge() -> None:
    """Fault modes, what they do and how they show; alert rules that nobody mapped; what was learned."""


for _command in learned.COMMANDS:
    knowledge.add_command(_command)


@knowledge.command("list")
@click.option("--kind", help="Only the faults that a thing of this kind can have.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
def list_(kind: str | None, as_json: bool) -> None:
    """List fault modes."""
    ontology, catalogue = _loaded()
    if kind and ontology.known_kind(kind) is None:
        raise click.UsageError(f"“{kind}” is no kind of the ontology; {', '.join(sorted(ontology.entities))} are")
    faults = catalogue.on(ontology.known_kind(kind) or kind) if kind else tuple(catalogue.faults.values())
    if as_json:
        click.echo(json.dumps([plain(each) for each in faults], indent=2))
        return
    for each in faults:
        click.echo(f"{each.name:40s} {each.about}")


@knowledge.command()
@click.argument("fault")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
def show(fault: str, as_json: bool) -> None:
    """Show everything that is known of FAULT."""
    ontology, catalogue = _loaded()
    found = known_fault(catalogue, fault, "kt knowledge list")
    if as_json:
        click.echo(json.dumps({**plain(found), "travels": travels(found, ontology)}, indent=2))
        return
    from kt.knowledge_page import section

    click.echo("\n".join(section(found, ontology)))


def known_fault(catalogue: Catalogue, name: str, listed: str) -> FaultMode:
    """The fault mode of this name. Raises `UsageError` with close names, or the command that lists them."""
    import difflib

    if name not in catalogue.faults:
        close = difflib.get_close_matches(name, catalogue.faults, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else f"; `{listed}` lists them"
        raise click.UsageError(f"“{name}” is no fault mode{hint}")
    return catalogue.faults[name]


@knowledge.command()
@click.option("--rules", type=click.Path(path_type=Path), help="What Prometheus answers to /api/v1/rules (JSON).")
@click.option("--prometheus", metavar="URL", help="Ask this Prometheus for its rules.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def check(config: Path | None, rules: Path | None, prometheus: str | None, as_json: bool) -> None:
    """Check the knowledge itself and, given rules, tell which of them nobody mapped.

    \b
    kt knowledge check --prometheus http://prometheus:9090
    curl -s http://prometheus:9090/api/v1/rules > R.json; kt knowledge check --rules R.json
    """
    import os

    from kt.settings import load
    from sense.alerts import AlertBook
    from sense.mapping import LabelMapping
    from sense.rules import BadRules, fetch, read

    if rules and prometheus:
        raise click.UsageError("--rules and --prometheus say the same thing; give one of them")
    ontology, catalogue = _loaded()
    book = AlertBook.load(symptoms=ontology.symptoms)
    settings = load(config, os.environ)
    mapping = LabelMapping.load(Path(settings.sense.label_mapping) if settings.sense.label_mapping else None, book)
    unknown = sorted(mapping.symptoms - ontology.symptoms.keys())
    if unknown:
        raise click.UsageError(
            f"the label mapping names symptoms that the ontology does not have: {', '.join(unknown)}"
        )
    found: list[AlertRule] = []
    try:
        if rules:
            found = read(rules)
        elif prometheus:
            found = fetch(prometheus)
    except BadRules as error:
        raise click.UsageError(str(error)) from error
    told: dict[str, list[tuple[AlertRule, Meaning]]] = defaultdict(list)
    for rule in found:
        meaning = mapping.meaning(rule.name, rule.labels)
        told[meaning.told_by].append((rule, meaning))
    if as_json:
        click.echo(json.dumps(_checked(catalogue, ontology, book, told), indent=2))
        return
    kinds = {kind for each in catalogue.faults.values() for kind in each.on}
    click.echo(
        f"{len(catalogue.faults)} fault modes of {len(kinds)} kinds, {len(book.facts)} alerts by name: all well-formed."
    )
    if found:
        known = len(told["explicit"]) + len(told["label"])
        click.echo(
            f"{len(found)} alert rules: {known} known, {len(told['words'])} told by their words, "
            f"{len(told['guess'])} not understood."
        )
    for heading, which in (("Told by their words, with less confidence:", "words"), ("Not understood:", "guess")):
        if told[which]:
            click.secho(heading, bold=True)
        for rule, meaning in sorted(told[which], key=lambda pair: pair[0].name):
            click.echo(f"  {rule.name:44s} {meaning.symptom} ({meaning.confidence:.0%})  {rule.group}")
    if told["guess"] or told["words"]:
        click.echo("A label `symptom` on the rule tells KT outright; the symptoms are in docs/knowledge.md.")


def _checked(
    catalogue: Catalogue, ontology: Ontology, book: Any, told: dict[str, list[tuple[AlertRule, Meaning]]]
) -> dict[str, Any]:
    return {
        "faults": len(catalogue.faults),
        "kinds": len(ontology.entities),
        "alerts": len(book.facts),
        "rules": sum(len(each) for each in told.values()),
        "unmapped": [
            {
                "alert": rule.name,
                "group": rule.group,
                "symptom": meaning.symptom,
                "confidence": meaning.confidence,
                "told_by": meaning.told_by,
            }
            for which in ("guess", "words")
            for rule, meaning in sorted(told[which], key=lambda pair: pair[0].name)
        ],
    }


def _loaded() -> tuple[Ontology, Catalogue]:
    from graph_schema.catalogue import load_catalogue
    from graph_schema.ontology import load_ontology

    ontology = load_ontology()
    return ontology, load_catalogue(ontology=ontology)


def plain(fault: FaultMode) -> dict[str, Any]:
    """A fault mode as plain data."""
    return {
        "fault": fault.name,
        "on": sorted(fault.on),
        "about": fault.about,
        "prior": fault.prior,
        "onset_s": fault.onset_s,
        "effects": fault.effects,
        "symptoms": fault.symptoms,
        "dependants": fault.dependants,
        "sure": sorted(fault.sure),
        "states": fault.states,
        "changes": fault.changes,
        "detail": fault.detail,
        "probes": [
            {
                "ask": "promql" if each.promql else "kubernetes",
                "question": each.question,
                "confirms": each.confirms,
                "hit": each.hit,
                "otherwise": each.otherwise,
            }
            for each in fault.probes
        ],
        "remedies": list(fault.remedies),
        "no_safe_action": fault.no_safe_action,
        "source": fault.source,
        "file": fault.file,
    }


def travels(fault: FaultMode, ontology: Ontology) -> list[dict[str, Any]]:
    """What the fault does to whom: along which relation, to which end, in which class, how strongly, how late."""
    found: list[dict[str, Any]] = []
    for mode, effect in fault.effects.items():
        for name in _plain_relations(ontology):
            relation = ontology.relations[name]
            for end, table in relation.carries.items():
                for out, share in table.get(mode, {}).items():
                    found.append(
                        {
                            "relation": name,
                            "from": end,
                            "mode": mode,
                            "class": ontology.modes[out].of,
                            "arrives_as": out,
                            "strength": round(effect * share, 3),
                            "delay_s": relation.delay_s,
                        }
                    )
    return sorted(found, key=lambda each: (-each["strength"], each["relation"], each["from"], each["arrives_as"]))


def _plain_relations(ontology: Ontology) -> Iterable[str]:
    """Relations under their first name only."""
    seen: list[Any] = []
    for name, relation in ontology.relations.items():
        if not any(relation.carries == other or relation.carries == _turned(other) for other in seen):
            seen.append(relation.carries)
            yield name


def _turned(carries: dict[Any, Any]) -> dict[Any, Any]:
    return {{"source": "target", "target": "source"}[end]: table for end, table in carries.items()}
