"""Evidence out of files, brought together for one diagnosis: what `kt diagnose` and the benchmarks use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diagnose.arising import refine
from diagnose.attribution import attribute, without_catalogue
from graph_schema.model import Burden, Diagnosis, Entity, Relation, Signal, Subgraph
from graph_schema.ontology import Ontology

if TYPE_CHECKING:  # numpy is slow to import, and many diagnoses need none of it
    from sense.metrics.series import Table

STANDS_FOR = ("Service", "Deployment", "StatefulSet", "DaemonSet", "Job", "Pod", "Node")
"""Which kind is meant when several things bear the name in a file."""
UNDECLARED = "Service"
MOST_TOLD = 5


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """What a person hands in beside topology, alerts and changes; each may be missing."""

    metrics: Path | None = None
    quiet: Path | None = None
    at: float | None = None
    """The onset in seconds since 1970, if it is known."""


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    piece: Subgraph
    """The topology, completed by what only the evidence knows."""
    signals: tuple[Signal, ...]
    burdens: tuple[Burden, ...] = ()
    onset: float | None = None
    warnings: tuple[str, ...] = ()


def gather(files: Files, piece: Subgraph, alerts: Sequence[Signal]) -> Gathered:
    """Signals of every kind, on entities of the topology or new ones. Raises `BadFile`."""
    if files.metrics is None:
        return Gathered(piece=piece, signals=tuple(alerts), onset=files.at)
    from sense.metrics.evidence import look
    from sense.metrics.reading import read
    from sense.metrics.rules import MetricRules

    names = Names(piece)
    table = names.rename(read(files.metrics))
    quiet = names.rename(read(files.quiet)) if files.quiet else {}
    alerted = {(each.entity, each.symptom) for each in alerts if each.firing and each.mapped}
    found = look(
        table,
        quiet,
        MetricRules.load(),
        alerted=alerted,
        alerted_at=min((each.starts_at.timestamp() for each in alerts if each.firing and each.mapped), default=None),
        at=files.at,
    )
    return Gathered(
        piece=names.completed(),
        signals=(*alerts, *_news(found.signals, alerted)),
        burdens=found.burdens,
        onset=found.onset,
        warnings=names.warnings(bool(piece.entities)),
    )


def _news(signals: Iterable[Signal], known: Iterable[tuple[str, str]]) -> list[Signal]:
    """What no alert says already: the same symptom seen twice in one place is one symptom."""
    said = set(known)
    return [each for each in signals if (each.entity, each.symptom) not in said]


def judge(answer: Diagnosis, gathered: Gathered, alerts: Sequence[Signal], ontology: Ontology) -> Diagnosis:
    """The diagnosis of the engine, refined by where waiting and failing arise."""
    warned = msgspec.structs.replace(answer, warnings=(*gathered.warnings, *answer.warnings))
    if not gathered.burdens:
        return warned
    showing = {(each.entity, each.symptom) for each in alerts if each.firing and each.mapped}
    if not answer.hypotheses:
        alone = without_catalogue(gathered.burdens, gathered.piece.relations, showing)
        return msgspec.structs.replace(warned, hypotheses=alone.hypotheses, causes=alone.causes)
    shares = attribute(gathered.burdens, gathered.piece.relations, showing)
    return refine(warned, shares, gathered.piece, ontology)


class Names:
    """From the names in files to entities: by id, else by (namespace and) name, else a new service."""

    def __init__(self, piece: Subgraph) -> None:
        self._piece = piece
        self._by_name: dict[str, dict[str, list[str]]] = {}
        self._new: dict[str, Entity] = {}
        self._calls: set[tuple[str, str]] = set()
        for entity in piece.entities.values():
            for name in {entity.name, f"{entity.namespace}/{entity.name}"}:
                self._by_name.setdefault(name, {}).setdefault(entity.kind, []).append(entity.id)

    def id(self, name: str) -> str:
        """The entity that a file means; one that the topology lacks is added."""
        if name in self._piece.entities or name in self._new:
            return name
        bearing = self._by_name.get(name, {})
        for kind in sorted(bearing, key=lambda each: (_rank(each), each)):
            if len(bearing[kind]) == 1:
                return bearing[kind][0]
            break
        namespace, _, short = name.rpartition("/")
        self._new[name] = Entity(id=name, kind=UNDECLARED, name=short or name, namespace=namespace)
        return name

    def rename(self, table: Table) -> Table:
        """The same series under the ids of the entities."""
        renamed: Table = {}
        for name, metrics in table.items():
            renamed.setdefault(self.id(name), {}).update(metrics)
        return renamed

    def call(self, caller: str, callee: str) -> None:
        """A call that was seen, by names in a file."""
        self._calls.add((self.id(caller), self.id(callee)))

    def completed(self) -> Subgraph:
        """The topology with what was missing in it."""
        known = {(each.source, each.target) for each in self._piece.relations if each.kind == "CALLS"}
        seen = [Relation(*each, "CALLS") for each in sorted(self._calls - known)]
        entities = {**self._piece.entities, **self._new}
        return msgspec.structs.replace(self._piece, entities=entities, relations=(*self._piece.relations, *seen))

    def warnings(self, topology_given: bool) -> tuple[str, ...]:
        if not topology_given or not self._new:
            return ()
        names = sorted(self._new)
        told = ", ".join(names[:MOST_TOLD]) + (f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else "")
        return (f"not in the topology, or not by one name: {told}; counted as services of their own",)


def _rank(kind: str) -> int:
    return STANDS_FOR.index(kind) if kind in STANDS_FOR else len(STANDS_FOR)
