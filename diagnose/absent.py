"""Things that are not in the graph and still may be the cause: what was deleted, and what is named but is not there.

They get a stand-in, joined to what had to do with them: by the relations that ended with them or dangle, else by
their names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set

import msgspec

from graph_schema.model import Change, Entity, Relation, Subgraph
from graph_schema.ontology import Ontology

MAY_USE = "MAY_USE"
"""Joins things of one namespace to a deleted one of which nobody knows who used it."""
USED_BY_WORKLOADS = {
    "ConfigMap": "MOUNTS", "Secret": "MOUNTS", "PersistentVolumeClaim": "MOUNTS", "ServiceAccount": "USES",
}  # fmt: skip
MOST_NEAR = 200


def with_absent(piece: Subgraph, ontology: Ontology, loose: Set[str] | None = None) -> Subgraph:
    """The piece with a stand-in for every absent thing that a change or a relation names; with the same entities where
    nothing is. `loose`: the absent ends of its relations, where they are known already (`Wiring.loose`)."""
    index = _index(piece) if any(change.entity not in piece.entities for change in piece.changes) else {}
    changes = tuple(_resolved(change, piece, index) for change in piece.changes)
    named = {each.entity for each in changes if ontology.change_kind(each.kind) == "delete"}
    there, asked = piece.entities, piece.ended if loose is not None else (*piece.relations, *piece.ended)
    loose = {end for each in asked for end in (each.source, each.target) if end not in there} | (loose or set())
    absent = sorted(loose | (named - there.keys()))
    if not absent:
        return msgspec.structs.replace(piece, changes=changes)
    relations = [*piece.relations, *piece.ended]
    relations += _of_siblings(relations, set(absent), ontology)
    entities = dict(piece.entities)
    for name in absent:
        entities[name] = stand_in(name, ontology)
    for name in absent:
        if name not in loose:
            guessed = _guessed(entities[name], piece.entities, ontology)
            if any(each.kind == MAY_USE for each in guessed):
                properties = {**entities[name].properties, "used_by": "nobody known"}
                entities[name] = msgspec.structs.replace(entities[name], properties=properties)
            relations += guessed
    return Subgraph(entities, tuple(relations), changes)


def _of_siblings(relations: Sequence[Relation], absent: Set[str], ontology: Ontology) -> list[Relation]:
    """What one pod of an owner mounts or uses, its siblings do, too: they are made from one template."""
    owners = {each.target: each.source for each in relations if ontology.relation(each.kind).whole == "source"}
    siblings: dict[str, list[str]] = defaultdict(list)
    for part, owner in owners.items():
        siblings[owner].append(part)
    there = {(each.source, each.target) for each in relations}
    return [
        Relation(sibling, each.target, each.kind)
        for each in relations
        if each.target in absent and each.kind in ("MOUNTS", "USES") and each.source in owners
        for sibling in sorted(siblings[owners[each.source]])
        if (sibling, each.target) not in there
    ]


def stand_in(name: str, ontology: Ontology) -> Entity:
    """What can be read out of an identifier: `Kind/namespace/name`, `kind/name`, `kind:namespace:name`."""
    parts = [part for part in re.split(r"[/:]", name) if part]
    kind = ontology.known_kind(parts[0]) if len(parts) > 1 else None
    return Entity(
        id=name,
        kind=kind or (parts[0] if len(parts) > 1 and parts[0][:1].isupper() else "Unknown"),
        name=parts[-1] if parts else name,
        namespace=parts[1] if len(parts) > 2 else "",
        properties={"exists": False},
    )


Index = Mapping[tuple[str, str, str], str]


def _index(piece: Subgraph) -> Index:
    return {(each.kind.lower(), each.namespace, each.name): each.id for each in piece.entities.values()}


def _resolved(change: Change, piece: Subgraph, index: Index) -> Change:
    """A change that names its entity by another identifier of the form `Kind/namespace/name` is that entity's."""
    if change.entity in piece.entities:
        return change
    parts = [part for part in re.split(r"[/:]", change.entity) if part]
    if len(parts) in (2, 3):
        found = index.get((parts[0].lower(), parts[1] if len(parts) > 2 else "", parts[-1]))
        if found is not None:
            return msgspec.structs.replace(change, entity=found)
    return change


def _guessed(gone: Entity, entities: Mapping[str, Entity], ontology: Ontology) -> list[Relation]:
    """Who used it: workloads whose name is its own begun or ended; else, weakly, everything of its namespace."""
    beside = [
        each
        for each in sorted(entities.values(), key=lambda each: each.id)
        if each.namespace == gone.namespace and (ontology.workload(each.kind) or each.kind == "Service")
    ]
    akin = [each for each in beside if _akin(gone.name, each.name)]
    kind = USED_BY_WORKLOADS.get(gone.kind)
    if kind and any(ontology.workload(each.kind) for each in akin):
        return [Relation(each.id, gone.id, kind) for each in akin if ontology.workload(each.kind)]
    if ontology.workload(gone.kind):
        # Its revisions and pods may be there still; its Service mostly is.
        left = [
            each.id
            for each in sorted(entities.values(), key=lambda each: each.id)
            if each.namespace == gone.namespace
            and each.kind in ("ReplicaSet", "Pod")
            and each.name.startswith(f"{gone.name}-")
        ]
        owned = [each for each in left if entities[each].kind == "ReplicaSet"] or left
        faces = [each.id for each in akin if each.kind == "Service"]
        if owned or faces:
            return [Relation(gone.id, each, "OWNS") for each in owned] + [
                Relation(each, gone.id, "SELECTS") for each in faces
            ]
    if gone.kind not in ("Service", "Namespace", "NetworkPolicy", "MeshPolicy") and akin:
        # What is named like them is mostly theirs.
        return [Relation(each.id, gone.id, "DEPENDS_ON") for each in akin]
    found = [Relation(each.id, gone.id, MAY_USE) for each in beside[:MOST_NEAR]]
    if gone.kind == "Service":
        found += [Relation(gone.id, each.id, "SELECTS") for each in akin if ontology.workload(each.kind)]
    return found


def _akin(one: str, other: str) -> bool:
    """cart-config, cart → akin; cart, cartoon → not."""
    short, long = sorted((one.lower(), other.lower()), key=len)
    return long == short or long.startswith((f"{short}-", f"{short}.")) or long.endswith(f"-{short}")
