"""Who calls whom, as metrics tell it: the series `kt:calls`, which KT's rule file records from a mesh, from traces or
from the clients' own counters. What an annotation (`kt.io/calls`) says holds beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from graph_schema.model import Relation, entity_id

SERIES = "kt:calls"
"""Labels `namespace` and `service` of the caller, `callee_namespace` (left out: the caller's) and `callee`."""
FORGOTTEN_AFTER = timedelta(hours=1)
"""A call that is seldom made is no less a dependency: it counts this long after it was seen last."""


def relations(series: Iterable[Mapping[str, str]]) -> set[Relation]:
    """The calls in the labels of `kt:calls`; what lacks a label, or calls itself, tells nothing."""
    found = set()
    for labels in series:
        namespace, service, callee = (labels.get(name, "") for name in ("namespace", "service", "callee"))
        if namespace and service and callee:
            caller = entity_id("Service", service, namespace)
            called = entity_id("Service", callee, labels.get("callee_namespace") or namespace)
            if caller != called:
                found.add(Relation(caller, called, "CALLS"))
    return found


class ObservedCalls:
    """The calls seen lately."""

    def __init__(self) -> None:
        self._seen: dict[Relation, datetime] = {}

    def update(self, seen: Iterable[Relation], now: datetime) -> set[Relation]:
        """Everything that counts after this look."""
        self._seen |= dict.fromkeys(seen, now)
        self._seen = {call: at for call, at in self._seen.items() if now - at < FORGOTTEN_AFTER}
        return set(self._seen)
