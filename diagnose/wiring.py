"""The relations of a piece of the graph as steps that a sickness can take, by name and by number.

Besides the relations that are there, two kinds of step are derived: from a workload or node straight to a Service,
because what arrives depends on the share of its pods that are hit; and from everything to the cluster's DNS, which
nobody writes down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter

import numpy as np

from diagnose.arrays import Flags, Ints, begins
from diagnose.behind import Above, Behind, shared
from diagnose.rules import Rule, chained, compiled, weakened
from graph_schema.model import Entity, Subgraph
from graph_schema.ontology import ENDS, OTHER, End, Ontology

MOST_PARTS = 50
"""Of more parts than this, only the parts of the first are looked at."""
MOST_TAKEN = 400
"""Of more effects of one kind than this, only the first are looked at."""

PARTS_OF_RELATION = attrgetter("source"), attrgetter("target"), attrgetter("kind")

Others = dict[str, list[str]]
"""Kind of relation → the entities at its other end."""


class Compiled(dict[str, Rule | None]):
    """Kind of relation → what comes from this end of it; None where nothing does."""

    def __init__(self, ontology: Ontology, end: End) -> None:
        super().__init__()
        self._ontology, self._end = ontology, end

    def __missing__(self, kind: str) -> Rule | None:
        relation = self._ontology.relation(kind)
        found = self[kind] = compiled(relation, self._end) if self._end in relation.carries else None
        return found


class _Spans:
    """Relations by number, and where those of each entity begin that have it at one end."""

    def __init__(self, relations: Ints, end: int, many: int) -> None:
        self._others: list[int] = relations[:, 1 - end].tolist()
        self._kinds: list[int] = relations[:, 2].tolist()
        self._begins: list[int] = np.searchsorted(relations[:, end], np.arange(many + 1)).tolist()

    def of(self, number: int | None) -> Iterable[tuple[int, int]]:
        """(the other end, kind) of each."""
        if number is None:
            return ()
        part = slice(self._begins[number], self._begins[number + 1])
        return zip(self._others[part], self._kinds[part], strict=True)


def _ordered(relations: Ints, by: Sequence[int]) -> Ints:
    """Each row once, in order of these columns: sorted as one number each, which is many times as fast."""
    sizes = [1 + int(relations[:, column].max(initial=0)) for column in by]
    whole = np.zeros(len(relations), int)
    for column, size in zip(by, sizes, strict=True):
        whole = whole * size + relations[:, column]
    whole.sort()
    whole = whole[begins(whole)]
    found = np.empty((len(whole), len(by)), int)
    for column, size in reversed(list(zip(by, sizes, strict=True))):
        whole, found[:, column] = np.divmod(whole, size)
    return found


class Wiring:
    """Who is joined to whom by the relations of a piece of the graph, and by the steps that are derived from them."""

    def __init__(self, piece: Subgraph, ontology: Ontology) -> None:
        self._ontology, self._entities = ontology, piece.entities
        sources, targets, kinds = (list(map(part, piece.relations)) for part in PARTS_OF_RELATION)
        self.entities = sorted({*sources, *targets, *piece.entities})
        """Everything that is there or has a relation, in order."""
        self.number = {name: number for number, name in enumerate(self.entities)}
        self.kinds = sorted({*kinds})
        """Kinds of relation, in order."""
        places = {kind: place for place, kind in enumerate(self.kinds)}
        columns = [
            np.fromiter(map(numbers.__getitem__, names), int, len(names))
            for numbers, names in ((self.number, sources), (self.number, targets), (places, kinds))
        ]
        given = np.column_stack(columns)
        self.relations = _ordered(given[given[:, 0] != given[:, 1]], (0, 2, 1))
        """(source, target, kind) by number, each once, in order of source, kind and target."""
        self._leaving = _Spans(self.relations, 0, len(self.entities))
        self._coming = _Spans(_ordered(self.relations, (1, 0, 2)), 1, len(self.entities))
        self._out: dict[str, Others] = {}
        self._in: dict[str, Others] = {}
        self._rules = {end: Compiled(ontology, end) for end in ENDS}
        self._made: dict[str, tuple[Rule, Rule]] = {}
        self._chained: dict[str, tuple[Rule, Rule] | None] = {}
        self._fronts: dict[str, bool] = {}
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
        fronting = np.array([self._fronting(kind) for kind in self.kinds], bool)
        names, source = self.entities, self.relations[:, 0]
        return {names[each] for each in source[fronting[self.relations[:, 2]]].tolist()} if len(fronting) else set()

    @property
    def strange(self) -> bool:
        """Whether there are kinds that the ontology does not know."""
        known = self._by_kind.keys() <= self._ontology.entities.keys()
        return not (known and self._ontology.relations.keys() >= set(self.kinds))

    @cached_property
    def _by_kind(self) -> dict[str, list[Entity]]:
        found: dict[str, list[Entity]] = {}
        for each in self._entities.values():
            found.setdefault(each.kind, []).append(each)
        return found

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
        return self._rules[end][kind]

    def resolving(self) -> tuple[int | None, Ints]:
        """(what answers for names in this cluster, all that asks it), by number."""
        return self._resolving

    @cached_property
    def _resolving(self) -> tuple[int | None, Ints]:
        resolver = self._find_resolver()
        asking = [] if resolver is None else [
            self.number[each.id]
            for kind in ("Service", "Ingress")
            for each in self._by_kind.get(kind, ())
            if each.id != resolver and self._ontology.role(each.name) != "DNS"
        ]  # fmt: skip
        return None if resolver is None else self.number[resolver], np.sort(np.array(asking, int))

    @cached_property
    def ready(self) -> Flags:
        """By number, whether it is a pod that is ready by the API's word."""
        found = np.zeros(len(self.entities), bool)
        pods = self._by_kind.get("Pod", ())
        found[[self.number[each.id] for each in pods if each.properties.get("ready") is True]] = True
        return found

    def all_behind(self) -> list[Behind]:
        """Steps to Services from the owners and the nodes of the pods that they select, which each is a share of.

        Where there is but one pod, the relations say the same.
        """
        return [each for each in (each.of_several() for each in self.behind_services) if len(each.service)]

    @cached_property
    def behind_services(self) -> list[Behind]:
        """The same for Services of one pod, too."""
        source, target, kind = self.relations.T
        owning = np.array([self._owns(name, "source") for name in self.kinds], bool)
        above = Above(target, source, owning[kind] if len(kind) else np.zeros(0, bool), len(self.entities))
        running = np.array([name == "RUNS_ON" for name in self.kinds], bool)
        below = Above(source, target, running[kind] if len(kind) else np.zeros(0, bool), len(self.entities))
        found = []
        for number, name in enumerate(self.kinds):
            rule = self.rule("target", name)
            if rule is None or not self._fronting(name):
                continue
            of_kind = np.flatnonzero(kind == number)
            service, pod = source[of_kind], target[of_kind]
            size = np.bincount(service, minlength=len(self.entities))
            owners, nodes = self._made_by(name, rule), self._from_nodes(name, rule)
            found.append(shared(*owners, above.chains(service, pod, 3), size, self.ready, owns=True))
            if nodes is not None:
                found.append(shared(*nodes, below.chains(service, pod, 1), size, self.ready, owns=False))
        return found

    def _made_by(self, kind: str, above: Rule) -> tuple[Rule, Rule]:
        """What comes to a Service from the owners of the pods that it selects: usually, and where all are ready."""
        if kind not in self._made:
            self._made[kind] = above, weakened(above, arriving=False)
        return self._made[kind]

    def _from_nodes(self, kind: str, above: Rule) -> tuple[Rule, Rule] | None:
        """The same from the nodes of these pods; None where nothing does."""
        if kind not in self._chained:
            below = self.rule("target", "RUNS_ON")
            self._chained[kind] = (
                None if below is None
                else (chained(below, above), chained(weakened(below, arriving=True), above))
            )  # fmt: skip
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
        role, by_kind = self._ontology.role, self._by_kind
        workloads = [each for kind in by_kind if self._ontology.workload(kind) for each in by_kind[kind]]
        for found in (
            (each.id for each in by_kind.get("DNS", ())),
            (each.id for each in by_kind.get("Service", ()) if role(each.name) == "DNS"),
            (each.id for each in workloads if role(each.name) == "DNS"),
        ):
            first = min(found, default=None)
            if first is not None:
                return first
        return None
