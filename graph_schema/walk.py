"""The walk against the direction of faults, the same for every store that holds its graph in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import networkx as nx

from graph_schema.model import Change, Relation

FaultFrom = Callable[[str], frozenset[str]]
"""Relation kind → the ends (source, target) that faults come from."""
Graph: TypeAlias = "nx.MultiDiGraph[str]"


class _From(dict[str, bool]):
    """Relation kind → whether faults come from this end of it; each kind is asked for once."""

    def __init__(self, fault_from: FaultFrom, end: str) -> None:
        super().__init__()
        self._fault_from, self._end = fault_from, end

    def __missing__(self, kind: str) -> bool:
        self[kind] = self._end in self._fault_from(kind)
        return self[kind]


Beside = Mapping[str, Mapping[str, Iterable[str]]]
"""Entity → the entities at the other end → kinds of relation."""


def _step(around: Iterable[str], ways: Sequence[tuple[Beside, _From]]) -> set[str]:
    """What is one step from any of these, along relations from whose ends faults come."""
    found: set[str] = set()
    for beside, passes in ways:
        for entity in around:
            for other, kinds in beside.get(entity, {}).items():
                if other not in found:
                    for kind in kinds:
                        if passes[kind]:
                            found.add(other)
                            break
    return found


def _below(graph: Graph) -> tuple[Beside, Beside]:
    """(source → targets, target → sources): what networkx's views stand before; they take four times as long."""
    return graph._succ, graph._pred  # type: ignore[attr-defined]  # the stubs leave them out


def relations_among(graph: Graph, entities: Collection[str]) -> tuple[Relation, ...]:
    """The relations that join these entities, in order of source, target and kind."""
    to, _ = _below(graph)
    return tuple(
        Relation(source, target, kind)
        for source in sorted(entities)
        if source in to
        for target in sorted(to[source])
        if target in entities
        for kind in sorted(to[source][target])
    )


def ended(once: Mapping[Relation, str], changes: Iterable[Change]) -> tuple[Relation, ...]:
    """Of the relations that ended (→ their end that is gone), those with something that a change says was deleted."""
    deleted = {change.entity for change in changes if change.kind == "delete"}
    found = (relation for relation, other in once.items() if other in deleted)
    return tuple(sorted(found, key=lambda each: (each.source, each.kind, each.target)))


def walk(
    graph: Graph, seeds: Iterable[str], known: Callable[[str], bool], fault_from: FaultFrom, *, hops: int, limit: int
) -> list[str]:
    """Entities within `hops` steps of the seeds, then what those would make sick: nearest first, then by id."""
    to, come = _below(graph)
    by_target, by_source = _From(fault_from, "target"), _From(fault_from, "source")
    causes, effects = ((to, by_target), (come, by_source)), ((come, by_target), (to, by_source))
    front = sorted({seed for seed in seeds if known(seed)})[:limit]
    order, seen = list(front), set(front)

    def widen(ways: Sequence[tuple[Beside, _From]], around: list[str]) -> list[str]:
        new = [each for each in sorted(_step(around, ways) - seen) if known(each)][: limit - len(order)]
        seen.update(new)
        order.extend(new)
        return new

    for _ in range(hops):
        front = widen(causes, front)
        if not front:
            break
    widen(effects, list(order))
    return order
