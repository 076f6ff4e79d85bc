"""Services whose pods were made anew around the onset.

What new pods answer is measured only once they were found and asked twice. Until then the old ones alone speak for the
Service: that it answers fewer calls, and none of them badly, says nothing of the calls that the new ones got.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from diagnose.attribution import behind_services, fewer_seen
from diagnose.probes import filled
from graph_schema.catalogue import Catalogue
from graph_schema.model import Burden, ProbeAnswer, Subgraph

FOUND_S = 10.0
"""How long Prometheus may take to find a new pod: it tells its scrapers of changes every 5 s."""
SAMPLES = 5
"""From then on until a rate over several samples tells of the pod."""


def renewed(piece: Subgraph, burdens: Iterable[Burden], at: datetime) -> dict[str, set[str]]:
    """Service → the workloads behind it, one of which changed so shortly before `at` that its new pods are not seen."""
    steps = {each.entity: each.step_s for each in burdens if each.step_s}
    latest: dict[str, datetime] = {}
    for change in piece.changes:
        latest[change.entity] = max(change.at, latest.get(change.entity, change.at))
    found = {}
    for service, (_, owners) in behind_services(piece.relations).items():
        unseen = at - timedelta(seconds=FOUND_S + SAMPLES * steps.get(service, 0.0))
        if any(latest[each] >= unseen for each in owners if each in latest):
            found[service] = owners
    return found


def telling(
    answers: Iterable[ProbeAnswer], anew: dict[str, set[str]], burdens: Iterable[Burden], piece: Subgraph,
    catalogue: Catalogue,
) -> tuple[ProbeAnswer, ...]:  # fmt: skip
    """The answers read from metrics without those about Services of which a part is not seen yet."""
    unseen = {place for service in fewer_seen(burdens, piece.relations, anew) for place in (service, *anew[service])}
    mute = set(_questions(unseen, piece, catalogue))
    return tuple(each for each in answers if each.question not in mute)


def _questions(places: Iterable[str], piece: Subgraph, catalogue: Catalogue) -> Iterator[str]:
    for place in places:
        entity = piece.entities.get(place)
        for fault in catalogue.on(entity.kind) if entity else ():
            for probe in fault.probes:
                if entity and probe.promql:
                    yield filled(probe.promql, entity)
