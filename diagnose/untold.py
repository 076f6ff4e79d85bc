"""Calls that nobody told of, as runs of chaos give them away: A was disturbed, B felt it, and nothing led there. Pure.

A run adds to these counts, beside what it says of the ways that are known (`diagnose.propagation`):

    felt|FAULT|A|any                runs that disturbed the Service A by FAULT and that another Service felt
    felt|FAULT|A|B                  those of them that B felt, whether a way to it is known or not
    call|FAULT|A|B                  those in which nothing led from A to B

What a caller feels is errors and waiting. Of a chain of callers that all felt it only the first has the untold call:
the X
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from diagnose.attribution import CALLS
from diagnose.learning import Counts, Use, usable
from diagnose.propagation import ANY, SEPARATOR, Raised, count_key, face, lasting
from diagnose.wiring import Wiring
from graph_schema.catalogue import FaultMode
from graph_schema.model import Relation, Subgraph
from graph_schema.ontology import Ontology

BURDENS = frozenset({"load", "contention"})
FELT = frozenset({"errors", "latency"})
"""Classes of symptoms."""
LEAST_RUNS = 2
"""What happens beside one run may be chance."""
FAIR_SHARE = 0.5
"""What calls another thing feels it more often than not; stray alerts come beside one run or another. Not tuned."""


class Untold(msgspec.Struct, frozen=True, kw_only=True):
    """A call that runs gave away."""

    caller: str
    called: str
    runs: int
    """Those that gave it away: as long as nothing led from one to the other."""
    felt: int
    """Those in which the caller felt it, known or not."""
    disturbed: int
    """Those that disturbed the other and that anything else felt."""

    @property
    def relation(self) -> Relation:
        return Relation(self.caller, self.called, "CALLS")


def increments(
    fault: FaultMode, entity: str, found: Iterable[Raised], piece: Subgraph, ontology: Ontology
) -> dict[str, int]:
    """What a run adds that disturbed `entity` (as `propagation.face` gives it); nothing where it is no Service."""
    if BURDENS & fault.effects.keys() or not _is_service(entity, piece):
        return {}
    wiring = Wiring(piece, ontology)
    callers = _callers(piece, wiring, ontology)
    by_calling = [each for each in found if _of(each.symptom, ontology) in FELT]
    faces = {face(each.entity, wiring, piece, ontology) for each in by_calling if each.entity in piece.entities}
    felt = {each for each in faces if _is_service(each, piece)} - {entity}
    strangers = felt - _reached(entity, callers)
    # Who calls a stranger that felt it, and is not called by it in turn, felt it through that one.
    behind = {each: _reached(each, callers) for each in strangers}
    first = {
        each
        for each in strangers
        if not any(each in behind[other] and other not in behind[each] for other in strangers - {each})
    }
    counts = {count_key("felt", fault.name, entity, caller): 1 for caller in sorted(felt)}
    counts |= {count_key("felt", fault.name, entity, ANY): 1} if felt else {}
    return counts | {count_key("call", fault.name, entity, caller): 1 for caller in sorted(first)}


def _of(symptom: str, ontology: Ontology) -> str:
    known = ontology.symptoms.get(symptom)
    return known.of if known else ""


def _is_service(entity: str, piece: Subgraph) -> bool:
    return entity in piece.entities and piece.entities[entity].kind == "Service"


def untold(known: Mapping[str, int]) -> list[Untold]:
    """The calls that these counts tell of, by name; over all faults that gave one away."""
    counts: dict[str, dict[tuple[str, str], int]] = {"call": defaultdict(int), "felt": defaultdict(int)}
    for key, count in known.items():
        what, _, *rest = key.split(SEPARATOR)
        if what in counts and len(rest) == 2:
            counts[what][rest[0], rest[1]] += count
    return [
        Untold(caller=caller, called=called, runs=runs, felt=counts["felt"][called, caller],
               disturbed=counts["felt"][called, ANY])
        for (called, caller), runs in sorted(counts["call"].items(), key=lambda each: each[0][::-1])
    ]  # fmt: skip


def believed(known: Mapping[str, int], *, least: int) -> set[Relation]:
    """The calls that count: so many runs gave the call away, and the caller felt a fair share of all that could."""
    return {each.relation for each in untold(known) if each.runs >= least and each.felt >= FAIR_SHARE * each.disturbed}


def believed_of(counts: Counts, use: Use) -> set[Relation]:
    """The same of all sites' counts; a person's word on one run is enough."""
    return believed(usable(counts, use), least=1 if use == "accepted" else LEAST_RUNS)


def _callers(piece: Subgraph, wiring: Wiring, ontology: Ontology) -> dict[str, set[str]]:
    """Service → the Services that depend on it directly."""
    found: dict[str, set[str]] = defaultdict(set)
    for each in piece.relations:
        if each.kind in CALLS:
            ends = (face(lasting(end, wiring, piece), wiring, piece, ontology) for end in (each.source, each.target))
            source, target = ends
            found[target].add(source)
    return found


def _reached(entity: str, callers: Mapping[str, set[str]]) -> set[str]:
    """Itself and everything that feels what it suffers."""
    found, front = {entity}, [entity]
    while front:
        news = callers.get(front.pop(), set()) - found
        found |= news
        front += news
    return found
