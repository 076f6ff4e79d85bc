"""All that relations pass on, as an ontology has it: its rules by number, and tables for them. Made once for each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from diagnose.arrays import Floats, Ints
from diagnose.rules import BESIDE, SELF, STARTED, Rule, chained, compiled, most_passed, weakened
from graph_schema.ontology import ENDS, UNKNOWN_AS, End, Ontology

RUNS_ON = "RUNS_ON"


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


class Passing:
    """What passes relations of each kind in either direction, and what passes from nodes through pods to Services."""

    def __init__(self, ontology: Ontology) -> None:
        self.modes = sorted({*ontology.modes, SELF, BESIDE})
        self.mode = {name: number for number, name in enumerate(self.modes)}
        self._ontology = ontology
        self._rules: dict[tuple[End, str], Rule] = {
            (end, kind): compiled(relation, end)
            for kind, relation in ontology.relations.items()
            for end in ENDS
            if end in relation.carries
        }
        below = self.rule("target", RUNS_ON)
        fronting = {kind: rule for (end, kind), rule in self._rules.items() if end == "target" and self.fronting(kind)}
        self._made_by = {kind: (rule, weakened(rule, arriving=False)) for kind, rule in fronting.items()}
        self._from_nodes = {} if below is None else {
            kind: (chained(below, rule), chained(weakened(below, arriving=True), rule))
            for kind, rule in fronting.items()
        }  # fmt: skip
        weaker = {
            number: weakened(rule, arriving=True)
            for number, rule in enumerate(self._rules.values())
            if STARTED in rule.backward
        }
        derived = [rule for pair in (*self._made_by.values(), *self._from_nodes.values()) for rule in pair]
        rules = list({id(rule): rule for rule in (*self._rules.values(), *derived, *weaker.values())}.values())
        self._number = {id(rule): number for number, rule in enumerate(rules)}
        self.weaker = np.arange(len(rules))
        """By the number of a rule of relations that of the one to pods that are ready."""
        self.weaker[list(weaker)] = [self.number(rule) for rule in weaker.values()]
        self.crowd = np.array([rule.crowd for rule in rules])
        """By the number of a rule the exponent on how many share the blame."""
        self.back, self.forth = self._table(rules, back=True), self._table(rules, back=False)
        self.most_back, self.most_forth = (np.array(most) for most in most_passed(ontology, self.modes))

    def rule(self, end: End, kind: str) -> Rule | None:
        """What comes from this end of a relation of this kind; None where nothing does."""
        return self._rules.get((end, kind if kind in self._ontology.relations else UNKNOWN_AS))

    def made_by(self, kind: str) -> tuple[Rule, Rule]:
        """What comes to a Service from the owners of the pods that it selects by a relation of this kind: usually, and
        where all of them are ready."""
        return self._made_by[kind if kind in self._ontology.relations else UNKNOWN_AS]

    def from_nodes(self, kind: str) -> tuple[Rule, Rule] | None:
        """The same from the nodes of these pods; None where nothing does."""
        return self._from_nodes.get(kind if kind in self._ontology.relations else UNKNOWN_AS)

    def number(self, rule: Rule) -> int:
        return self._number[id(rule)]

    def fronting(self, kind: str) -> bool:
        """Whether a relation of this kind is one of a face to what is behind it."""
        return self._ontology.relation(kind).own == {"target"}

    def _table(self, rules: Sequence[Rule], *, back: bool) -> Table:
        counts: list[int] = []
        rows: list[tuple[int, float, int]] = []
        powers = {0.0: 0}
        for rule in rules:
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
