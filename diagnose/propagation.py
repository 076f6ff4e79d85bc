"""What runs of chaos teach of the ways that sickness takes: disturbing A raised which symptoms on B, how late. Pure.

The ontology says how surely sickness passes a relation of some kind; a run shows it for two things of this cluster,
with who watches them. What a run disturbed and what it raised are counts that only grow (see `diagnose.learning`):

    disturbed|FAULT|A               runs that disturbed A by FAULT and raised something
    raised|FAULT|A|B|SYMPTOM        those of them that raised SYMPTOM on B; SYMPTOM “any”: at least one
    delay|FAULT|A|B|SYMPTOM         seconds from the beginning of the run to the symptom, over these runs

A and B are things that last: the workload for its pods, and for what is disturbed the Service in front of it, since it
is there that others feel it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np

from diagnose.arrays import Floats, Ints
from diagnose.reached import Columns, Reached
from diagnose.rules import OWN, SELF
from diagnose.wiring import Wiring
from graph_schema.catalogue import Catalogue
from graph_schema.model import Evidence, Signal, Subgraph
from graph_schema.ontology import Ontology

ANY = "any"
BELIEF = 3.0
"""How many times that something was raised the ontology weighs as much as; not tuned."""
MOST = 3.0
"""No strength is moved by more than this factor, up or down."""
MOST_SURE = 0.97
PATHS = ("disturbed|", "raised|", "delay|", "call|", "felt|")
SEPARATOR = "|"
PASSING = frozenset({"Pod", "ReplicaSet", "Revision"})
"""Kinds whose things come and go."""


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """A symptom that a run brought about."""

    entity: str
    symptom: str
    after_s: float
    """Seconds from the beginning of the run."""


def lasting(entity: str, wiring: Wiring, piece: Subgraph) -> str:
    """The thing that stands for one that comes and goes: what owns it."""
    seen = {entity}
    while entity in piece.entities and piece.entities[entity].kind in PASSING:
        owners = [each for each in wiring.owners(entity) if each not in seen]
        if not owners:
            break
        entity = min(owners)
        seen.add(entity)
    return entity


def face(entity: str, wiring: Wiring, piece: Subgraph, ontology: Ontology) -> str:
    """Where others feel what is the matter with a thing: the only Service in front of it, or of those that it serves.

    The thing itself where there is none, or more than one.
    """
    known = piece.entities.get(entity)
    if known is None or known.kind in ("Service", "Pod"):
        return entity
    if ontology.workload(known.kind):
        faces = wiring.faces(entity)
        return faces[0] if len(faces) == 1 else entity
    if known.kind in ("Node", "Zone", "Namespace"):
        return entity
    near = wiring.effects(entity)
    found = {each for other in near for each in ([other] if _is(other, "Service", piece) else wiring.faces(other))}
    found |= {
        each
        for other in near
        if _is(other, "Pod", piece)
        for each in wiring.effects(other)
        if _is(each, "Service", piece)
    }
    return next(iter(found)) if len(found) == 1 else entity


def _is(entity: str, kind: str, piece: Subgraph) -> bool:
    return entity in piece.entities and piece.entities[entity].kind == kind


def raised(signals: Iterable[Signal], piece: Subgraph, ontology: Ontology, began: datetime) -> list[Raised]:
    """What fires on known things since a run began; of one symptom of one thing the first."""
    wiring = Wiring(piece, ontology)
    first: dict[tuple[str, str], float] = {}
    for signal in signals:
        after = (signal.starts_at - began).total_seconds()
        if signal.mapped and signal.entity in piece.entities and after >= 0:
            key = lasting(signal.entity, wiring, piece), signal.symptom
            first[key] = min(after, first.get(key, after))
    return [Raised(entity=key[0], symptom=key[1], after_s=after) for key, after in sorted(first.items())]


def increments(fault: str, entity: str, found: Iterable[Raised]) -> dict[str, int]:
    """What a run adds that disturbed `entity` (as `face` gives it); nothing when it raised nothing.

    A run that nobody saw may have been too short or too weak, so that it says nothing of who would have felt it.
    """
    counts: dict[str, int] = defaultdict(int)
    for each in found:
        counts[count_key("raised", fault, entity, each.entity, each.symptom)] = 1
        counts[count_key("raised", fault, entity, each.entity, ANY)] = 1
        counts[count_key("delay", fault, entity, each.entity, each.symptom)] = round(each.after_s)
    if counts:
        counts[count_key("disturbed", fault, entity)] = 1
    return dict(counts)


def count_key(*parts: str) -> str:
    """The name of a count: what it counts, the fault mode, and the things."""
    return SEPARATOR.join(part.replace(SEPARATOR, "/") for part in parts)


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of one way, for a person."""

    fault: str
    disturbed: str
    entity: str
    symptom: str
    runs: int
    raised: int
    after_s: float
    """Mean seconds from the beginning of the run."""

    @property
    def key(self) -> str:
        """Of the count of runs."""
        return count_key("disturbed", self.fault, self.disturbed)


def paths(known: Mapping[str, int]) -> list[Path]:
    """By fault and by what was disturbed, the surest ways first."""
    found = []
    for key, count in known.items():
        what, *parts = key.split(SEPARATOR)
        if what == "raised" and len(parts) == 4 and parts[3] != ANY:
            fault, disturbed, entity, symptom = parts
            runs = max(count, known.get(count_key("disturbed", fault, disturbed), 0))
            after_s = known.get(count_key("delay", *parts), 0) / count
            found.append(
                Path(
                    fault=fault, disturbed=disturbed, entity=entity, symptom=symptom,
                    runs=runs, raised=count, after_s=after_s,
                )
            )  # fmt: skip
    return sorted(found, key=lambda each: (each.fault, each.disturbed, -each.raised, each.entity, each.symptom))


class Strengths:
    """How often sickness of one thing showed on another, as runs have shown it. Empty when nothing is known."""

    def __init__(self, known: Mapping[str, int], catalogue: Catalogue) -> None:
        self._runs: dict[str, dict[str, int]] = defaultdict(dict)
        self._raised: dict[tuple[str, str, str], int] = defaultdict(int)
        for key, count in known.items():
            what, fault, *rest = key.split(SEPARATOR)
            if fault not in catalogue.faults:
                continue
            if what == "disturbed" and len(rest) == 1:
                self._runs[rest[0]][fault] = count
            elif what == "raised" and len(rest) == 3:
                self._raised[rest[0], rest[1], rest[2]] += count
        self._effects = {name: fault.effects for name, fault in catalogue.faults.items()}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def runs(self, entity: str) -> int:
        """How many runs have disturbed it."""
        return sum(self._runs.get(entity, {}).values())

    def raised(self, entity: str, other: str, symptom: str) -> int:
        """How many of them raised this symptom on the other one."""
        return self._raised.get((entity, other, symptom), 0)

    def expected(self, entity: str, ways: Mapping[str, float]) -> float:
        """How many of them should have, by the ontology. `ways`: mode of the entity → how strongly it shows there."""
        return sum(
            count * max((ways.get(mode, 0.0) * share for mode, share in self._effects[fault].items()), default=0.0)
            for fault, count in self._runs.get(entity, {}).items()
        )


class Shown:
    """`Strengths` for one incident: by how much more, or less, than the ontology says a thing shows on what is sick.

    Of an entity A and a symptom on B, with h of the runs having raised it and e being expected to, the factor on the
    strength is (K + h) / (K + r·e): the mean of a Gamma distribution over the rate of what is raised against what is
    expected, K being BELIEF (Gelman et al., Bayesian Data Analysis, 2.6). r is that rate over all ways to what is sick
    in this incident, so that things that runs have disturbed are on the whole no likelier causes than others.
    """

    def __init__(
        self, strengths: Strengths, wiring: Wiring, piece: Subgraph, ontology: Ontology, columns: Columns,
        reached: Reached, modes: Sequence[str],
    ) -> None:  # fmt: skip
        self._strengths, self._wiring, self._piece, self._ontology = strengths, wiring, piece, ontology
        self._faces: dict[str, str] = {}
        self._lasting: dict[str, str] = {}
        self._names, self._size = reached.names, len(columns)
        counted: dict[str, dict[int, tuple[int, float]]] = {}
        for row, entity in enumerate(reached.names):
            if not strengths.runs(entity):
                continue
            ways: dict[int, dict[str, float]] = defaultdict(dict)
            for place, unit, mode in reached.of(row):
                ways[unit][modes[mode]] = float(reached.strength[place])
            counted[entity] = {
                unit: (
                    strengths.raised(entity, self._stands_for(columns.units[unit].entity), columns.units[unit].symptom),
                    strengths.expected(entity, by_mode),
                )
                for unit, by_mode in ways.items()
                if by_mode.get(SELF, 0.0) < OWN
            }
        all_of_them = [each for known in counted.values() for each in known.values()]
        rate = (BELIEF + sum(hits for hits, _ in all_of_them)) / (BELIEF + sum(share for _, share in all_of_them))
        self._factors: dict[str, Floats] = {}
        for entity, known in counted.items():
            self._factors[entity] = np.ones(self._size)
            for unit, (hits, expected) in known.items():
                factor = (BELIEF + hits) / (BELIEF + rate * expected)
                self._factors[entity][unit] = min(MOST, max(1 / MOST, factor))

    def disturbed(self, entity: str) -> str:
        """The thing by which runs have disturbed what this one would disturb; empty: none has."""
        if entity not in self._faces:
            at = face(entity, self._wiring, self._piece, self._ontology)
            self._faces[entity] = at if self._strengths.runs(at) else ""
        return self._faces[entity]

    def factors(self, rows: Ints) -> Floats:
        """For each entity (its row in what is reached) and unit the factor on how surely it shows there."""
        found = np.ones((len(rows), self._size))
        for number, row in enumerate(rows.tolist()):
            at = self.disturbed(self._names[row])
            if at in self._factors:
                found[number] = self._factors[at]
        return found

    def heard(self, at: str, other: str, usual: float, trust: float) -> float:
        """How surely it would be heard of when another thing is sick with it: `usual`, or less where runs say so.

        `trust`: what is left of the usual because monitoring itself is sick now; it was not during the runs.
        """
        runs, hits = self._strengths.runs(at), self._strengths.raised(at, self._stands_for(other), ANY)
        return min(usual, (BELIEF * usual + trust * hits) / (BELIEF + runs))

    def words(self, at: str) -> Evidence:
        count = self._strengths.runs(at)
        runs = "1 chaos run that" if count == 1 else f"{count} chaos runs that"
        return Evidence(text=f"learned: {runs} disturbed {at} tell where else it shows", entity=at)

    def _stands_for(self, entity: str) -> str:
        if entity not in self._lasting:
            self._lasting[entity] = lasting(entity, self._wiring, self._piece)
        return self._lasting[entity]


def bent(strengths: Floats, factors: Floats) -> Floats:
    """How surely things show elsewhere, `strengths` being what the ontology says and `factors` what runs have shown."""
    return np.minimum(np.maximum(MOST_SURE, strengths), strengths * factors)


def near(known: Mapping[str, int], entities: Container[str]) -> dict[str, int]:
    """What was learned without the paths from things that are not among these."""
    return {key: count for key, count in known.items() if not is_path(key) or key.split(SEPARATOR)[2] in entities}


def is_path(key: str) -> bool:
    """Whether a count tells of a path, and so names things of this cluster."""
    return key.startswith(PATHS)
