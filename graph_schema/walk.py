"""The walk against the direction of faults: what both stores have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from graph_schema.model import Change, Relation

FaultFrom = Callable[[str], frozenset[str]]
"""Relation kind → the ends (source, target) that faults come from."""


def ended(once: Mapping[Relation, str], changes: Iterable[Change]) -> tuple[Relation, ...]:
    """Of the relations that ended (→ their end that is gone), those with something that a change says was deleted."""
    deleted = {change.entity for change in changes if change.kind == "delete"}
    found = (relation for relation, other in once.items() if other in deleted)
    return tuple(sorted(found, key=lambda each: (each.source, each.kind, each.target)))
