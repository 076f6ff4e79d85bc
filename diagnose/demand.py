"""More is asked than before: what brings about an overload as a rollout brings about a bad revision.

A Service that is called more often than before need not be in demand: callers that fail try again. So what a Service is
asked counts only as far as more is asked of one of its callers, too, up to those that nobody calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import msgspec

from diagnose.attribution import CALLS, behind_services
from graph_schema.model import Burden, Change, Subgraph

DEMAND = "demand"
"""The kind of change."""
LEAST_RISE = 1.5
"""Traffic that grows by less than that is what a day brings; who has room for no more is told of by other faults."""


def with_demand(piece: Subgraph, burdens: Iterable[Burden], onset: datetime | None) -> Subgraph:
    """The piece with a change for every Service of which more is asked since the onset, and for what is behind it.

    `onset`: as the metrics tell it, from which the burdens are; None: nothing is known of that.
    """
    carried = {each.entity: each for each in burdens if each.calls_before > 0}
    if onset is None or not carried:
        return piece
    callers: dict[str, set[str]] = defaultdict(set)
    for each in piece.relations:
        if each.kind in CALLS and each.source in carried and each.source != each.target:
            callers[each.target].add(each.source)
    behind = behind_services(piece.relations)
    found = []
    for service, burden in sorted(carried.items()):
        if _rise(service, carried, callers) >= LEAST_RISE:
            _, owners = behind.get(service, ((), ()))
            detail = f"calls {burden.calls_before:.4g} → {burden.calls_after:.4g}"
            found += [Change(entity=each, at=onset, kind=DEMAND, detail=detail) for each in (service, *sorted(owners))]
    return msgspec.structs.replace(piece, changes=(*piece.changes, *found))


def _rise(service: str, carried: dict[str, Burden], callers: dict[str, set[str]]) -> float:
    """How many times as much is asked of it as before, as far as its callers are asked that much, too."""
    best, seen, front = 0.0, {service}, [(service, float("inf"))]
    while front:
        entity, least = front.pop()
        least = min(least, carried[entity].calls_after / carried[entity].calls_before)
        above = callers.get(entity, set())
        if not above:
            best = max(best, least)
        for each in sorted(above - seen):
            seen.add(each)
            front.append((each, least))
    return best
