"""Which incident a signal belongs to: the one that knows it, the one of its group, or one near in graph and time.

Pure functions. What belongs to no open incident opens one, together with the rest of its notification.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from graph_schema.model import Signal, Subgraph

Near = Callable[[frozenset[str], frozenset[str]], bool]
"""Whether something seen on the first entities may have to do with something seen on the second."""

JOINING = frozenset({"OWNS", "SELECTS", "CALLS", "ROUTES_TO", "MOUNTS", "SCALES"})
"""Relations along which alerts count as near. Through a shared node, namespace or image everything would be near
everything, so those join only when they are themselves what an alert speaks of."""


class OpenIncident(msgspec.Struct, frozen=True, kw_only=True):
    """What grouping needs to know of an incident that has not ended."""

    id: str
    opened_at: datetime
    last_start: datetime
    """When the latest of its symptoms began."""
    entities: frozenset[str]
    fingerprints: frozenset[str]
    group_keys: frozenset[str]


NEW = ""
"""Stands for the incident that is yet to be opened."""


def assign(
    signals: Sequence[Signal],
    group_key: str,
    incidents: Iterable[OpenIncident],
    known: Mapping[str, str],
    near: Near,
    *,
    window: timedelta,
) -> dict[str, list[Signal]]:
    """Incident → its signals of this notification, in the order given; `NEW` for those that open one.

    `known` maps fingerprint to the incident that has this very firing of the alert, open or ended. A resolved alert
    whose firing nobody has seen is nobody's: it opens nothing and is left out.
    """
    candidates = sorted(incidents, key=lambda incident: (incident.opened_at, incident.id))
    assigned: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        home = known.get(signal.fingerprint) or _home(signal, group_key, candidates, near, window)
        if home is not None:
            assigned[home].append(signal)
        elif signal.firing:
            assigned[NEW].append(signal)
    return dict(assigned)


def _home(
    signal: Signal, group_key: str, candidates: Sequence[OpenIncident], near: Near, window: timedelta
) -> str | None:
    for incident in candidates:
        if signal.fingerprint in incident.fingerprints:
            return incident.id
    if not signal.firing:
        return None
    for incident in candidates:
        if group_key and group_key in incident.group_keys:
            return incident.id
    for incident in candidates:
        in_time = incident.opened_at - window <= signal.starts_at <= incident.last_start + window
        if in_time and signal.mapped and near(frozenset({signal.entity}), incident.entities):
            return incident.id
    return None


def near_in(piece: Subgraph, some: frozenset[str], others: frozenset[str], *, hops: int = 6) -> bool:
    """Whether a way of at most `hops` joining relations leads from one side to the other, either direction."""
    seen_on = some | others
    beside: dict[str, list[str]] = defaultdict(list)
    for relation in piece.relations:
        if relation.kind in JOINING or relation.source in seen_on or relation.target in seen_on:
            beside[relation.source].append(relation.target)
            beside[relation.target].append(relation.source)
    reached = set(some)
    front = deque((entity, 0) for entity in sorted(some))
    while front:
        entity, steps = front.popleft()
        if entity in others:
            return True
        if steps < hops and (entity in seen_on or _passable(piece, entity)):
            new = [each for each in beside[entity] if each not in reached]
            reached.update(new)
            front.extend((each, steps + 1) for each in new)
    return False


def _passable(piece: Subgraph, entity: str) -> bool:
    """A node or namespace that nobody complains about joins nothing."""
    known = piece.entities.get(entity)
    return known is None or known.kind not in ("Node", "Namespace", "Image", "Cluster", "Zone", "ServiceAccount")
