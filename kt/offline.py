"""Evidence out of files, brought together for one diagnosis: what `kt diagnose` and the benchmarks use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diagnose import diagnose
from diagnose.arising import refine
from diagnose.asides import alerts_first
from diagnose.attribution import CALLS, FAULTS, WORDS, Shares, attribute, deserted, unavailable, without_catalogue
from diagnose.demand import with_demand
from diagnose.engine import consider
from diagnose.explain import why_not
from diagnose.proven import proven
from diagnose.renewed import renewed
from graph_schema.catalogue import Catalogue
from graph_schema.model import Burden, Diagnosis, Entity, Relation, Signal, Subgraph
from graph_schema.ontology import Ontology
from sense import rules
from sense.files import moment
from sense.mapping import LabelMapping, Lookup

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
    logs: Path | None = None
    traces: Path | None = None
    rules: Path | None = None
    at: float | None = None
    """The onset in seconds since 1970, if it is known."""


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    piece: Subgraph
    """The topology, completed by what only the evidence knows."""
    alerts: tuple[Signal, ...]
    """Among the signals: what alerted, by Alertmanager or by the rules' own word."""
    signals: tuple[Signal, ...]
    watched: frozenset[str] | None = None
    """Symptoms that healthy alert rules watch for; None: not known."""
    burdens: tuple[Burden, ...] = ()
    onset: float | None = None
    warnings: tuple[str, ...] = ()


def gather(files: Files, piece: Subgraph, alerts: Sequence[Signal], mapping: LabelMapping, lookup: Lookup) -> Gathered:
    """Signals of every kind, on entities of the topology or new ones. Raises `BadFile` and `BadRules`.

    `lookup` finds entities of the topology for the alerts that the rules tell of.
    """
    watched = None
    if files.rules:
        told = rules.read(files.rules)
        watched = frozenset(mapping.meaning(each.name, each.labels).symptom for each in told if each.healthy)
        known = [each.labels for each in alerts]
        firing = [alert for each in told for alert in each.firing if alert.labels not in known]
        alerts = [*alerts, *mapping.signals(firing, lookup)]
    names = Names(piece)
    sure = [each for each in alerts if each.firing and each.mapped]
    measured = _measured(files, names, sure) if files.metrics or files.traces or files.logs else None
    found = measured.signals if measured else []
    return Gathered(
        piece=names.completed(),
        alerts=tuple(alerts),
        signals=(*alerts, *_news(found, {(each.entity, each.symptom) for each in sure})),
        watched=watched,
        burdens=measured.burdens if measured else (),
        onset=measured.onset if measured else files.at,
        warnings=names.warnings(bool(piece.entities)),
    )


class _Measured(msgspec.Struct, frozen=True):
    onset: float | None
    signals: list[Signal]
    burdens: tuple[Burden, ...]


def _measured(files: Files, names: Names, alerts: Sequence[Signal]) -> _Measured:
    """What metrics, traces and logs say about one onset, that they find together."""
    from sense import logs
    from sense.metrics import reading, traces
    from sense.metrics.counts import as_table
    from sense.metrics.evidence import AS_GIVEN, look, onset_in
    from sense.metrics.onset import Onset
    from sense.metrics.rules import MetricRules

    meanings, log_rules = MetricRules.load(), logs.LogRules.load()
    table = names.rename(reading.read(files.metrics)) if files.metrics else {}
    quiet = names.rename(reading.read(files.quiet)) if files.quiet else {}
    seen = traces.read(files.traces) if files.traces else traces.Traces({}, {})
    traced = names.rename(seen.table)
    for caller, callee in seen.calls:
        names.call(caller, callee)
    written = logs.read(files.logs, log_rules) if files.logs else logs.Logs({}, {})
    onset = Onset(at=files.at) if files.at is not None else None
    if onset is None:
        alerted = {(each.entity, each.symptom) for each in alerts}
        first = min((each.starts_at.timestamp() for each in alerts), default=None)
        together = [each for each in (table, traced, names.rename(as_table(written))) if each]
        onset = onset_in(together, quiet, meanings, alerted=alerted, alerted_at=first)
    if onset is None:
        return _Measured(None, [], ())
    by_metrics = look(table, quiet, meanings, at=onset)
    by_traces = look(traced, {}, meanings, at=onset, source="trace")
    lines = logs.templates(written, onset.at, before_s=AS_GIVEN.before_s, after_s=AS_GIVEN.after_s)
    told = [msgspec.structs.replace(each, entity=names.id(each.entity)) for each in logs.signals(lines, log_rules)]
    # Amounts of different sources have different units: the source that knows more entities keeps the balance.
    burdens = max(by_metrics.burdens, by_traces.burdens, key=len)
    return _Measured(onset.at, [*by_metrics.signals, *by_traces.signals, *told], burdens)


def _news(signals: Iterable[Signal], known: Iterable[tuple[str, str]]) -> list[Signal]:
    """The surest of each symptom in one place, unless an alert says it already: seen twice it is still one symptom."""
    said = set(known)
    best: dict[tuple[str, str], Signal] = {}
    for each in sorted(signals, key=lambda signal: (-signal.confidence, signal.source, signal.fingerprint)):
        if (each.entity, each.symptom) not in said:
            best.setdefault((each.entity, each.symptom), each)
    return sorted(best.values(), key=lambda each: each.fingerprint)


def judge(gathered: Gathered, catalogue: Catalogue, ontology: Ontology, *, now: datetime) -> Diagnosis:
    """The diagnosis of what was gathered, refined by where waiting and failing arise."""
    answer = diagnose(
        _in_demand(gathered), gathered.signals, catalogue, ontology, now=now, rules=gathered.watched,
        proven=_proven(gathered),
    )  # fmt: skip
    answer = msgspec.structs.replace(answer, warnings=(*gathered.warnings, *answer.warnings))
    alerts = frozenset(each.fingerprint for each in gathered.alerts)
    if not gathered.burdens:
        return alerts_first(answer, alerts)
    if not answer.hypotheses:
        alone = without_catalogue(gathered.burdens, gathered.piece.relations, _showing(gathered))
        hypotheses, causes = alone.hypotheses, alone.causes
        named = msgspec.structs.replace(answer, hypotheses=hypotheses, causes=causes, enough=bool(causes))
        return _accounted(named, gathered)
    answer = _accounted(refine(answer, _shares(gathered), gathered.piece, catalogue, ontology), gathered)
    return alerts_first(answer, alerts)


def reasons(entity: str, gathered: Gathered, catalogue: Catalogue, ontology: Ontology, *, now: datetime) -> list[str]:
    """Why this entity is not named as a cause, or that it is."""
    found = consider(
        _in_demand(gathered), gathered.signals, catalogue, ontology, now=now, rules=gathered.watched,
        proven=_proven(gathered),
    )  # fmt: skip
    by_graph = why_not(entity, found, catalogue, ontology)
    answer = judge(gathered, catalogue, ontology, now=now) if gathered.burdens else None
    if answer is None or not answer.hypotheses or entity not in found.piece.entities:
        return by_graph
    for each in answer.selected():
        if each.entity == entity:
            return [f"{entity} is named as a cause: {each.fault} ({each.probability:.0%})."]
    first = answer.hypotheses[0]
    lines = [
        f"{entity} is number {place}: {each.fault} ({each.probability:.1%}); "
        f"number 1 is {first.fault} of {first.entity} ({first.probability:.1%})."
        for place, each in enumerate(answer.hypotheses, 1)
        if each.entity == entity
    ] or [f"{entity} is not in the ranking; number 1 is {first.fault} of {first.entity} ({first.probability:.1%})."]
    shares = _shares(gathered)
    for symptom, word in WORDS.items():
        if (entity, symptom) in shares:
            lines.append(f"{shares[entity, symptom][0]:.0%} of the {word} arises there.")
    if not any(who == entity for who, _ in shares):
        lines.append("None of the waiting and failing arises there.")
    return [*lines, *(f"By symptoms and graph alone: {line}" for line in by_graph)]


def _in_demand(gathered: Gathered) -> Subgraph:
    return with_demand(gathered.piece, gathered.burdens, _onset(gathered))


def _proven(gathered: Gathered) -> dict[str, datetime]:
    return proven(gathered.piece, gathered.burdens, _onset(gathered))


def _onset(gathered: Gathered) -> datetime | None:
    return None if gathered.onset is None else moment(gathered.onset)


def _shares(gathered: Gathered) -> Shares:
    piece = gathered.piece
    troubled = unavailable(piece.relations, piece.entities, gathered.signals)
    onset = _onset(gathered)
    if onset is not None:
        troubled |= renewed(piece, gathered.burdens, onset).keys()
    return attribute(gathered.burdens, piece.relations, _showing(gathered), troubled, deserted(piece.entities))


def _showing(gathered: Gathered) -> set[tuple[str, str]]:
    return {(each.entity, each.symptom) for each in gathered.alerts if each.firing and each.mapped}


def _accounted(answer: Diagnosis, gathered: Gathered) -> Diagnosis:
    """The signals that a cause by balance accounts for: the same symptom on it and on whoever calls it, however far."""
    callers: dict[str, set[str]] = {}
    for relation in gathered.piece.relations:
        if relation.kind in CALLS:
            callers.setdefault(relation.target, set()).add(relation.source)
    hypotheses = list(answer.hypotheses)
    explained: set[str] = set()
    for number in answer.causes:
        cause = hypotheses[number]
        if cause.fault not in FAULTS.values():
            continue
        suffering, front = {cause.entity}, [cause.entity]
        while front:
            front = sorted({each for entity in front for each in callers.get(entity, ())} - suffering)
            suffering.update(front)
        own = tuple(
            each.fingerprint
            for each in gathered.signals
            if each.entity in suffering and FAULTS.get(each.symptom) == cause.fault
        )
        hypotheses[number] = msgspec.structs.replace(cause, explains=own)
        explained.update(own)
    left = tuple(each for each in answer.unexplained if each not in explained)
    return msgspec.structs.replace(answer, hypotheses=tuple(hypotheses), unexplained=left)


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
