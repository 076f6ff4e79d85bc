"""The wiring as moves between numbered states, as arrays, for searches that take millions of steps.

A state is (entity, mode, turned) as one integer, in the order of the entities' identifiers and the modes' names.
`turned` says that the way has just gone over from a part to its whole, or the reverse, and may not turn back there.
A step joins two entities; which modes it joins, and how surely, its rule tells: one small table for all steps alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import msgspec
import numpy as np

from diagnose.arrays import NOBODY, Floats, Ints, orderly, place_in_run
from diagnose.behind import Behind
from diagnose.passing import Passing, Table
from diagnose.wiring import MOST_TAKEN, Wiring
from graph_schema.model import Subgraph
from graph_schema.ontology import End, Ontology

RESOLVES_BY = "RESOLVES_BY"
MOST_BETWEEN = 3
"""No derived step has more than this between its ends."""


class Direction(msgspec.Struct, frozen=True):
    """All steps in one direction, those of one entity side by side."""

    begins: Ints
    count: Ints
    """By the number of the entity."""
    other: Ints
    rule: Ints
    crowd: Floats
    """What many at the other end leave of the share,"""
    partly: Floats
    """and the part of what is behind the effect that each of them is: a row for each exponent of the table."""
    lies: Ints
    """The row of what lies between,"""
    between: Ints
    """and these rows, from the cause on; one column for each, then `NOBODY`. The first one has nothing."""
    steps: Ints
    table: Table
    most: Floats
    """Mode → no less than the share of the surest move from it."""


class Moves:
    """States of one piece of the graph, and the moves from each of them."""

    def __init__(self, piece: Subgraph, ontology: Ontology, wiring: Wiring) -> None:
        self._wiring, self._passing = wiring, ontology.once(Passing)
        self.modes, self.mode = self._passing.modes, self._passing.mode
        self.span = 2 * len(self.modes)
        """States of one entity; those of the entity of number n begin with n * span."""
        self.entities, self.number = wiring.entities, wiring.number

    def names(self, way: Iterable[int]) -> tuple[str, ...]:
        """The entities of these numbers."""
        entities = self.entities
        return tuple([entities[number] for number in way])

    def at(self, place: int) -> str:
        """The entity of a place, which is half of a state."""
        name: str = self.entities[place // len(self.modes)]
        return name

    def mode_at(self, place: int) -> int:
        """The mode of a place, which is half of a state."""
        return place % len(self.modes)

    @cached_property
    def back(self) -> Direction:
        """Everything that may have brought an entity into its states; turned: a part's whole is left out."""
        steps = _Steps(self._passing)
        source, target, _ = self._wiring.relations
        leaving, coming = self._counted
        from_target, from_source = self._from_both()
        steps.add(source, target, from_target, count=leaving)
        steps.add(target, source, from_source, count=coming)
        for each in self._wiring.all_behind():
            steps.add(each.service, each.cause, self._same(each), part=each.part, between=each.between)
        resolver, asking = self._wiring.resolving()
        rule = self._wiring.rule("target", RESOLVES_BY)
        if resolver is not None and rule is not None:
            steps.add(asking, np.full(len(asking), resolver), np.full(len(asking), self._passing.number(rule)))
        return steps.direction(len(self.entities), self._passing.back, self._passing.most_back)

    @cached_property
    def forth(self) -> Direction:
        """Everything that an entity may bring about; turned: a whole's parts are left out.

        Of each entity and kind only the first `MOST_TAKEN` steps are taken.
        """
        steps = _Steps(self._passing)
        source, target, kind = self._wiring.relations
        leaving, coming = self._counted
        from_target, from_source = self._from_both()
        if coming.max(initial=0) > MOST_TAKEN:
            from_target[place_in_run(target, kind, source) >= MOST_TAKEN] = NOBODY
        if leaving.max(initial=0) > MOST_TAKEN:
            from_source[place_in_run(source, kind, target) >= MOST_TAKEN] = NOBODY
        steps.add(target, source, from_target, whole=leaving)
        steps.add(source, target, from_source)
        for each in self._wiring.all_behind():
            ruled = self._same(each)
            if np.bincount(each.cause).max(initial=0) > MOST_TAKEN:
                ruled[place_in_run(each.cause, each.service) >= MOST_TAKEN] = NOBODY
            steps.add(each.cause, each.service, ruled, part=each.part, between=each.between)
        resolver, asking = self._wiring.resolving()
        rule = self._wiring.rule("target", RESOLVES_BY)
        if resolver is not None and rule is not None:
            asking = asking[:MOST_TAKEN]
            steps.add(np.full(len(asking), resolver), asking, np.full(len(asking), self._passing.number(rule)))
        return steps.direction(len(self.entities), self._passing.forth, self._passing.most_forth)

    def _ruled(self, end: End, kind: Ints) -> Ints:
        """For each relation the number of the rule of what comes from this end of it; `NOBODY` where nothing does."""
        rules = [self._wiring.rule(end, name) for name in self._wiring.kinds]
        found = np.array([NOBODY if rule is None else self._passing.number(rule) for rule in rules], int)
        return found[kind] if len(found) else kind

    def _same(self, behind: Behind) -> Ints:
        number = self._passing.number
        return np.where(behind.ready, number(behind.where_ready), number(behind.rule))

    def _from_both(self) -> tuple[Ints, Ints]:
        """For each relation the numbers of the rules of what comes from its target and from its source."""
        source, target, kind = self._wiring.relations
        ready, weaker = self._wiring.ready, self._passing.weaker
        from_target, from_source = self._ruled("target", kind), self._ruled("source", kind)
        return (
            np.where(ready[source] & (from_target != NOBODY), weaker[from_target], from_target),
            np.where(ready[target] & (from_source != NOBODY), weaker[from_source], from_source),
        )

    @cached_property
    def _counted(self) -> tuple[Ints, Ints]:
        """For each relation how many of its kind leave its source, and how many come to its target."""
        source, target, kind = self._wiring.relations
        return _counted(source, kind), _counted(target, kind)


class _Steps:
    """Steps while they are put together."""

    def __init__(self, passing: Passing) -> None:
        self._passing = passing
        self._columns: list[tuple[Ints, Ints, Ints, Floats, Ints, Ints]] = []
        # Parts of what is behind are the same few again and again: they are raised to their powers once.
        self._values = [np.ones(1)]
        self._between = [np.full((1, MOST_BETWEEN), NOBODY)]

    def add(
        self, here: Ints, other: Ints, rule: Ints, *, count: Ints | None = None, part: Floats | None = None,
        whole: Ints | None = None, between: Ints | None = None,
    ) -> None:  # fmt: skip
        """Steps from here to the other that have a rule.

        `count`: how many share the blame, of whom each is one part; else each is `part` of what is behind, or one of
        `whole`, or all.
        """
        kept = np.flatnonzero(rule != NOBODY)
        rule = rule[kept]
        crowd, lies, values = np.ones(len(kept)), np.zeros(len(kept), int), np.zeros(len(kept), int)
        if count is not None:
            whole = count
            exponents = self._passing.crowd[rule]
            many = np.flatnonzero(exponents)
            crowd[many] = count[kept[many]] ** -exponents[many]
        if whole is not None:
            values = whole[kept] + (sum(map(len, self._values)) - 1)
            self._values.append(1 / np.arange(1, 1 + whole.max(initial=0)))
        if part is not None:
            part = part[kept]
            order = np.argsort(part)
            new = np.diff(part[order], prepend=0.0) != 0
            values[order] = np.cumsum(new) + (sum(map(len, self._values)) - 1)
            self._values.append(part[order[new]])
        if between is not None:
            lies = np.arange(len(kept)) + sum(map(len, self._between))
            self._between.append(between[kept])
        self._columns.append((here[kept], other[kept], rule, crowd, values, lies))

    def direction(self, entities: int, table: Table, most: Floats) -> Direction:
        here, other, rule, crowd, values, lies = (np.concatenate(column) for column in zip(*self._columns, strict=True))
        count, order = np.bincount(here, minlength=entities), orderly(here)
        lies, between = lies[order], np.concatenate(self._between)
        raised = np.concatenate(self._values) ** np.array(table.powers)[:, None]
        return Direction(
            begins=np.cumsum(count) - count, count=count, other=other[order], rule=rule[order], crowd=crowd[order],
            partly=raised.take(values[order], axis=1), lies=lies, between=between,
            steps=(1 + (between != NOBODY).sum(axis=1))[lies], table=table, most=most,
        )  # fmt: skip


def _counted(ends: Ints, kinds: Ints) -> Ints:
    """For each relation how many of its kind have the same end."""
    pair = ends * (1 + kinds.max(initial=0)) + kinds
    found: Ints = np.bincount(pair)[pair] if len(pair) else pair
    return found
