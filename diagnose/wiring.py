"""The relations of a piece of the graph as steps that a sickness can take, looked up from either end.

Besides the relations that are there, two kinds of step are derived: from a workload or node straight to a Service,
because what arrives depends on the share of its pods that are hit; and from everything to the cluster's DNS, which
nobody writes down.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from graph_schema.model import Subgraph
from graph_schema.ontology import ENDS, OTHER, End, Ontology, RelationKind

SELF = "self"
"""Stands for the thing itself: its own symptoms, seen on it, on its parts or on its face."""
BESIDE = "beside"
"""Stands for what directly rests on the thing."""
OWN_PART, OWN_WHOLE = 0.97, 0.92
"""How surely an own symptom of a whole is seen on a part of it, and of a part on its whole or face."""
RESTING, RESTING_ON = 0.9, 0.8
PER_STEP = 0.97
"""What each step leaves of the strength besides the relation's own share."""
MOST_TAKEN = 400
"""Of more effects of one kind than this, only the first are looked at."""

Row = tuple[tuple[str, float], ...]
Moves = Mapping[str, Row]
Move = tuple[str, str, float, bool, bool, tuple[str, ...]]
"""(the other one, its mode, share that passes, step to a part?, step to a whole?, what lies between)."""


class Rule(msgspec.Struct, frozen=True):
    """What passes a relation in one direction: by mode at the sick end, and by mode at the other end."""

    forward: Moves
    backward: Moves
    down: bool = False
    """From a whole to a part of it."""
    up: bool = False
    share: Mapping[str, float] = {}
    crowd: float = 0.0


class Steps(msgspec.Struct, frozen=True):
    """One way of passing, to or from several others."""

    rule: Rule
    others: Sequence[str]
    via: Mapping[str, tuple[str, ...]] = {}
    """Other → what lies between, from the cause on, for derived steps."""
    shares: Mapping[str, float] = {}
    """Other → share of the pods behind the effect that it stands for; empty: one of `count`."""
    count: int = 1


class Wiring:
    """`causes(entity)` and `effects(entity)`: the steps by which sickness comes to it and goes from it."""

    def __init__(self, piece: Subgraph, ontology: Ontology) -> None:
        self._ontology, self._entities = ontology, piece.entities
        self._out: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._in: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        edges = {(each.source, each.kind, each.target) for each in piece.relations if each.source != each.target}
        for source, kind, target in sorted(edges):
            self._out[source][kind].append(target)
            self._in[target][kind].append(source)
        self._rules: dict[tuple[str, End], Rule] = {}
        self._causes: dict[str, tuple[Steps, ...]] = {}
        self._effects: dict[str, tuple[Steps, ...]] = {}
        self._behind: dict[str, tuple[Steps, ...]] = {}
        self._back: dict[tuple[str, str], tuple[Move, ...]] = {}
        self._forth: dict[tuple[str, str], tuple[Move, ...]] = {}
        self._parts: dict[str, list[str]] = {}
        self._faces: dict[str, list[str]] = {}
        self._owned_by: dict[str, list[str]] = {}
        self._resolver = self._find_resolver()

    def causes(self, entity: str) -> tuple[Steps, ...]:
        """Where sickness of this entity may come from."""
        if entity not in self._causes:
            self._causes[entity] = tuple(self._find_causes(entity))
        return self._causes[entity]

    def effects(self, entity: str) -> tuple[Steps, ...]:
        """Where sickness of this entity may go to."""
        if entity not in self._effects:
            self._effects[entity] = tuple(self._find_effects(entity))
        return self._effects[entity]

    def back(self, entity: str, mode: str) -> tuple[Move, ...]:
        """Every (other, mode) that may have brought this entity into this mode, the surest first."""
        key = entity, mode
        if key not in self._back:
            self._back[key] = tuple(sorted(self._find_back(entity, mode), key=lambda move: -move[2]))
        return self._back[key]

    def forth(self, entity: str, mode: str) -> tuple[Move, ...]:
        """Every (other, mode) that this entity in this mode may bring about, the surest first."""
        key = entity, mode
        if key not in self._forth:
            self._forth[key] = tuple(sorted(self._find_forth(entity, mode), key=lambda move: -move[2]))
        return self._forth[key]

    def parts(self, entity: str) -> list[str]:
        """What it owns directly."""
        if entity not in self._parts:
            owning = self._owning(self._out.get(entity, {}), "source")
            self._parts[entity] = [part for kind in owning for part in self._out[entity][kind]]
        return self._parts[entity]

    def owners(self, entity: str) -> list[str]:
        """What owns it directly."""
        return [owner for kind in self._owning(self._in.get(entity, {}), "target") for owner in self._in[entity][kind]]

    def fronted(self, entity: str) -> bool:
        """Whether it stands before pods or workloads that are known (a Service that selects)."""
        return any(self._ontology.relation(kind).own == {"target"} for kind in self._out.get(entity, {}))

    def _find_back(self, entity: str, mode: str) -> Iterable[Move]:
        for each in self.causes(entity):
            rule = each.rule
            for before, share in rule.backward.get(mode, ()):
                passing = share * each.count**-rule.crowd
                if not each.shares and rule.share:
                    passing *= (1 / each.count) ** rule.share.get(mode, 0.0)
                for other in each.others:
                    part = each.shares[other] ** rule.share.get(mode, 0.0) if each.shares else 1.0
                    yield other, before, passing * part, rule.down, rule.up, each.via.get(other, ())

    def _find_forth(self, entity: str, mode: str) -> Iterable[Move]:
        for each in self.effects(entity):
            rule = each.rule
            for after, share in rule.forward.get(mode, ()):
                power = rule.share.get(after, 0.0) if rule.share else 0.0
                for other in each.others:
                    part = each.shares[other] ** power if power and other in each.shares else 1.0
                    yield other, after, share * part, rule.down, rule.up, each.via.get(other, ())

    def _find_causes(self, entity: str) -> Iterable[Steps]:
        for kind, others in self._out.get(entity, {}).items():
            if "target" in self._ontology.relation(kind).carries:
                yield Steps(self._rule(kind, "target"), others, count=len(others))
        for kind, others in self._in.get(entity, {}).items():
            if "source" in self._ontology.relation(kind).carries:
                yield Steps(self._rule(kind, "source"), others, count=len(others))
        yield from self._behind_of(entity)
        if self._resolver and self._asks_names(entity):
            yield Steps(self._rule("RESOLVES_BY", "target"), [self._resolver])

    def _find_effects(self, entity: str) -> Iterable[Steps]:
        for relations, end in ((self._in, "target"), (self._out, "source")):
            for kind, others in relations.get(entity, {}).items():
                if end in self._ontology.relation(kind).carries:
                    shares = {}
                    if end == "target" and self._ontology.relation(kind).share:
                        shares = {other: 1 / len(self._out[other][kind]) for other in others[:MOST_TAKEN]}
                    yield Steps(self._rule(kind, end), others[:MOST_TAKEN], shares=shares)
        for service in self.faces(entity):
            for steps in self._behind_of(service):
                if entity in steps.shares:
                    yield Steps(steps.rule, [service], {service: steps.via[entity]}, {service: steps.shares[entity]})
        if entity == self._resolver:
            asking = [each for each in self._entities if self._asks_names(each)]
            yield Steps(self._rule("RESOLVES_BY", "target"), sorted(asking)[:MOST_TAKEN])

    def _rule(self, kind: str, end: End) -> Rule:
        if (kind, end) not in self._rules:
            self._rules[kind, end] = _compile(self._ontology.relation(kind), end)
        return self._rules[kind, end]

    def _behind_of(self, service: str) -> tuple[Steps, ...]:
        """Steps to a Service from the owners and the nodes of the pods that it selects, each with its share of them."""
        if service not in self._behind:
            self._behind[service] = tuple(self._find_behind(service))
        return self._behind[service]

    def _find_behind(self, service: str) -> Iterable[Steps]:
        for kind, pods in self._out.get(service, {}).items():
            relation = self._ontology.relation(kind)
            if relation.own != {"target"} or len(pods) < 2:
                continue
            owners: dict[str, list[tuple[str, ...]]] = defaultdict(list)
            nodes: dict[str, list[tuple[str, ...]]] = defaultdict(list)
            for pod in pods:
                for chain in self._chains(pod):
                    owners[chain[0]].append(chain)
                for node in self._out.get(pod, {}).get("RUNS_ON", ()):
                    nodes[node].append((node, pod))
            above = self._rule(kind, "target")
            for found, rule in ((owners, above), (nodes, _chained(self._rule("RUNS_ON", "target"), above))):
                if found:
                    via = {other: min(chains)[1:] for other, chains in found.items()}
                    shares = {other: min(1.0, len(chains) / len(pods)) for other, chains in found.items()}
                    yield Steps(rule, sorted(found), via, shares)

    def _chains(self, pod: str) -> list[tuple[str, ...]]:
        """Owner and what is below it down to the pod, for every owner at most three levels up."""
        found: list[tuple[str, ...]] = []
        front: list[tuple[str, ...]] = [(pod,)]
        for _ in range(3):
            front = [
                (owner, *chain)
                for chain in front
                for kind in self._owning(self._in.get(chain[0], {}), "target")
                for owner in self._in[chain[0]][kind]
                if owner not in chain
            ]
            found += front
        return found

    def faces(self, entity: str) -> list[str]:
        """Services that select pods of this entity (at most three levels down, or running on it)."""
        if entity not in self._faces:
            self._faces[entity] = self._find_faces(entity)
        return self._faces[entity]

    def behind(self, service: str) -> list[str]:
        """What owns the pods that a Service selects."""
        if service not in self._owned_by:
            found: set[str] = set()
            for kind, pods in self._out.get(service, {}).items():
                if self._ontology.relation(kind).own == {"target"}:
                    found.update(chain[0] for pod in pods[:MOST_TAKEN] for chain in self._chains(pod))
            self._owned_by[service] = sorted(found)
        return self._owned_by[service]

    def _find_faces(self, entity: str) -> list[str]:
        front, found = [entity], set()
        for _ in range(3):
            below = [part for each in front for part in self.parts(each)]
            below += [pod for each in front for pod in self._in.get(each, {}).get("RUNS_ON", ())]
            front = below[: 10 * MOST_TAKEN]
            for pod in front:
                for kind, services in self._in.get(pod, {}).items():
                    if self._ontology.relation(kind).own == {"target"}:
                        found.update(services)
        return sorted(found)[:MOST_TAKEN]

    def _owning(self, relations: Mapping[str, object], end: End) -> list[str]:
        """The relation kinds among these that make one end a part of the other: `end` is where we stand."""
        whole: End = end if end == "source" else OTHER[end]
        return [
            kind
            for kind in relations
            if self._ontology.relation(kind).whole == whole and self._ontology.relation(kind).own
        ]

    def _find_resolver(self) -> str | None:
        """What answers for names in this cluster: the thing of kind DNS, else the Service, else the workload for it."""
        for wanted in ("DNS", "Service", ""):
            for entity in sorted(self._entities.values(), key=lambda each: each.id):
                if entity.kind == "DNS" and wanted == "DNS":
                    return entity.id
                usable = entity.kind == wanted if wanted else self._ontology.workload(entity.kind)
                if usable and self._ontology.role(entity.name) == "DNS":
                    return entity.id
        return None

    def _asks_names(self, entity: str) -> bool:
        known = self._entities.get(entity)
        if known is None or known.kind not in ("Service", "Ingress") or entity == self._resolver:
            return False
        return self._ontology.role(known.name) != "DNS"


def _compile(relation: RelationKind, end: End) -> Rule:
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


def _chained(first: Rule, then: Rule) -> Rule:
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


__all__ = ["BESIDE", "ENDS", "SELF", "Rule", "Steps", "Wiring"]
