"""The port to where the counts of confirmed causes are kept, and the way from an incident's log to them.

Two stores fulfil it, SQLite and Neo4j, held to one contract suite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from diagnose.learning import Counts, Outcome, increments, kinds_near, own_symptoms
from graph_schema.ontology import Ontology
from kt.incident.basis import BadBasis, Basis, unpack
from kt.incident.events import Confirmed, Diagnosed, Healed, Verified
from kt.incident.log import IncidentLog, Record
from kt.incident.state import fold

MOST_LOOKED_AT = 10_000


class Learned(Protocol):
    """All methods may be called from several processes at once and raise `LogUnavailable`."""

    def site(self) -> str:
        """This installation's own name among the counters: made by chance at first use, kept for ever."""
        ...

    def counts(self) -> Counts: ...

    def learn(self, claim: str, seen: Mapping[str, int], forgotten: Mapping[str, int]) -> bool:
        """Add to this site's counts. False, and nothing is added, when the claim was made before."""
        ...

    def claimed(self, claims: Sequence[str]) -> set[str]:
        """Those of these claims that were made before."""
        ...

    def merge(self, counts: Counts) -> None:
        """Take in other counts; see `diagnose.learning.merge`."""
        ...

    def close(self) -> None: ...


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    claim: str
    seen: dict[str, int]
    forgotten: dict[str, int] = {}


def lesson(records: Sequence[Record], ontology: Ontology) -> Lesson | None:
    """What an incident's log teaches: its confirmed cause; None while there is none.

    A person's word counts above a fix that held, and takes back what the fix had taught.
    """
    state = fold(records[0].incident, [record.event for record in records]) if records else None
    if state is None:
        return None
    basis = _basis(records)
    healed = _healed(records, basis, ontology)
    if state.confirmed is None:
        return Lesson(claim=f"{state.id}:healed", seen=increments(healed)) if healed else None
    said = state.confirmed
    number = sum(isinstance(record.event, Confirmed) for record in records)
    before = [record for record in records if not isinstance(record.event, Confirmed)]
    if number > 1:
        *earlier, _ = [record for record in records if isinstance(record.event, Confirmed)]
        wrong = lesson([*before, earlier[-1]], ontology)
    else:
        wrong = lesson(before, ontology)
    right = increments(_outcome(said.fault, said.entity, basis, ontology))
    claim = f"{state.id}:confirmed:{number}"
    return Lesson(claim=claim, seen=right, forgotten=wrong.seen if wrong else {})


def take_in(log: IncidentLog, learned: Learned, ontology: Ontology) -> int:
    """Learn from every incident that nobody learned from yet; how many there were.

    Stages learn when an incident ends; this finds what a crash in that moment left out, in order of the log.
    """
    taken = 0
    for entry in reversed(log.entries(limit=MOST_LOOKED_AT)):
        if entry.due_at is None or entry.phase in ("healed", "escalated"):
            taken += learn_from(log.load(entry.incident), learned, ontology)
    return taken


def learn_from(records: Sequence[Record], learned: Learned, ontology: Ontology) -> bool:
    """Learn what this log teaches now, once; earlier lessons of it first, so that none is taken back that never was."""
    confirmed = [place for place, record in enumerate(records) if isinstance(record.event, Confirmed)]
    news = False
    for end in [*confirmed, len(records)]:
        found = lesson(records[:end], ontology)
        if found is not None and found.claim not in learned.claimed([found.claim]):
            news = learned.learn(found.claim, found.seen, found.forgotten) or news
    return news


def _basis(records: Sequence[Record]) -> Basis | None:
    for record in reversed(records):
        if isinstance(record.event, Diagnosed) and record.event.basis:
            try:
                return unpack(record.event.basis)
            except BadBasis:
                return None
    return None


def _healed(records: Sequence[Record], basis: Basis | None, ontology: Ontology) -> Outcome | None:
    """The cause of a fix that was attacked and held."""
    state = fold(records[0].incident, [record.event for record in records if not isinstance(record.event, Confirmed)])
    verdicts = [record.event.verdict.outcome for record in records if isinstance(record.event, Verified)]
    ended = any(isinstance(record.event, Healed) for record in records)
    if not ended or state.plan is None or not verdicts or verdicts[-1] != "held":
        return None
    cause = state.plan.hypothesis
    found = _outcome(cause.fault, cause.entity, basis, ontology)
    return msgspec.structs.replace(found, playbook=state.plan.playbook)


def _outcome(fault: str, entity: str, basis: Basis | None, ontology: Ontology) -> Outcome:
    if basis is None:
        return Outcome(fault=fault)
    shown = own_symptoms(basis.piece, [*basis.alerts, *basis.beside], entity, ontology)
    return Outcome(fault=fault, shown=shown, near=kinds_near(basis.piece))
