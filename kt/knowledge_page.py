"""docs/knowledge.md, made from the catalogue: `python -m kt.knowledge_page > docs/knowledge.md`."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping

from graph_schema.catalogue import Catalogue, FaultMode, load_catalogue
from graph_schema.ontology import Ontology, load_ontology
from sense.alerts import AlertBook


def page() -> str:
    """The whole page as Markdown."""
    ontology = load_ontology()
    catalogue, book = load_catalogue(ontology=ontology), AlertBook.load(symptoms=ontology.symptoms)
    kinds = {kind for fault in catalogue.faults.values() for kind in fault.on}
    lines = [
        "# What KT knows of faults",
        "",
        "Made from `graph_schema/knowledge` and `sense/knowledge/alerts` by",
        "`python -m kt.knowledge_page > docs/knowledge.md`.",
        f"{len(catalogue.faults)} fault modes of {len(kinds)} kinds of thing; {len(book.facts)} alerts known by name.",
        "A remedy is a playbook; “no safe action” is a verdict, too: then KT reports and asks.",
        "",
        *_terms("Symptoms", {name: (each.of, each.about) for name, each in ontology.symptoms.items()}),
        *_terms("Modes", {name: (each.of, each.about) for name, each in ontology.modes.items()}),
        *_relations(ontology),
        "## Fault modes",
        "",
        *_faults(catalogue, ontology),
        *_alerts(book),
    ]
    return "\n".join(lines).rstrip() + "\n"


def section(fault: FaultMode, ontology: Ontology) -> list[str]:
    """One fault mode as lines of Markdown."""
    lines = [
        f"### {fault.name}",
        "",
        fault.about,
        "",
        f"- of: {', '.join(sorted(fault.on))}; prior {fault.prior:g}; usually seen after {fault.onset_s:g} s",
        f"- does: {_told(fault.effects, {name: each.of for name, each in ontology.modes.items()})}",
        f"- shows itself: {_told(fault.symptoms)}"
        + (f"; all but proof: {', '.join(sorted(fault.sure))}" if fault.sure else ""),
    ]
    if fault.dependants:
        lines.append(f"- shows on what rests on it: {_told(fault.dependants)}")
    if fault.states:
        told = (
            f"{name} is {value}{' (all but proof)' if name in fault.proof else ''}"
            f"{' (may come late)' if name in fault.late else ''}"
            for name, value in fault.states.items()
        )
        lines.append(f"- its state: {', '.join(told)}")
    if fault.changes:
        lines.append(
            f"- brought about by: {', '.join(f'{kind} (odds × {factor:g})' for kind, factor in fault.changes.items())}"
            f"; without a change in {fault.comes_alone:.0%} of its cases"
        )
    if fault.detail:
        lines.append(f"- most of all by a change whose detail has `{fault.detail}`")
    lines += [f"- probe: `{probe.question}`, confirms when: {probe.confirms}" for probe in fault.probes]
    remedy = ", then ".join(fault.remedies) if fault.remedies else f"no safe action. {fault.no_safe_action}"
    return [*lines, f"- remedy: {remedy}", f"- source: {fault.source}", ""]


def _told(values: Mapping[str, float], classes: Mapping[str, str] | None = None) -> str:
    ordered = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(
        f"{name} {value:g}" + (f" ({classes[name]})" if classes and classes[name] != name else "")
        for name, value in ordered
    )


def _terms(title: str, terms: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    yield from (f"## {title}", "", "| name | class | meaning |", "|---|---|---|")
    for name, (of, about) in terms.items():
        yield f"| {name} | {of} | {about} |"
    yield ""


def _relations(ontology: Ontology) -> Iterator[str]:
    yield from ("## How sickness travels", "", "A relation reads “source kind target”.", "")
    yield from ("| relation | sick end | mode → modes at the other end | delay |", "|---|---|---|---|")
    for name, relation in sorted(ontology.relations.items()):
        for end, table in sorted(relation.carries.items()):
            for mode, row in table.items():
                yield f"| {name} | {end} | {mode} → {_told(row)} | {relation.delay_s:g} s |"
    yield ""


def _faults(catalogue: Catalogue, ontology: Ontology) -> Iterator[str]:
    for fault in catalogue.faults.values():
        yield from section(fault, ontology)


def _alerts(book: AlertBook) -> Iterator[str]:
    yield from ("## Alerts known by name", "", "| technology | symptom | alerts |", "|---|---|---|")
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fact in book.facts.values():
        grouped[fact.technology, fact.symptom or "(no fault)"].append(fact.name)
    for (technology, symptom), names in sorted(grouped.items()):
        yield f"| {technology} | {symptom} | {', '.join(sorted(names))} |"


if __name__ == "__main__":
    sys.stdout.write(page())
