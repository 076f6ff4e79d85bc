"""Recorded diagnoses made again by another catalogue, ontology or version of KT, and what would change.

A case is one diagnosis with all that it rested on: from an incident's log, or from a folder that `kt incidents export`
wrote (or any folder with the files of `kt diagnose`; there the built-in catalogue says what it was before).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from graph_schema.catalogue import Catalogue, load_catalogue
from graph_schema.model import Diagnosis
from graph_schema.ontology import Ontology, load_ontology
from kt.incident.basis import BadBasis, Basis, judge, unpack
from kt.incident.events import Diagnosed
from kt.incident.log import Record
from kt.incident.state import fold

RECORDED = "replay.json"
MOVED = 0.05
"""A probability that differs by more than this is told."""
Name = tuple[str, str]
"""(entity, fault)"""
Verdict = Literal["same", "moved", "changed", "better", "worse"]


class BadCase(Exception):
    """A folder is no case; the message says which and what is missing."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What `kt incidents export` keeps of one diagnosis."""

    diagnosed_at: datetime
    basis: Basis
    diagnosis: Diagnosis


class File(msgspec.Struct, frozen=True, kw_only=True):
    incident: str
    diagnoses: tuple[Recording, ...]
    truths: tuple[Name, ...] = ()
    """What was confirmed, by a fix that held or by a person; an empty fault: only the entity is known."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    before: Diagnosis
    again: Callable[[Catalogue, Ontology], Diagnosis]
    truths: tuple[Name, ...] = ()


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    case: str
    verdict: Verdict
    before: tuple[Name, ...]
    """The causes that were named."""
    after: tuple[Name, ...]
    probability: tuple[float, float]
    """Of the best hypothesis, before and after."""
    truths: tuple[Name, ...] = ()


def recorded(incident: str, records: Sequence[Record]) -> File:
    """The diagnoses in a log whose basis was kept. Raises `BadBasis`."""
    found = tuple(
        Recording(diagnosed_at=record.event.at, basis=unpack(record.event.basis), diagnosis=record.event.diagnosis)
        for record in records
        if isinstance(record.event, Diagnosed) and record.event.basis
    )
    return File(incident=incident, diagnoses=found, truths=_truths(incident, records))


def _truths(incident: str, records: Sequence[Record]) -> tuple[Name, ...]:
    state = fold(incident, [record.event for record in records])
    if state.confirmed is not None:
        return ((state.confirmed.entity, state.confirmed.fault),)
    if state.phase == "healed" and state.verdict is not None and state.verdict.outcome == "held" and state.plan:
        return ((state.plan.hypothesis.entity, state.plan.hypothesis.fault),)
    return ()


def cases_of(file: File) -> list[Case]:
    return [
        Case(
            name=file.incident if number == 1 else f"{file.incident} ({number})",
            before=each.diagnosis,
            again=lambda catalogue, ontology, basis=each.basis: judge(basis, catalogue, ontology),  # type: ignore[misc]
            truths=file.truths,
        )
        for number, each in enumerate(file.diagnoses, 1)
    ]


def in_folder(folder: Path) -> list[Case]:
    """The cases of a folder. Raises `BadCase`."""
    exported = folder / RECORDED
    if exported.exists():
        try:
            return cases_of(msgspec.json.decode(exported.read_bytes(), type=File))
        except (OSError, msgspec.DecodeError, BadBasis) as error:
            raise BadCase(f"{exported}: {error}; expected is what `kt incidents export` writes") from error
    return [_from_files(folder)]


class _Truth(msgspec.Struct, frozen=True):
    entities: list[str] = []
    modes: list[str] = []


class _Truths(msgspec.Struct, frozen=True):
    truths: list[_Truth] = []


def _from_files(folder: Path) -> Case:
    from kt import snapshot
    from kt.offline import Files, gather
    from kt.offline import judge as judge_files
    from sense.alertmanager import standing
    from sense.files import BadFile, moment
    from sense.index import Index
    from sense.mapping import LabelMapping
    from sense.rules import BadRules

    def there(name: str) -> Path | None:
        return folder / name if (folder / name).exists() else None

    alerts = there("alerts.json")
    if alerts is None and there("metrics.csv") is None:
        raise BadCase(f"{folder} has neither {RECORDED} nor alerts.json or metrics.csv; is it the right folder?")
    mapping = LabelMapping.load()
    try:
        piece, _ = snapshot.piece(there("topology.json"), there("changes.json"))
        index = Index(piece.entities.values())
        batches = snapshot.batches(alerts) if alerts else []
        signals = mapping.signals(standing(batches), index.lookup)
        files = Files(metrics=there("metrics.csv"), rules=there("rules.json"))
        gathered = gather(files, piece, signals, mapping, index.lookup)
        truth = there("truth.json")
        told = msgspec.json.decode(truth.read_bytes(), type=_Truths).truths if truth else []
    except (BadFile, BadRules, msgspec.DecodeError) as error:
        raise BadCase(f"{folder}: {error}") from error
    now = moment(gathered.onset) if gathered.onset is not None else datetime.fromtimestamp(0, UTC)
    ontology = load_ontology()
    before = judge_files(gathered, load_catalogue(ontology=ontology), ontology, now=now)
    return Case(
        name=folder.name,
        before=before,
        again=lambda catalogue, ontology: judge_files(gathered, catalogue, ontology, now=now),
        truths=tuple(
            (entity, mode) for each in told for entity in each.entities for mode in (each.modes or [""])
        ),
    )  # fmt: skip


def compare(case: Case, catalogue: Catalogue, ontology: Ontology) -> Compared:
    """The same evidence, judged anew."""
    now = case.again(catalogue, ontology)
    before, after = _causes(case.before), _causes(now)
    likely = _best(case.before), _best(now)
    verdict: Verdict = "same"
    if before != after or case.before.enough != now.enough:
        verdict = "changed"
        if case.truths and _right(before, case.truths) != _right(after, case.truths):
            verdict = "better" if _right(after, case.truths) else "worse"
    elif abs(likely[0] - likely[1]) > MOVED:
        verdict = "moved"
    return Compared(case=case.name, verdict=verdict, before=before, after=after, probability=likely, truths=case.truths)


def _causes(diagnosis: Diagnosis) -> tuple[Name, ...]:
    return tuple((each.entity, each.fault) for each in diagnosis.selected())


def _best(diagnosis: Diagnosis) -> float:
    return diagnosis.hypotheses[0].probability if diagnosis.hypotheses else 0.0


def _right(causes: Sequence[Name], truths: Iterable[Name]) -> bool:
    """Whether the first cause is a true one, by entity and, where it is known, by fault."""
    return bool(causes) and any(entity == causes[0][0] and fault in ("", causes[0][1]) for entity, fault in truths)


def knowledge_in(folder: Path) -> tuple[Catalogue, Ontology]:
    """A folder as graph_schema/knowledge is laid out: `ontology.yaml` (else the built-in one) and `faults/`, or the
    files of faults themselves. Raises `BadKnowledge`."""
    own = folder / "ontology.yaml"
    ontology = load_ontology(own if own.exists() else None)
    faults = folder / "faults"
    return load_catalogue(faults if faults.is_dir() else folder, ontology=ontology), ontology
