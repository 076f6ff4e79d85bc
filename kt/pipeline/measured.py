"""Probes of the catalogue whose answer was read with the metrics anyway.

Only what speaks against a fault is taken: what speaks for it is among the signals already, and counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from diagnose.probes import filled
from graph_schema.catalogue import Catalogue, Probe
from graph_schema.model import Entity, ProbeAnswer
from graph_schema.questions import judged_number, question


def refuted(
    catalogue: Catalogue, entities: Mapping[str, Entity], latest: Mapping[str, Sequence[float]]
) -> tuple[ProbeAnswer, ...]:
    """`latest`: selector → values that were read (see `sense.metrics.answered`)."""
    series = {selector.partition("{")[0] for selector in latest}
    templates: dict[str, list[Probe]] = {}
    found: dict[tuple[str, str], ProbeAnswer] = {}
    for entity in entities.values():
        if entity.kind not in templates:
            templates[entity.kind] = list(_asking(catalogue, entity.kind, series))
        for probe in templates[entity.kind]:
            text = filled(probe.promql, entity)
            asked = question(text, "", probe.confirms)
            if text in latest and asked is not None and judged_number(asked, latest[text]) is False:
                told = ", ".join(f"{value:.4g}" for value in latest[text])
                found[text, probe.confirms] = ProbeAnswer(
                    question=text, confirms=probe.confirms, confirmed=False, saw=f"= {told}"
                )
    return tuple(found[key] for key in sorted(found))


def _asking(catalogue: Catalogue, kind: str, series: set[str]) -> Iterator[Probe]:
    for fault in catalogue.on(kind):
        for probe in fault.probes:
            if probe.promql.partition("{")[0] in series:
                yield probe
