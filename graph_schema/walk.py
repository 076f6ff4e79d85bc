"""The walk against the direction of faults, the same for every store that holds its graph in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import networkx as nx

from graph_schema.model import Change, Relation

FaultFrom = Callable[[str], frozenset[str]]
"""Relation kind → the ends (source, target) that faults come from."""
Graph: TypeAlias = "nx.MultiDiGraph[str]"


def causes_of(graph: Graph, entity: str, fault_from: FaultFrom) -> set[str]:
    """Where a fault may have come from that shows on this entity: one step against the direction of faults."""
    found = {target for _, target, kind in graph.out_edges(entity, keys=True) if "target" in fault_from(kind)}
    found |= {source for source, _, kind in graph.in_edges(entity, keys=True) if "source" in fault_from(kind)}
    return found


def effects_of(graph: Graph, entity: str, fault_from: FaultFrom) -> set[str]:
    """Where a fault of this entity may show: one step along the direction of faults."""
    found = {source for source, _, kind in graph.in_edges(entity, keys=True) if "target" in fault_from(kind)}
    found |= {target for _, target, kind in graph.out_edges(entity, keys=True) if "source" in fault_from(kind)}
    return found


def ended(once: Mapping[Relation, str], changes: Iterable[Change]) -> tuple[Relation, ...]:
    """Of the relations that ended (→ their end that is gone), those with something that a change says was deleted."""
    deleted = {change.entity for change in changes if change.kind == "delete"}
    found = (relation for relation, other in once.items() if other in deleted)
    return tuple(sorted(found, key=lambda each: (each.source, each.kind, each.target)))


def walk(
    graph: Graph, seeds: Iterable[str], known: Callable[[str], bool], fault_from: FaultFrom, *, hops: int, limit: int
) -> list[str]:
    """Entities within `hops` steps of the seeds, then what those would make sick: nearest first, then by id."""
    front = sorted({seed for seed in seeds if known(seed)})[:limit]
    order, seen = list(front), set(front)

    def widen(step: Callable[[Graph, str, FaultFrom], set[str]], around: list[str]) -> list[str]:
        new = sorted({each for entity in around if entity in graph for each in step(graph, entity, fault_from)} - seen)
        new = [each for each in new if known(each)][: limit - len(order)]
        seen.update(new)
        order.extend(new)
        return new

    for _ in range(hops):
        front = widen(causes_of, front)
        if not front:
            break
    widen(effects_of, list(order))
    return order
