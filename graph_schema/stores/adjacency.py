"""What stands beside each entity, as arrays: a walk through objects would touch a page of memory for each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from graph_schema.stores.ordered import distinct
from graph_schema.walk import FaultFrom

Numbers = NDArray[np.int32]
Edge = tuple[int, int, int]
"""Numbers of source, target and kind."""
Edges = tuple[Numbers, Numbers, Numbers]
"""Sources, targets and kinds of many."""


class Beside(msgspec.Struct, frozen=True):
    """For each entity, by its number, those at the other ends of some of its relations."""

    starts: NDArray[np.int64]
    others: Numbers

    def of(self, entities: Numbers) -> Numbers:
        return self.others[places(self.starts, entities)]


class Adjacency:
    """Relations between entities `0 … len(names) - 1` as they were when it was made.

    Entities have a place in the order of their names, so that what is found is put in order without a look at a name.
    """

    def __init__(self, names: Sequence[str], edges: Edges, kinds: Sequence[str], fault_from: FaultFrom) -> None:
        self.count = count = len(names)
        self._by_name = np.array(sorted(range(count), key=names.__getitem__), np.int32)
        self._place = np.empty(count, np.int32)
        self._place[self._by_name] = np.arange(count, dtype=np.int32)
        source, target, kind = edges
        order_of_kinds = np.empty(len(kinds), np.int32)
        order_of_kinds[sorted(range(len(kinds)), key=kinds.__getitem__)] = np.arange(len(kinds))
        order = np.lexsort((order_of_kinds[kind], self._place[target], source))
        self.source, self.target, self.kind = source[order], target[order], kind[order]
        self._leaving = _starts(self.source, count)
        ends = [fault_from(each) for each in kinds]
        from_target, from_source = (
            np.array([end in each for each in ends], bool)[self.kind] for end in ("target", "source")
        )
        self.causes = self._beside(from_target, from_source)
        """What may have made an entity sick."""
        self.effects = self._beside(from_source, from_target)
        """What it may make sick."""

    def in_order(self, entities: Numbers) -> Numbers:
        """Each of them once, by name."""
        return self._by_name[distinct(self._place[entities])]

    def leaving(self, entities: Numbers) -> NDArray[np.int64]:
        """Where the relations that leave them stand: source by source as given, then in order of target and kind."""
        return places(self._leaving, entities)

    def _beside(self, along: NDArray[np.bool_], against: NDArray[np.bool_]) -> Beside:
        """Targets of the relations of the one, sources of those of the other."""
        here = np.concatenate((self.source[along], self.target[against]))
        there = np.concatenate((self.target[along], self.source[against]))
        order = np.argsort(here, kind="stable")
        return Beside(_starts(here[order], self.count), there[order])


def places(starts: NDArray[np.int64], entities: Numbers) -> NDArray[np.int64]:
    """The places from `starts[i]` to before `starts[i + 1]`, for one entity after the other."""
    first = starts[entities]
    many = starts[entities + 1] - first
    before = np.cumsum(many) - many
    found: NDArray[np.int64] = np.arange(many.sum()) + np.repeat(first - before, many)
    return found


def _starts(entities: Numbers, count: int) -> NDArray[np.int64]:
    """Where each begins in a list that is in order, and where the last one ends."""
    starts = np.zeros(count + 1, np.int64)
    starts[1:] = np.cumsum(np.bincount(entities, minlength=count))
    return starts


def as_arrays(edges: Iterable[Edge]) -> Edges:
    found = np.fromiter((each for edge in edges for each in edge), np.int32).reshape(-1, 3)
    return found[:, 0], found[:, 1], found[:, 2]


def joined(parts: Iterable[Edges]) -> Edges:
    source, target, kind = zip(*parts, strict=True)
    return np.concatenate(source), np.concatenate(target), np.concatenate(kind)


def take(one: Callable[[int], Iterable[int]], entities: Numbers) -> Numbers:
    """What `one` says of each, all together."""
    return np.fromiter((other for each in entities.tolist() for other in one(each)), np.int32)
