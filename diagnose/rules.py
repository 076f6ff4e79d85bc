"""What passes a relation in either direction, compiled from the ontology: tables from mode to mode."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from graph_schema.ontology import End, Ontology, RelationKind

SELF = "self"
"""Stands for the thing itself: its own symptoms, seen on it, on its parts or on its face."""
BESIDE = "beside"
"""Stands for what directly rests on the thing."""
OWN = 0.45
"""From this strength on, a symptom is the entity's own: seen on it, on its parts or on its face."""
OWN_PART, OWN_WHOLE = 0.97, 0.92
"""How surely an own symptom of a whole is seen on a part of it, and of a part on its whole or face."""
RESTING, RESTING_ON = 0.9, 0.8
PER_STEP = 0.97
"""What each step leaves of the strength besides the relation's own share."""

Row = tuple[tuple[str, float], ...]
Moves = Mapping[str, Row]


class Rule(msgspec.Struct, frozen=True):
    """What passes a relation in one direction: by mode at the sick end, and by mode at the other end."""

    forward: Moves
    backward: Moves
    down: bool = False
    """From a whole to a part of it."""
    up: bool = False
    share: Mapping[str, float] = {}
    crowd: float = 0.0


def compiled(relation: RelationKind, end: End) -> Rule:
    """What passes a relation from this end of it to the other."""
    table: dict[str, dict[str, float]] = {
        mode: {out: share * PER_STEP for out, share in row.items()} for mode, row in relation.carries[end].items()
    }
    down = relation.whole == end
    if end in relation.own:
        table[SELF] = {SELF: OWN_PART if down else OWN_WHOLE}
    if relation.rests == end:
        table[BESIDE] = {SELF: RESTING, BESIDE: RESTING_ON}
    share = dict(relation.share) if end == "target" else {}
    if share:
        share[SELF] = 0.35
    return Rule(
        {mode: tuple(row.items()) for mode, row in table.items()}, _turned(table), down=down,
        up=relation.whole is not None and not down, share=share, crowd=relation.crowd.get(end, 0.0),
    )  # fmt: skip


STARTED, LEFT = "start", 0.25
"""So much of what keeps pods from being made, started or kept counts for one that is ready: it may be back already."""


def weakened(rule: Rule, *, arriving: bool) -> Rule:
    """The rule for pods that are ready: only so much of `STARTED` is left, where it arrives or where it comes from."""
    table = {
        sick: {out: share * LEFT if (out if arriving else sick) == STARTED else share for out, share in row}
        for sick, row in rule.forward.items()
    }
    forward = {sick: tuple(row.items()) for sick, row in table.items()}
    return Rule(forward, _turned(table), down=rule.down, up=rule.up, share=rule.share, crowd=rule.crowd)


def chained(first: Rule, then: Rule) -> Rule:
    """Both rules one after the other."""
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for mode, row in first.forward.items():
        for between, one in row:
            for out, two in then.forward.get(between, ()):
                table[mode][out] = max(table[mode].get(out, 0.0), one * two)
    return Rule({mode: tuple(row.items()) for mode, row in table.items()}, _turned(table), share=then.share)


def _turned(table: Mapping[str, Mapping[str, float]]) -> dict[str, Row]:
    back: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for mode, row in table.items():
        for out, share in row.items():
            back[out].append((mode, share))
    return {out: tuple(rows) for out, rows in back.items()}


def most_passed(ontology: Ontology, modes: Sequence[str]) -> tuple[list[float], list[float]]:
    """For each mode no less than what any relation passes: to it, and from it."""
    to, come = {SELF: OWN_PART, BESIDE: RESTING_ON}, {SELF: OWN_PART, BESIDE: RESTING}
    for relation in ontology.relations.values():
        for table in relation.carries.values():
            for mode, row in table.items():
                for out, share in row.items():
                    to[out] = max(to.get(out, 0.0), share * PER_STEP)
                    come[mode] = max(come.get(mode, 0.0), share * PER_STEP)
    return [to.get(mode, 0.0) for mode in modes], [come.get(mode, 0.0) for mode in modes]
