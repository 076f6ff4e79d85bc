"""The walk against the direction of faults, the same for every store that holds its graph in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from graph_schema.model import Change, Relation

FaultFrom = Callable[[str], frozenset[str]]
"""Relation kind → the ends (source, target) that faults come from."""
Beside = Mapping[str, Mapping[str, Iterable[str]]]
"""Entity → the entities at the other end → kinds of relation."""


class Around:
    """What stands around each entity of a graph: found out when it is first asked for, kept until it is forgotten."""

    def __init__(self, to: Beside, come: Beside, fault_from: FaultFrom) -> None:
        """`to`: source → targets, `come`: target → sources; both may change later."""
        self._to, self._come, self._fault_from = to, come, fault_from
        self._passes: dict[str, tuple[bool, bool]] = {}
        self._beside: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._relations: dict[str, tuple[Relation, ...]] = {}

    def forget(self, entity: str) -> None:
        """Its relations changed; the other ends need to be forgotten, too."""
        self._beside.pop(entity, None)
        self._relations.pop(entity, None)

    def causes(self, entity: str) -> tuple[str, ...]:
        """What may have made it sick."""
        return (self._beside.get(entity) or self._look(entity))[0]

    def effects(self, entity: str) -> tuple[str, ...]:
        """What it may make sick."""
        return (self._beside.get(entity) or self._look(entity))[1]

    def relations(self, source: str) -> tuple[Relation, ...]:
        """The relations that leave it, in order of target and kind."""
        found = self._relations.get(source)
        if found is None:
            others = self._to.get(source, {})
            found = self._relations[source] = tuple(
                [Relation(source, target, kind) for target in sorted(others) for kind in sorted(others[target])]
            )
        return found

    def _look(self, entity: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        causes: dict[str, None] = {}
        effects: dict[str, None] = {}
        for others, end in ((self._to, 0), (self._come, 1)):
            for other, kinds in others.get(entity, {}).items():
                for kind in kinds:
                    passes = self._passes.get(kind)
                    if passes is None:
                        ends = self._fault_from(kind)
                        passes = self._passes[kind] = "target" in ends, "source" in ends
                    if passes[end]:
                        causes[other] = None
                    if passes[1 - end]:
                        effects[other] = None
        found = self._beside[entity] = tuple(causes), tuple(effects)
        return found


def relations_among(around: Around, entities: Collection[str]) -> tuple[Relation, ...]:
    """The relations that join these entities, in order of source, target and kind."""
    return tuple([each for source in sorted(entities) for each in around.relations(source) if each.target in entities])


def ended(once: Mapping[Relation, str], changes: Iterable[Change]) -> tuple[Relation, ...]:
    """Of the relations that ended (→ their end that is gone), those with something that a change says was deleted."""
    deleted = {change.entity for change in changes if change.kind == "delete"}
    found = (relation for relation, other in once.items() if other in deleted)
    return tuple(sorted(found, key=lambda each: (each.source, each.kind, each.target)))


def walk(
    around: Around, seeds: Iterable[str], known: Callable[[str], bool], *, hops: int, limit: int,
    look: Callable[[Iterable[str]], None] | None = None,
) -> list[str]:  # fmt: skip
    """Entities within `hops` steps of the seeds, then what those would make sick: nearest first, then by id.

    `look` is told what is walked from next, before it is.
    """
    front = sorted({seed for seed in seeds if known(seed)})[:limit]
    order, seen = list(front), set(front)

    def widen(beside: Callable[[str], tuple[str, ...]], near: list[str]) -> list[str]:
        if len(order) == limit:
            return []
        if look is not None:
            look(near)
        found = set[str]().union(*map(beside, near)) - seen
        new = [each for each in sorted(found) if known(each)][: limit - len(order)]
        seen.update(new)
        order.extend(new)
        return new

    for _ in range(hops):
        front = widen(around.causes, front)
        if not front:
            break
    widen(around.effects, list(order))
    return order
