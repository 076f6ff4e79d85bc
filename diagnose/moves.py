"""The wiring as moves between numbered states, as arrays, for searches that take millions of steps.

A state is (entity, mode, turned) as one integer, in the order of the entities' identifiers and the modes' names.
`turned` says that the way has just gone over from a part to its whole, or the reverse, and may not turn back there.
A step joins two entities; which modes it joins, and how surely, its rule tells: one small table for all steps alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import msgspec
import numpy as np

from diagnose.arrays import NOBODY, Flags, Floats, Ints, place_in_run
from diagnose.behind import Behind
from diagnose.rules import BESIDE, SELF, STARTED, Rule, most_passed, weakened
from diagnose.wiring import MOST_TAKEN, Wiring
from graph_schema.model import Subgraph
from graph_schema.ontology import End, Ontology

MOST_BETWEEN = 3
"""No derived step has more than this between its ends."""


class Table(msgspec.Struct, frozen=True):
    """What the rules of all steps pass in one direction: rows for each rule, mode and whether the way has turned."""

    begins: Ints
    count: Ints
    """By the number of the rule times the span plus the place in it; nothing where a way that turned may not go."""
    turn: Ints
    """Of each row the mode at the other end and whether the way turns, as a place in the span,"""
    share: Floats
    """the share,"""
    power: Ints
    """and the number of the exponent on the part of what is hit, 0 being none."""
    powers: Sequence[float]
    """What these numbers stand for."""


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
        self._wiring = wiring
        self.modes = sorted({*ontology.modes, SELF, BESIDE})
        self.mode = {name: number for number, name in enumerate(self.modes)}
        self.span = 2 * len(self.modes)
        """States of one entity; those of the entity of number n begin with n * span."""
        self.entities, self.number = wiring.entities, wiring.number
        self._most_back, self._most_forth = (np.array(most) for most in most_passed(ontology, self.modes))
        self._rules: list[Rule] = []
        self._weakened: dict[int, int] = {}
        self._between = [np.full((1, MOST_BETWEEN), NOBODY)]

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
        source, target, kind = self._wiring.relations.T
        leaving, coming = _counted(source, kind), _counted(target, kind)
        from_target, from_source = self._from_both()
        behind = self._wiring.all_behind()
        parts = [
            self._steps(source, target, from_target, count=leaving),
            self._steps(target, source, from_source, count=coming),
            *(self._steps(each.service, each.cause, self._same(each), part=each.part, between=each.between)
              for each in behind),
        ]  # fmt: skip
        resolver, asking = self._wiring.resolving()
        rule = self._wiring.rule("target", "RESOLVES_BY")
        if resolver is not None and rule is not None:
            to = np.full(len(asking), resolver)
            parts.append(self._steps(asking, to, np.full(len(asking), self._rule(rule))))
        return self._direction(parts, back=True)

    @cached_property
    def forth(self) -> Direction:
        """Everything that an entity may bring about; turned: a whole's parts are left out."""
        source, target, kind = self._wiring.relations.T
        from_target, from_source = self._from_both()
        parts = [
            self._steps(target, source, from_target, part=1 / _counted(source, kind), most=kind),
            self._steps(source, target, from_source, most=kind),
            *(self._steps(each.cause, each.service, self._same(each), part=each.part, between=each.between,
                          most=np.zeros(len(each.cause), int))
              for each in self._wiring.all_behind()),
        ]  # fmt: skip
        resolver, asking = self._wiring.resolving()
        rule = self._wiring.rule("target", "RESOLVES_BY")
        if resolver is not None and rule is not None:
            asking = asking[:MOST_TAKEN]
            come = np.full(len(asking), resolver)
            parts.append(self._steps(come, asking, np.full(len(asking), self._rule(rule))))
        return self._direction(parts, back=False)

    def _rule(self, rule: Rule) -> int:
        for number, known in enumerate(self._rules):
            if known is rule:
                return number
        self._rules.append(rule)
        return len(self._rules) - 1

    def _ruled(self, end: End, kind: Ints) -> Ints:
        """For each relation the number of the rule of what comes from this end of it; `NOBODY` where nothing does."""
        rules = [self._wiring.rule(end, name) for name in self._wiring.kinds]
        found = np.array([NOBODY if rule is None else self._rule(rule) for rule in rules], int)
        return found[kind] if len(found) else kind

    def _same(self, behind: Behind) -> Ints:
        return np.where(behind.ready, self._rule(behind.where_ready), self._rule(behind.rule))

    def _from_both(self) -> tuple[Ints, Ints]:
        """For each relation the numbers of the rules of what comes from its target and from its source."""
        source, target, kind = self._wiring.relations.T
        ready = self._wiring.ready
        return (
            self._where_ready(self._ruled("target", kind), ready[source]),
            self._where_ready(self._ruled("source", kind), ready[target]),
        )

    def _where_ready(self, rule: Ints, ready: Flags) -> Ints:
        """The numbers of the rules, of steps to pods that are ready of those that let little through to their start."""
        found, those = rule.copy(), np.flatnonzero(ready & (rule != NOBODY))
        weaker = {number: self._weaker(number) for number in np.unique(rule[those]).tolist()}
        found[those] = [weaker[number] for number in rule[those].tolist()]
        return found

    def _weaker(self, number: int) -> int:
        if number not in self._weakened:
            rule = self._rules[number]
            passes = STARTED in rule.backward
            self._weakened[number] = self._rule(weakened(rule, arriving=True)) if passes else number
        return self._weakened[number]

    def _steps(
        self, here: Ints, other: Ints, rule: Ints, *, count: Ints | None = None, part: Floats | None = None,
        between: Ints | None = None, most: Ints | None = None,
    ) -> list[Ints | Floats]:  # fmt: skip
        """Columns of steps. `most`: of each entity and each of these only the first `MOST_TAKEN` are taken."""
        taken = rule != NOBODY
        if most is not None:
            taken &= _first_of(here, most, other)
        kept = np.flatnonzero(taken)
        rule = rule[kept]
        crowd = np.ones(len(kept))
        if count is not None:
            part = 1 / count
            exponents = np.array([each.crowd for each in self._rules])[rule]
            many = np.flatnonzero(exponents)
            crowd[many] = count[kept[many]] ** -exponents[many]
        whole = np.ones(len(kept)) if part is None else part[kept]
        lies = np.zeros(len(kept), int)
        if between is not None:
            lies += np.arange(len(kept)) + sum(map(len, self._between))
            self._between.append(between[kept])
        return [here[kept], other[kept], rule, crowd, whole, lies]

    def _direction(self, parts: Sequence[list[Ints | Floats]], *, back: bool) -> Direction:
        here, other, rule, crowd, part, lies = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(here, kind="stable")
        first = np.searchsorted(here[order], np.arange(len(self.entities) + 1))
        lies, between, table = lies[order], np.concatenate(self._between), self._table(back=back)
        return Direction(
            begins=first[:-1], count=np.diff(first), other=other[order], rule=rule[order], crowd=crowd[order],
            partly=raised(part[order], table.powers), lies=lies, between=between,
            steps=(1 + (between != NOBODY).sum(axis=1))[lies], table=table,
            most=self._most_back if back else self._most_forth,
        )  # fmt: skip

    def _table(self, *, back: bool) -> Table:
        counts: list[int] = []
        rows: list[tuple[int, float, int]] = []
        powers = {0.0: 0}
        for rule in self._rules:
            barred, turns = (rule.up, rule.down) if back else (rule.down, rule.up)
            for mode in self.modes:
                found = [
                    (2 * self.mode[other] + turns, share,
                     powers.setdefault(rule.share.get(mode if back else other, 0.0), len(powers)))
                    for other, share in (rule.backward if back else rule.forward).get(mode, ())
                ]  # fmt: skip
                for again in (found, [] if barred else found):
                    counts.append(len(again))
                    rows += again
        count = np.array(counts, int)
        turn, share, power = zip(*rows, strict=True) if rows else ((), (), ())
        return Table(
            begins=np.cumsum(count) - count, count=count, turn=np.array(turn, int), share=np.array(share, float),
            power=np.array(power, int), powers=list(powers),
        )  # fmt: skip


def raised(parts: Floats, powers: Sequence[float]) -> Floats:
    """Each part to each power; of all steps most have the same few parts."""
    found = np.ones((len(powers), len(parts)))
    some = np.flatnonzero(parts != 1)
    order = some[np.argsort(parts[some])]
    once = np.flatnonzero(np.diff(parts[order], prepend=0.0))
    which = np.zeros(len(order), int)
    which[once] = 1
    values = parts[order[once]]
    found[:, order] = (values ** np.array(powers)[:, None])[:, np.cumsum(which) - 1]
    return found


def _first_of(here: Ints, kind: Ints, other: Ints) -> Flags:
    """Which steps are among the first `MOST_TAKEN` of their entity and kind."""
    if _counted(here, kind).max(initial=0) <= MOST_TAKEN:
        return np.ones(len(here), bool)
    return place_in_run(here, kind, other) < MOST_TAKEN


def _counted(ends: Ints, kinds: Ints) -> Ints:
    """For each relation how many of its kind have the same end."""
    pair = ends * (1 + kinds.max(initial=0)) + kinds
    found: Ints = np.bincount(pair)[pair] if len(pair) else pair
    return found
