"""What a run of chaos teaches: what it disturbed, which symptoms it raised where, and how late. Each run teaches once.

Only a run that tells one cause apart does: it names the fault mode that it repeats (as `kt chaos templates` writes it)
and one target, it was no dry run, an action of it succeeded, and no other run was on when its alerts came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from diagnose import untold
from diagnose.propagation import face, increments, raised
from diagnose.wiring import Wiring
from graph_schema.catalogue import Catalogue
from graph_schema.model import Entity, Relation, Signal, Subgraph
from graph_schema.ontology import Ontology
from graph_schema.store import GraphStore
from kt.chaos.model import Run
from kt.chaos.store import ChaosStore
from kt.incident.basis import BadBasis, unpack
from kt.incident.events import AlertsReceived, Diagnosed
from kt.incident.log import IncidentLog, Record
from kt.incident.state import fold
from kt.learned import MOST_LOOKED_AT, Learned
from verify import plain
from verify.stop_when import extension

NEAR = 8
"""Hops around what was disturbed and what felt it: a long chain of calls, or Service → pod → ReplicaSet → workload."""
TAUGHT_BY = frozenset({"held", "regressed", "inconclusive", "aborted"})


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """What the incidents tell that were opened while a run was on."""

    signals: tuple[Signal, ...]
    piece: Subgraph


def take_in_runs(
    runs: Iterable[Run],
    chaos: ChaosStore,
    log: IncidentLog,
    learned: Learned,
    catalogue: Catalogue,
    ontology: Ontology,
    graph: GraphStore,
    *,
    now: datetime,
    aftermath_s: float,
) -> int:
    """Learn from those of the runs whose aftermath is over and that nobody learned from; how many taught something."""
    over = now - timedelta(seconds=aftermath_s)
    ended = {_claim(run): run for run in runs if run.started_at is not None and run.ended_at and run.ended_at <= over}
    known = learned.claimed(sorted(ended))
    fresh = {claim: run for claim, run in ended.items() if claim not in known}
    if not fresh:
        return 0
    logs = _logs(log, min(run.started_at for run in fresh.values() if run.started_at))
    taken = 0
    for claim, run in fresh.items():
        if _undecided(run, logs):
            continue
        seen = lesson(run, chaos.journals(run.id), logs, catalogue, ontology, graph)
        # One that teaches nothing is noted too: it need not be looked at again.
        taken += learned.learn(claim, seen, {}) and bool(seen)
    return taken


def lesson(
    run: Run,
    journals: Mapping[str, Mapping[str, object]],
    logs: Collection[Sequence[Record]],
    catalogue: Catalogue,
    ontology: Ontology,
    graph: GraphStore,
) -> dict[str, int]:
    """The counts that a run adds; none when it does not tell one cause apart.

    What its incidents looked at is completed by what the graph has around its target and around what was raised: where
    a call is missing, no incident looked at what was disturbed.
    """
    fault = extension(plain.parse(run.what.plain), "").fault
    if fault not in catalogue.faults or len(run.targets) != 1 or run.started_at is None:
        return {}
    if run.what.dry or run.outcome not in TAUGHT_BY or not _acted(journals.get("run", {})):
        return {}
    effects = _effects(run, logs)
    if effects is None:
        return {}
    piece = _completed(effects, _named(run.targets[0], graph), graph)
    wiring = Wiring(piece, ontology)
    target = _target(run.targets[0], piece, ontology)
    if target is None:
        return {}
    at = face(target, wiring, piece, ontology)
    found = raised(effects.signals, piece, ontology, run.started_at)
    return increments(fault, at, found) | untold.increments(catalogue.faults[fault], at, found, piece, ontology)


def _claim(run: Run) -> str:
    return f"{run.id}:chaos"


def _logs(log: IncidentLog, since: datetime) -> list[list[Record]]:
    """The logs of incidents that moved since then."""
    found = [each for each in log.entries(limit=MOST_LOOKED_AT) if each.updated_at >= since]
    return [log.load(each.incident) for each in found]


def _during(run: Run, records: Sequence[Record]) -> list[AlertsReceived]:
    events = [record.event for record in records if isinstance(record.event, AlertsReceived)]
    return [each for each in events if run.id in each.chaos_runs]


def _undecided(run: Run, logs: Collection[Sequence[Record]]) -> bool:
    """Whether an incident of the run is not diagnosed yet."""
    theirs = [records for records in logs if _during(run, records)]
    return any(fold(records[0].incident, [record.event for record in records]).phase == "new" for records in theirs)


def _effects(run: Run, logs: Collection[Sequence[Record]]) -> Effects | None:
    """None when another run was on as well."""
    signals: list[Signal] = []
    entities: dict[str, Entity] = {}
    relations: dict[Relation, None] = {}
    for records in logs:
        events = _during(run, records)
        if any(each.chaos_runs != (run.id,) for each in events):
            return None
        signals += [signal for each in events for signal in each.signals if signal.firing and signal.source != "chaos"]
        if not events:
            continue
        for record in records:
            if isinstance(record.event, Diagnosed) and record.event.basis:
                try:
                    basis = unpack(record.event.basis)
                except BadBasis:
                    continue
                entities |= basis.piece.entities
                relations |= dict.fromkeys(basis.piece.relations)
                signals += basis.beside
    return Effects(signals=tuple(signals), piece=Subgraph(entities, tuple(relations)))


def _named(target: str, graph: GraphStore) -> list[str]:
    namespace, _, name = target.partition("/")
    return [each.id for each in graph.find(namespace=namespace, name=name)]


def _completed(effects: Effects, targets: list[str], graph: GraphStore) -> Subgraph:
    seeds = [*targets, *(signal.entity for signal in effects.signals)] if effects.signals else []
    near = graph.neighbourhood(seeds, hops=NEAR) if seeds else Subgraph({}, ())
    relations = dict.fromkeys((*effects.piece.relations, *near.relations))
    return Subgraph({**near.entities, **effects.piece.entities}, tuple(relations))


def _target(target: str, piece: Subgraph, ontology: Ontology) -> str | None:
    """The Service or workload that `namespace/name` means."""
    namespace, _, name = target.partition("/")
    found = [each for each in piece.entities.values() if (each.namespace, each.name) == (namespace, name)]
    services = [each.id for each in found if each.kind == "Service"]
    return next(iter([*services, *sorted(each.id for each in found if ontology.workload(each.kind))]), None)


def _acted(journal: Mapping[str, object]) -> bool:
    ran = journal.get("run")
    return isinstance(ran, list) and any(
        each.get("status") == "succeeded" and (each.get("activity") or {}).get("type") == "action" for each in ran
    )
