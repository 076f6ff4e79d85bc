"""The catalogue of fault modes: what can be wrong, what it does, how it shows, what helps. Data, checked when loaded.

One file for each kind of thing or technology (`knowledge/faults/*.yaml`); a fault mode is added by adding it to a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from graph_schema.located import BadKnowledge, Located, read
from graph_schema.ontology import Ontology, known, only_known, share

WORKLOAD = "workload"
OTHER = "other"
"""Stands for kinds of thing that no other file knows a fault of."""
FOLDER = "knowledge/faults"
DAY_S = 86_400.0
BROUGHT_ABOUT = 10.0
"""A fault whose odds a change raises this much is mostly brought about by changes,"""
SELDOM_ALONE = 0.05
"""and this share of its cases is not, unless it says otherwise."""


class Probe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question whose answer speaks for or against a fault. `{kind}`, `{namespace}`, `{name}`: the entity's."""

    promql: str = ""
    kubernetes: str = ""
    """What to read; one of the two is given."""
    confirms: str
    """The answer that speaks for the fault, in words."""
    hit: float
    """How surely that answer comes when the fault is there."""
    otherwise: float
    """How often that answer comes when it is not."""

    @property
    def question(self) -> str:
        return self.promql or self.kubernetes


class FaultMode(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    on: frozenset[str]
    """Kinds of entity that can have it."""
    about: str
    prior: float
    """How likely an entity of this kind has it in an incident, before anything is known."""
    symptoms: dict[str, float]
    """Symptom → how surely it is seen on the entity itself (its parts, its face) when the fault is there, in (0, 1]."""
    effects: dict[str, float] = {}
    """Mode → how strongly the entity gets into it; from there it travels as the ontology's relations say."""
    dependants: dict[str, float] = {}
    """Symptom → how surely it is seen on what directly rests on the entity, besides what the effects bring about."""
    onset_s: float = 0.0
    """Usual time from the fault to its first symptom, in seconds."""
    sure: frozenset[str] = frozenset()
    """Symptoms that hardly anything else brings about on this very entity."""
    states: dict[str, Any] = {}
    """Properties of the entity that speak for the fault when they have this value, or one of these values."""
    proof: frozenset[str] = frozenset()
    """Those of the states that hardly anything else brings about."""
    late: frozenset[str] = frozenset()
    """Those of the states that come late, or not at all: that it is not so says little."""
    changes: dict[str, float] = {}
    """Kind of change → factor on the odds right after it."""
    unprompted: float | None = None
    """Share of its cases that no change of the entity brings about; None: few if changes raise its odds much."""
    detail: str = ""
    """A regular expression: a change whose detail it is found in counts more, another one with a detail less.
    Where it has the groups `more` and `fewer`, a change whose first number is not larger does not count."""
    probes: tuple[Probe, ...] = ()
    remedies: tuple[str, ...] = ()
    """Playbooks, the first choice first; empty: no safe action is known, and `no_safe_action` says why."""
    no_safe_action: str = ""
    source: str
    """Where the facts come from."""
    file: str = ""
    learned: str = ""
    """What confirmed causes changed about it, in words; never in a file."""

    @property
    def comes_alone(self) -> float:
        """Share of its cases that no change of the entity brings about, in [0, 1]."""
        if self.unprompted is not None:
            return self.unprompted
        return SELDOM_ALONE if max(self.changes.values(), default=0.0) >= BROUGHT_ABOUT else 1.0


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    symptoms: frozenset[str]
    faults: dict[str, FaultMode]

    def on(self, kind: str) -> tuple[FaultMode, ...]:
        """The fault modes that an entity of this kind can have, by name; the general ones for a kind nobody knows."""
        return self._by_kind.get(kind) or self._by_kind.get(OTHER, ())

    def known(self, kind: str) -> bool:
        """Whether this kind has fault modes of its own."""
        return kind in self._by_kind

    @cached_property
    def _by_kind(self) -> dict[str, tuple[FaultMode, ...]]:
        kinds = sorted({kind for fault in self.faults.values() for kind in fault.on})
        return {kind: tuple(fault for fault in self.faults.values() if kind in fault.on) for kind in kinds}


def load_catalogue(path: Path | None = None, *, ontology: Ontology) -> Catalogue:
    """The catalogue of a file or folder, or the one that comes with KT. Raises `BadKnowledge` with file and line."""
    if path is not None:
        files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        return _catalogue((read(file) for file in files), ontology)
    with resources.as_file(resources.files("graph_schema").joinpath(FOLDER)) as built_in:
        names = sorted(file.name for file in built_in.glob("*.yaml"))
        return _catalogue([read(built_in / name, f"graph_schema/{FOLDER}/{name}") for name in names], ontology)


def _catalogue(files: Iterable[Located], ontology: Ontology) -> Catalogue:
    found: dict[str, FaultMode] = {}
    for content in files:
        parts = dict(content.items())
        only_known(parts, ("on", "faults"))
        if "faults" not in parts:
            raise content.error("“faults” is missing")
        usual = _kinds(parts["on"], ontology) if "on" in parts else frozenset()
        for name, part in parts["faults"].items():
            if name in found:
                raise part.error(f"{name} is in {found[name].file} already")
            found[name] = _fault(name, part, usual, ontology)
    return Catalogue(symptoms=frozenset(ontology.symptoms), faults=dict(sorted(found.items())))


def _fault(name: str, part: Located, usual: frozenset[str], ontology: Ontology) -> FaultMode:
    given = dict(part.items())
    only_known(given, [field for field in FaultMode.__struct_fields__ if field not in ("name", "file", "learned")])
    for needed in ("about", "prior", "symptoms", "effects", "probes", "source"):
        if needed not in given:
            raise part.error(f"{name} has no “{needed}”")
    for table, names, what in (
        ("symptoms", ontology.symptoms, "symptom"),
        ("dependants", ontology.symptoms, "symptom"),
        ("effects", ontology.modes, "mode"),
    ):
        for key, where in given[table].items() if table in given else ():
            known(key, names, where, what)
            share(where)
    for each in given["sure"].each() if "sure" in given else ():
        known(str(each.value), ontology.symptoms, each, "symptom")
    for each in (one for list_ in ("proof", "late") if list_ in given for one in given[list_].each()):
        known(str(each.value), given["states"].value if "states" in given else {}, each, "state of the fault")
    on = _kinds(given["on"], ontology) if "on" in given else usual
    if not on:
        raise part.error(f"{name} is on nothing: “on” is missing, in it and at the top of the file")
    if ("remedies" in given) == ("no_safe_action" in given):
        raise part.error(f"{name} needs either “remedies” or “no_safe_action”, which says why there is none")
    values: dict[str, Any] = {key: value.value for key, value in given.items()}
    values |= {"name": name, "on": sorted(on), "file": part.file}
    try:
        fault = msgspec.convert(values, FaultMode)
    except msgspec.ValidationError as error:
        raise part.error(f"{name}: {error}") from error
    try:
        re.compile(fault.detail)
    except re.error as error:
        raise given["detail"].error(f"“{fault.detail}” is no regular expression: {error}") from error
    _probes(fault, given["probes"])
    if fault.unprompted is not None and not 0 <= fault.unprompted <= 1:
        raise given["unprompted"].error(f"{fault.unprompted} is not a share in [0, 1]")
    if not 0 < fault.prior < 1:
        raise given["prior"].error(f"{fault.prior} is not a probability in (0, 1)")
    return fault


def _probes(fault: FaultMode, part: Located) -> None:
    if not fault.probes:
        raise part.error(f"{fault.name} has no probe: what would confirm or refute it?")
    for probe, where in zip(fault.probes, part.each(), strict=True):
        if bool(probe.promql) == bool(probe.kubernetes):
            raise where.error("a probe asks either “promql” or “kubernetes”")
        if not 0 < probe.otherwise < probe.hit < 1:
            raise where.error("0 < otherwise < hit < 1 must hold, or the answer says nothing")


def _kinds(part: Located, ontology: Ontology) -> frozenset[str]:
    kinds: set[str] = set()
    for each in part.each():
        if each.value == WORKLOAD:
            kinds |= {kind for kind in ontology.entities if ontology.workload(kind)}
        elif each.value == OTHER:
            kinds.add(OTHER)
        else:
            kinds.add(known(str(each.value), ontology.entities, each, "entity kind"))
    return frozenset(kinds)


__all__ = ["BadKnowledge", "Catalogue", "FaultMode", "Probe", "load_catalogue"]
