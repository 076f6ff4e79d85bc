"""Calls that nobody told of, as runs of chaos give them away: A was disturbed, B felt it, and nothing led there. Pure.

A run adds one to the count of each such call, beside what it says of the ways that are known (`diagnose.propagation`):

    call|FAULT|A|B                  runs that disturbed A by FAULT and raised something on B

Of a chain of callers that all felt it only the first has the untold call: the others call that one, as is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from diagnose.learning import Counts, Use, usable
from diagnose.propagation import ANY, Raised, face, lasting
from diagnose.wiring import Wiring
from graph_schema.model import Relation, Subgraph
from graph_schema.ontology import Ontology

CALL = "call"
LEAST_RUNS = 2
"""What happens beside one run may be chance."""
FAIR_SHARE = 0.5
"""What calls another thing feels it more often than not; stray alerts come beside one run or another. Not tuned."""
DEPENDING = frozenset({"CALLS", "DEPENDS_ON", "ROUTES_TO"})
"""Relations by which the source feels what the target suffers, whoever they are."""


class Untold(msgspec.Struct, frozen=True, kw_only=True):
    """A call that runs gave away."""

    caller: str
    called: str
    runs: int
    """Those that gave it away: as long as nothing led from one to the other."""
    felt: int
    """Those in which the caller felt it, known or not."""
    disturbed: int
    """Those that disturbed the other and raised something."""

    @property
    def relation(self) -> Relation:
        return Relation(self.caller, self.called, "CALLS")


def increments(fault: str, entity: str, found: Iterable[Raised], piece: Subgraph, ontology: Ontology) -> dict[str, int]:
    """What a run adds that disturbed the Service `entity`: one for each Service that must be calling it."""
    if entity not in piece.entities or piece.entities[entity].kind != "Service":
        return {}
    wiring = Wiring(piece, ontology)
    callers = _callers(piece, wiring, ontology)
    told = _reached(entity, callers)
    felt = {face(each.entity, wiring, piece, ontology) for each in found if each.entity in piece.entities}
    strangers = {each for each in felt - told if piece.entities[each].kind == "Service"}
    # Who calls a stranger that felt it, and is not called by it in turn, felt it through that one.
    behind = {each: _reached(each, callers) for each in strangers}
    first = [
        each
        for each in sorted(strangers)
        if not any(each in behind[other] and other not in behind[each] for other in strangers - {each})
    ]
    return {"|".join((CALL, fault, entity, caller)): 1 for caller in first}


def untold(known: Mapping[str, int]) -> list[Untold]:
    """The calls that these counts tell of, by name; over all faults that gave one away."""
    runs: dict[tuple[str, str], int] = defaultdict(int)
    felt: dict[tuple[str, str], int] = defaultdict(int)
    disturbed: dict[str, int] = defaultdict(int)
    for key, count in known.items():
        what, _, *rest = key.split("|")
        if what == CALL and len(rest) == 2:
            runs[rest[0], rest[1]] += count
        elif what == "raised" and rest[2:] == [ANY]:
            felt[rest[0], rest[1]] += count
        elif what == "disturbed" and len(rest) == 1:
            disturbed[rest[0]] += count
    return [
        Untold(
            caller=caller, called=called, runs=count, felt=felt[called, caller], disturbed=disturbed[called],
        )
        for (called, caller), count in sorted(runs.items(), key=lambda each: each[0][::-1])
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
        if each.kind in DEPENDING:
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
