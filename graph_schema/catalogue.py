"""The catalogue of fault modes: what can be wrong, how it shows, what helps. Data, checked when loaded."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from graph_schema.located import Located, read
from graph_schema.ontology import Ontology

WORKLOAD = "workload"
FILE = "knowledge/faults.yaml"


class FaultMode(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    on: frozenset[str]
    """Kinds of entity that can have it."""
    about: str
    prior: float
    """How likely an entity of this kind has it in an incident, before anything is known."""
    symptoms: dict[str, float]
    """Symptom → how surely it is seen when the fault is there, in (0, 1]."""
    sure: frozenset[str] = frozenset()
    """Symptoms that hardly anything else brings about on this very entity."""
    states: dict[str, Any] = {}
    """Properties of the entity that speak for the fault when they have this value."""
    changes: dict[str, float] = {}
    """Kind of change → factor on the odds right after it."""
    remedies: tuple[str, ...] = ()
    """Playbooks, the first choice first; empty: no safe action is known."""


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    symptoms: frozenset[str]
    faults: dict[str, FaultMode]

    def on(self, kind: str) -> tuple[FaultMode, ...]:
        """The fault modes that an entity of this kind can have, by name."""
        return tuple(fault for fault in self.faults.values() if kind in fault.on)


def load_catalogue(path: Path | None = None, *, ontology: Ontology) -> Catalogue:
    """The catalogue of a file, or the one that comes with KT. Raises `BadKnowledge` with file and line."""
    if path is not None:
        return _catalogue(read(path), ontology)
    with resources.as_file(resources.files("graph_schema").joinpath(FILE)) as built_in:
        return _catalogue(read(built_in, f"graph_schema/{FILE}"), ontology)


def _catalogue(content: Located, ontology: Ontology) -> Catalogue:
    parts = dict(content.items())
    if set(parts) != {"symptoms", "faults"}:
        raise content.error("exactly symptoms and faults are expected")
    symptoms = frozenset(str(each.value) for each in parts["symptoms"].each())
    faults = {name: _fault(name, part, symptoms, ontology) for name, part in sorted(parts["faults"].items())}
    return Catalogue(symptoms=symptoms, faults=faults)


def _fault(name: str, part: Located, symptoms: frozenset[str], ontology: Ontology) -> FaultMode:
    given = dict(part.items())
    for key, value in given.items():
        if key not in FaultMode.__struct_fields__ or key == "name":
            raise value.error(f"“{key}” is not known in a fault mode")
    for needed in ("on", "about", "prior", "symptoms"):
        if needed not in given:
            raise part.error(f"{name} has no “{needed}”")
    for symptom, where in given["symptoms"].items():
        _known(symptom, symptoms, where, "symptom")
    for each in given["sure"].each() if "sure" in given else ():
        _known(str(each.value), symptoms, each, "symptom")
    values: dict[str, Any] = {key: value.value for key, value in given.items()}
    values["on"] = _kinds(given["on"], ontology)
    try:
        return msgspec.convert({"name": name, **values}, FaultMode)
    except msgspec.ValidationError as error:
        raise part.error(f"{name}: {error}") from error


def _kinds(part: Located, ontology: Ontology) -> list[str]:
    kinds: set[str] = set()
    for each in part.each():
        if each.value == WORKLOAD:
            kinds |= {kind for kind in ontology.entities if ontology.workload(kind)}
        else:
            kinds.add(_known(str(each.value), frozenset(ontology.entities), each, "entity kind"))
    return sorted(kinds)


def _known(name: str, names: frozenset[str], where: Located, what: str) -> str:
    if name not in names:
        raise where.error(f"“{name}” is no {what} of the schema")
    return name
