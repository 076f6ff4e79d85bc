"""The ontology: entity kinds, relation kinds, and which way a fault travels along each. Data, checked when loaded."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from graph_schema.located import Located, read

End = Literal["source", "target"]
ENDS: tuple[End, End] = ("source", "target")
UNKNOWN_AS = "DEPENDS_ON"
"""A relation kind nobody declared is treated as this one."""


class EntityKind(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    workload: bool = False
    """It owns pods: faults of its revision, its load and its size are faults of it."""
    states: frozenset[str] = frozenset()
    """Names of the properties that sense keeps of it."""


class RelationKind(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    strength: dict[End, float]
    """From which ends faults come, and how much of one arrives at the other end, in (0, 1]."""
    only: dict[End, frozenset[str]] = {}
    """The symptoms that arrive from that end; an end that is left out lets all of them through."""


class Ontology(msgspec.Struct, frozen=True, kw_only=True):
    entities: dict[str, EntityKind]
    relations: dict[str, RelationKind]

    def relation(self, kind: str) -> RelationKind:
        """The declared kind, or what unknown ones are treated as."""
        return self.relations.get(kind) or self.relations[UNKNOWN_AS]

    def fault_from(self, kind: str) -> frozenset[str]:
        """The ends of a relation that faults come from."""
        return frozenset(self.relation(kind).strength)

    def workload(self, kind: str) -> bool:
        return kind in self.entities and self.entities[kind].workload


def load_ontology(path: Path | None = None) -> Ontology:
    """The ontology of a file, or the one that comes with KT. Raises `BadKnowledge` with file and line."""
    if path is not None:
        return _ontology(read(path))
    with resources.as_file(resources.files("graph_schema").joinpath("knowledge/ontology.yaml")) as built_in:
        return _ontology(read(built_in, "graph_schema/knowledge/ontology.yaml"))


def _ontology(content: Located) -> Ontology:
    parts = dict(content.items())
    for name, part in parts.items():
        if name not in ("entities", "relations"):
            raise part.error(f"“{name}” is not known here; entities and relations are")
    if "entities" not in parts or "relations" not in parts:
        raise content.error("both entities and relations are needed")
    entities = {name: _entity(name, part) for name, part in parts["entities"].items()}
    relations = {name: _relation(name, part) for name, part in parts["relations"].items()}
    if UNKNOWN_AS not in relations:
        raise parts["relations"].error(f"{UNKNOWN_AS} is needed: unknown relations are treated as it")
    return Ontology(entities=entities, relations=relations)


def _entity(name: str, part: Located) -> EntityKind:
    given = dict(part.items())
    _only_known(given, {"workload", "states"})
    states = frozenset(given["states"].value) if "states" in given else frozenset()
    return EntityKind(
        name=name, workload=bool(given["workload"].value) if "workload" in given else False, states=states
    )


def _relation(name: str, part: Located) -> RelationKind:
    given = dict(part.items())
    _only_known(given, {"fault_from", "strength", "only"})
    if "fault_from" not in given or "strength" not in given:
        raise part.error(f"relation {name} needs fault_from and strength")
    ends = [_end(each) for each in given["fault_from"].each()]
    strength = {_end_named(key, value): _share(value) for key, value in given["strength"].items()}
    if set(strength) != set(ends):
        raise given["strength"].error(f"strength of {name} must be told for exactly its fault_from: {', '.join(ends)}")
    only: dict[End, frozenset[str]] = {}
    for key, value in given["only"].items() if "only" in given else ():
        only[_end_named(key, value)] = frozenset(str(each.value) for each in value.each())
    return RelationKind(name=name, strength=strength, only=only)


def _only_known(given: dict[str, Located], known: set[str]) -> None:
    for key, value in given.items():
        if key not in known:
            raise value.error(f"“{key}” is not known here; {', '.join(sorted(known))} are")


def _end(part: Located) -> End:
    return _end_named(str(part.value), part)


def _end_named(name: str, part: Located) -> End:
    for end in ENDS:
        if name == end:
            return end
    raise part.error(f"“{name}” is not an end of a relation; source and target are")


def _share(part: Located) -> float:
    value = part.value
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise part.error(f"{value} is not a share in (0, 1]")
    return float(value)
