"""The relations of a piece of the graph as steps that a sickness can take, looked up from either end.

Besides the relations that are there, two kinds of step are derived: from a workload or node straight to a Service,
because what arrives depends on the share of its pods that are hit; and from everything to the cluster's DNS, which
nobody writes down.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec

from diagnose.rules import Rule, chained, compiled
from graph_schema.model import Subgraph
from graph_schema.ontology import ENDS, OTHER, End, Ontology

MOST_PARTS = 50
"""Of more parts than this, only the parts of the first are looked at."""
MOST_TAKEN = 400
"""Of more effects of one kind than this, only the first are looked at."""

PARTS_OF_RELATION = attrgetter("source", "target", "kind")

Others = dict[str, list[str]]
"""Kind of relation → the entities at its other end."""


class Steps(msgspec.Struct, frozen=True):
    """One way of passing, to or from several others."""

    rule: Rule
    others: Sequence[str]
    via: Mapping[str, tuple[str, ...]] = {}
    """Other → what lies between, from the cause on, for derived steps."""
    shares: Mapping[str, float] = {}
    """Other → share of the pods behind the effect that it stands for; empty: one of `count`."""
    count: int = 1


class Compiled(dict[str, Rule | None]):
    """Kind of relation → what comes from this end of it; None where nothing does."""

    def __init__(self, ontology: Ontology, end: End) -> None:
        super().__init__()
        self._ontology, self._end = ontology, end

    def __missing__(self, kind: str) -> Rule | None:
        relation = self._ontology.relation(kind)
        found = self[kind] = compiled(relation, self._end) if self._end in relation.carries else None
        return found


class Wiring:
    """`causes(entity)` and `effects(entity)`: the steps by which sickness comes to it and goes from it."""

    def __init__(self, piece: Subgraph, ontology: Ontology) -> None:
        self._ontology, self._entities = ontology, piece.entities
        self._from: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._to: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for source, target, kind in map(PARTS_OF_RELATION, piece.relations):
            if source != target:
                self._from[source].append((kind, target))
                self._to[target].append((source, kind))
        self._out: dict[str, Others] = {}
        self._in: dict[str, Others] = {}
        self._rules = {end: Compiled(ontology, end) for end in ENDS}
        self._chained: dict[str, Rule | None] = {}
        self._behind: dict[str, tuple[Steps, ...]] = {}
        self._fronts: dict[str, bool] = {}
        self._owned: dict[tuple[str, End], bool] = {}
        self._parts: dict[str, list[str]] = {}
        self._inside: dict[str, list[str]] = {}
        self._owners: dict[str, list[str]] = {}
        self._faces: dict[str, list[str]] = {}
        self._owned_by: dict[str, list[str]] = {}
        self._resolver = self._find_resolver()

    @property
    def joined(self) -> set[str]:
        """Everything that has a relation."""
        return {*self._from, *self._to}

    def out(self, entity: str) -> Others:
        """What its relations lead to: kind → the others in order."""
        found = self._out.get(entity)
        if found is None:
            found = self._out[entity] = {}
            pairs = self._from.get(entity, [])
            for kind, other in sorted(set(pairs)) if len(pairs) > 1 else pairs:
                found.setdefault(kind, []).append(other)
        return found

    def into(self, entity: str) -> Others:
        """What has relations that lead to it: kind → the others in order."""
        found = self._in.get(entity)
        if found is None:
            found = self._in[entity] = {}
            pairs = self._to.get(entity, [])
            for other, kind in sorted(set(pairs)) if len(pairs) > 1 else pairs:
                found.setdefault(kind, []).append(other)
        return found

    def parts(self, entity: str) -> list[str]:
        """What it owns directly."""
        if entity not in self._parts:
            owning = self._owning(self.out(entity), "source")
            self._parts[entity] = [part for kind in owning for part in self.out(entity)[kind]]
        return self._parts[entity]

    def inside(self, entity: str) -> list[str]:
        """What it owns, and what the first of these own."""
        found = self._inside.get(entity)
        if found is None:
            front = self.parts(entity)
            found = [*front, *(part for each in front[:MOST_PARTS] for part in self.parts(each)[:MOST_PARTS])]
            self._inside[entity] = found
        return found

    def owners(self, entity: str) -> list[str]:
        """What owns it directly."""
        found = self._owners.get(entity)
        if found is None:
            owning = self._owning(self.into(entity), "target")
            found = self._owners[entity] = [owner for kind in owning for owner in self.into(entity)[kind]]
        return found

    def fronted(self, entity: str) -> bool:
        """Whether it stands before pods or workloads that are known (a Service that selects)."""
        return any(self._fronting(kind) for kind in self.out(entity))

    def causes(self, entity: str) -> Iterable[Steps]:
        """Where sickness of this entity may come from."""
        for kind, others in self.out(entity).items():
            rule = self._rules["target"][kind]
            if rule is not None:
                yield Steps(rule, others, count=len(others))
        for kind, others in self.into(entity).items():
            rule = self._rules["source"][kind]
            if rule is not None:
                yield Steps(rule, others, count=len(others))
        yield from self._behind_of(entity)
        if self._resolver and self._asks_names(entity):
            yield from self._names_from([self._resolver])

    def effects(self, entity: str) -> Iterable[Steps]:
        """Where sickness of this entity may go to."""
        for end in reversed(ENDS):
            for kind, others in (self.into(entity) if end == "target" else self.out(entity)).items():
                rule = self._rules[end][kind]
                if rule is None:
                    continue
                shares = {}
                if rule.share:
                    shares = {other: 1 / len(self.out(other)[kind]) for other in others[:MOST_TAKEN]}
                yield Steps(rule, others[:MOST_TAKEN], shares=shares)
        for service in self.faces(entity):
            for steps in self._behind_of(service):
                if entity in steps.shares:
                    yield Steps(steps.rule, [service], {service: steps.via[entity]}, {service: steps.shares[entity]})
        if entity == self._resolver:
            asking = [each for each in self._entities if self._asks_names(each)]
            yield from self._names_from(sorted(asking)[:MOST_TAKEN])

    def _names_from(self, others: list[str]) -> Iterable[Steps]:
        rule = self._rules["target"]["RESOLVES_BY"]
        if rule is not None:
            yield Steps(rule, others)

    def _behind_of(self, service: str) -> tuple[Steps, ...]:
        """Steps to a Service from the owners and the nodes of the pods that it selects, each with its share of them."""
        if service not in self._behind:
            self._behind[service] = tuple(self._find_behind(service))
        return self._behind[service]

    def _find_behind(self, service: str) -> Iterable[Steps]:
        for kind, pods in self.out(service).items():
            above = self._rules["target"][kind]
            if not self._fronting(kind) or len(pods) < 2 or above is None:
                continue
            owners: dict[str, list[tuple[str, ...]]] = defaultdict(list)
            nodes: dict[str, list[tuple[str, ...]]] = defaultdict(list)
            for pod in pods:
                for chain in self._chains(pod):
                    owners[chain[0]].append(chain)
                for node in self.out(pod).get("RUNS_ON", ()):
                    nodes[node].append((node, pod))
            for found, rule in ((owners, above), (nodes, self._from_nodes(kind, above))):
                if found and rule is not None:
                    via = {other: min(chains)[1:] for other, chains in found.items()}
                    shares = {other: min(1.0, len(chains) / len(pods)) for other, chains in found.items()}
                    yield Steps(rule, sorted(found), via, shares)

    def _from_nodes(self, kind: str, above: Rule) -> Rule | None:
        """What comes to a Service from the nodes of the pods that it selects by a relation of this kind."""
        if kind not in self._chained:
            below = self._rules["target"]["RUNS_ON"]
            self._chained[kind] = chained(below, above) if below is not None else None
        return self._chained[kind]

    def _chains(self, pod: str) -> list[tuple[str, ...]]:
        """Owner and what is below it down to the pod, for every owner at most three levels up."""
        found: list[tuple[str, ...]] = []
        front: list[tuple[str, ...]] = [(pod,)]
        for _ in range(3):
            front = [(owner, *chain) for chain in front for owner in self.owners(chain[0]) if owner not in chain]
            if not front:
                break
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
            for kind, pods in self.out(service).items():
                if self._fronting(kind):
                    found.update(chain[0] for pod in pods[:MOST_TAKEN] for chain in self._chains(pod))
            self._owned_by[service] = sorted(found)
        return self._owned_by[service]

    def _find_faces(self, entity: str) -> list[str]:
        front, found = [entity], set()
        for _ in range(3):
            below = [part for each in front for part in self.parts(each)]
            below += [pod for each in front for pod in self.into(each).get("RUNS_ON", ())]
            if not below:
                break
            front = below[: 10 * MOST_TAKEN]
            for pod in front:
                for kind, services in self.into(pod).items():
                    if self._fronting(kind):
                        found.update(services)
        return sorted(found)[:MOST_TAKEN]

    def _fronting(self, kind: str) -> bool:
        """Whether a relation of this kind is one of a face to what is behind it."""
        known = self._fronts.get(kind)
        if known is None:
            known = self._fronts[kind] = self._ontology.relation(kind).own == {"target"}
        return known

    def _owning(self, relations: Mapping[str, object], end: End) -> list[str]:
        """The relation kinds among these that make one end a part of the other: `end` is where we stand."""
        return [kind for kind in relations if self._owns(kind, end)]

    def _owns(self, kind: str, end: End) -> bool:
        known = self._owned.get((kind, end))
        if known is None:
            relation = self._ontology.relation(kind)
            whole: End = end if end == "source" else OTHER[end]
            known = self._owned[kind, end] = relation.whole == whole and bool(relation.own)
        return known

    def _find_resolver(self) -> str | None:
        """What answers for names in this cluster: the thing of kind DNS, else the Service, else the workload for it."""
        role, workload = self._ontology.role, self._ontology.workload
        things = self._entities.values()
        for found in (
            (each.id for each in things if each.kind == "DNS"),
            (each.id for each in things if each.kind == "Service" and role(each.name) == "DNS"),
            (each.id for each in things if workload(each.kind) and role(each.name) == "DNS"),
        ):
            first = min(found, default=None)
            if first is not None:
                return first
        return None

    def _asks_names(self, entity: str) -> bool:
        known = self._entities.get(entity)
        if known is None or known.kind not in ("Service", "Ingress") or entity == self._resolver:
            return False
        return self._ontology.role(known.name) != "DNS"
