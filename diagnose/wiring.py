"""The relations of a piece of the graph as steps that a sickness can take, by name and by number.

Besides the relations that are there, two kinds of step are derived: from a workload or node straight to a Service,
because what arrives depends on the share of its pods that are hit; and from everything to the cluster's DNS, which
nobody writes down.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cached_property

import numpy as np

from diagnose.arrays import NOBODY, Flags, Ints, orderly
from diagnose.behind import Above, Behind, shared
from diagnose.passing import RUNS_ON, Passing
from diagnose.rules import Rule
from graph_schema.model import Entity, Subgraph
from graph_schema.ontology import ENDS, OTHER, End, Ontology

MOST_PARTS = 50
"""Of more parts than this, only the parts of the first are looked at."""
MOST_TAKEN = 400
"""Of more effects of one kind than this, only the first are looked at."""

DNS = "DNS"
"""A kind, and what other things may be for."""

Others = dict[str, list[str]]
"""Kind of relation → the entities at its other end."""


class _Spans:
    """The other end and the kind of relations, and where those of each entity begin that have it at one end."""

    def __init__(self, ends: Ints, others: Ints, kinds: Ints, many: int) -> None:
        self._others, self._kinds = others, kinds
        self._begins: list[int] = [0, *np.cumsum(np.bincount(ends, minlength=many)).tolist()]

    def of(self, number: int | None) -> Iterable[tuple[int, int]]:
        """(the other end, kind) of each."""
        if number is None:
            return ()
        part = slice(self._begins[number], self._begins[number + 1])
        return zip(self._others[part].tolist(), self._kinds[part].tolist(), strict=True)


def _numbers(names: Sequence[str], numbers: Mapping[str, int]) -> Ints:
    return np.fromiter(map(numbers.__getitem__, names), int, len(names))


def _kinds(each: Sequence[str]) -> tuple[list[str], Ints]:
    """(the kinds that there are, in order; the number of each)."""
    met: defaultdict[str, int] = defaultdict(lambda: len(met))
    number = np.fromiter(map(met.__getitem__, each), int, len(each))
    kinds = sorted(met)
    places = np.zeros(len(kinds), int)
    places[[met[kind] for kind in kinds]] = np.arange(len(kinds))
    return kinds, places[number]


def _once(source: Ints, kind: Ints, target: Ints) -> tuple[Ints, Ints, Ints]:
    """(source, target, kind) of each relation once, in order of source, kind and target."""
    order = orderly(source, kind, target)
    source, kind, target = source[order], kind[order], target[order]
    new = np.ones(len(order), bool)
    new[1:] = (source[1:] != source[:-1]) | (kind[1:] != kind[:-1]) | (target[1:] != target[:-1])
    return source[new], target[new], kind[new]


class Wiring:
    """Who is joined to whom by the relations of a piece of the graph, and by the steps that are derived from them."""

    def __init__(self, piece: Subgraph, ontology: Ontology) -> None:
        self._ontology, self._entities = ontology, piece.entities
        relations = piece.relations
        sources, targets = [each.source for each in relations], [each.target for each in relations]
        self.kinds, kind = _kinds([each.kind for each in relations])
        """Kinds of relation, in order."""
        self.loose: Set[str] = frozenset()
        """The ends of relations that are not there,"""
        self.entities = sorted(piece.entities)
        """and everything that is there or has a relation, in order."""
        self.number = {name: number for number, name in enumerate(self.entities)}
        try:
            source, target = _numbers(sources, self.number), _numbers(targets, self.number)
        except KeyError:
            self.loose = {*sources, *targets} - piece.entities.keys()
            self.entities = sorted(piece.entities.keys() | self.loose)
            self.number = {name: number for number, name in enumerate(self.entities)}
            source, target = _numbers(sources, self.number), _numbers(targets, self.number)
        others = source != target
        source, target, kind = source[others], target[others], kind[others]
        self.relations = _once(source, kind, target)
        """(sources, targets, kinds) by number, each relation once, in order of source, kind and target."""
        source, target, kind = self.relations
        self._leaving = _Spans(source, target, kind, len(self.entities))
        order = orderly(target)
        self._coming = _Spans(target[order], source[order], kind[order], len(self.entities))
        self._out: dict[str, Others] = {}
        self._in: dict[str, Others] = {}
        self._passing = ontology.once(Passing)
        self._owned: dict[tuple[str, End], bool] = {}
        self._parts: dict[str, list[str]] = {}
        self._inside: dict[str, list[str]] = {}
        self._owners: dict[str, list[str]] = {}
        self._faces: dict[str, list[str]] = {}
        self._owned_by: dict[str, list[str]] = {}

    def out(self, entity: str) -> Others:
        """What its relations lead to: kind → the others in order."""
        found = self._out.get(entity)
        if found is None:
            found = self._out[entity] = self._others(entity, self._leaving)
        return found

    def into(self, entity: str) -> Others:
        """What has relations that lead to it: kind → the others in order."""
        found = self._in.get(entity)
        if found is None:
            found = self._in[entity] = self._others(entity, self._coming)
        return found

    def _others(self, entity: str, spans: _Spans) -> Others:
        found: Others = {}
        names, kinds = self.entities, self.kinds
        for other, kind in spans.of(self.number.get(entity)):
            found.setdefault(kinds[kind], []).append(names[other])
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
        return entity in self._fronted

    @cached_property
    def _fronted(self) -> set[str]:
        fronting = np.array([self._passing.fronting(kind) for kind in self.kinds], bool)
        names, (source, _, kind) = self.entities, self.relations
        return {names[each] for each in source[fronting[kind]].tolist()} if len(fronting) else set()

    @property
    def strange(self) -> bool:
        """Whether there are kinds that the ontology does not know."""
        known = self.entity_kinds.keys() <= self._ontology.entities.keys()
        return not (known and self._ontology.relations.keys() >= set(self.kinds))

    @property
    def entity_kinds(self) -> dict[str, int]:
        """The kinds of what is there, each with its number."""
        return self._of_kind[0]

    @property
    def of_kind(self) -> Ints:
        """By the number of an entity that of its kind; `NOBODY` where it is not there."""
        return self._of_kind[1]

    @cached_property
    def _of_kind(self) -> tuple[dict[str, int], Ints]:
        kinds, number = _kinds([each.kind for each in self._there])
        numbers = {kind: number for number, kind in enumerate(kinds)}
        if len(number) == len(self.entities):
            return numbers, number
        found = np.full(len(self.entities), NOBODY)
        found[[place for place, name in enumerate(self.entities) if name in self._entities]] = number
        return numbers, found

    @cached_property
    def _there(self) -> list[Entity]:
        """What is there, in order."""
        there = self._entities
        return [there[name] for name in self.entities if name in there]

    def all_of(self, *kinds: str) -> list[Entity]:
        """What is there of these kinds, in order."""
        numbers = [self.entity_kinds[kind] for kind in kinds if kind in self.entity_kinds]
        if not numbers:
            return []
        of_kind = self.of_kind[self.of_kind != NOBODY] if len(self._there) < len(self.entities) else self.of_kind
        wanted = np.zeros(len(self.entity_kinds), bool)
        wanted[numbers] = True
        there = self._there
        return [there[place] for place in np.flatnonzero(wanted[of_kind]).tolist()]

    def effects(self, entity: str) -> set[str]:
        """Where sickness of this entity may go to."""
        found = {
            other
            for end in ENDS
            for kind, others in (self.into(entity) if end == "target" else self.out(entity)).items()
            if self.rule(end, kind) is not None
            for other in others[:MOST_TAKEN]
        }
        number, (resolver, asking) = self.number.get(entity), self.resolving()
        names = self.entities
        for steps in self.all_behind():
            found.update(names[each] for each in steps.service[steps.cause == number][:MOST_TAKEN].tolist())
        if resolver is not None and resolver == number and self.rule("target", "RESOLVES_BY") is not None:
            found.update(names[each] for each in asking[:MOST_TAKEN].tolist())
        return found

    def rule(self, end: End, kind: str) -> Rule | None:
        """What comes from this end of a relation of this kind; None where nothing does."""
        return self._passing.rule(end, kind)

    def resolving(self) -> tuple[int | None, Ints]:
        """(what answers for names in this cluster, all that asks it), by number."""
        return self._resolving

    @cached_property
    def _resolving(self) -> tuple[int | None, Ints]:
        resolver, number, role = self._find_resolver(), self.number, self._ontology.role
        if resolver is None:
            return None, np.zeros(0, int)
        asking = [each for each in self.all_of("Service", "Ingress") if each.id != resolver and role(each.name) != DNS]
        return number[resolver], np.array([number[each.id] for each in asking], int)

    @cached_property
    def ready(self) -> Flags:
        """By number, whether it is a pod that is ready by the API's word."""
        found = np.zeros(len(self.entities), bool)
        ready = [self.number[each.id] for each in self.all_of("Pod") if each.properties.get("ready") is True]
        found[ready] = True
        return found

    def all_behind(self) -> list[Behind]:
        """Steps to Services from the owners and the nodes of the pods that they select, which each is a share of.

        Where there is but one pod, the relations say the same.
        """
        return [each for each in (each.of_several() for each in self.behind_services) if len(each.service)]

    @cached_property
    def behind_services(self) -> list[Behind]:
        """The same for Services of one pod, too."""
        source, target, kind = self.relations
        owning = np.array([self._owns(name, "source") for name in self.kinds], bool)
        above = Above(target, source, owning[kind] if len(kind) else np.zeros(0, bool), len(self.entities))
        running = np.array([name == RUNS_ON for name in self.kinds], bool)
        below = Above(source, target, running[kind] if len(kind) else np.zeros(0, bool), len(self.entities))
        found = []
        for number, name in enumerate(self.kinds):
            rule = self.rule("target", name)
            if rule is None or not self._passing.fronting(name):
                continue
            of_kind = np.flatnonzero(kind == number)
            service, pod = source[of_kind], target[of_kind]
            size = np.bincount(service, minlength=len(self.entities))
            owners, nodes = self._passing.made_by(name), self._passing.from_nodes(name)
            found.append(shared(*owners, above.chains(service, pod, 3), size, self.ready, owns=True))
            if nodes is not None:
                found.append(shared(*nodes, below.chains(service, pod, 1), size, self.ready, owns=False))
        return found

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
                if self._passing.fronting(kind):
                    found.update(chain[0] for pod in pods[:MOST_TAKEN] for chain in self._chains(pod))
            self._owned_by[service] = sorted(found)
        return self._owned_by[service]

    def _find_faces(self, entity: str) -> list[str]:
        front, found = [entity], set()
        for _ in range(3):
            below = [part for each in front for part in self.parts(each)]
            below += [pod for each in front for pod in self.into(each).get(RUNS_ON, ())]
            if not below:
                break
            front = below[: 10 * MOST_TAKEN]
            for pod in front:
                for kind, services in self.into(pod).items():
                    if self._passing.fronting(kind):
                        found.update(services)
        return sorted(found)[:MOST_TAKEN]

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
        for kinds in ((DNS,), ("Service",), [kind for kind in self.entity_kinds if workload(kind)]):
            for each in self.all_of(*kinds):
                if kinds == (DNS,) or role(each.name) == DNS:
                    return each.id
        return None
