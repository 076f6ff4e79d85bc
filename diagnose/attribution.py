"""Where waiting and failing arise: each entity's burden is shared out among itself and what it calls.

Time that calls take and calls that fail add up along the call graph: what a callee lets its callers wait is contained
in what the callers let theirs wait. So beginning at the entities that suffer, blame moves on to each callee in
proportion to how much of the burden (weighed by how surely it changed) the callee carries itself; what no callee
accounts for stays. The shares that stay sum to one at most. No kinds, names or catalogue are needed, and in turn no
fault mode is named here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from graph_schema.model import Burden, Diagnosis, Evidence, Hypothesis, Relation

CALLS = frozenset({"CALLS", "DEPENDS_ON", "ROUTES_TO"})
"""Relations along which a callee's burden is contained in its caller's (the source calls)."""
KEPT = 0.97
"""Blame that moves on at each step; what is lost in a circle of calls is nobody's."""
LEAST = 1e-6
MOST_STEPS = 100
SUFFERS = 0.3
"""Without an alert, trouble shows where the burden changed at least this surely."""
NAMED = 0.3
"""From this probability on an entity is named as the cause; set on quiet time (docs/benchmarks.md)."""
NAMED_ALONE = 0.8
"""Without an alert and a caller that could suffer, a change must be this sure."""
FELT = 0.1
"""A caller suffers when its burden changed at least this surely."""
SHOWN = 0.005
BALANCES = {"latency": ("latency",), "errors": ("errors",), "unavailable": ("errors",)}

FAULTS = {"latency": "Entity.Latency", "errors": "Entity.Errors"}
"""Named by how they show: no fault mode of the catalogue is claimed."""

Blame: TypeAlias = dict[str, float]
"""Entity → share in (0, 1]."""
Shares: TypeAlias = dict[tuple[str, str], tuple[float, Burden | None]]
"""(entity, latency or errors) → (share of the blame, its burden)."""


def blame(burdens: Mapping[str, Burden], calls: Mapping[str, Sequence[str]], start: Mapping[str, float]) -> Blame:
    """Shares of one symptom's burden. `calls`: caller → callees; `start`: where it shows → share, summing to one."""
    onward: dict[str, list[tuple[str, float]]] = {}
    stays: dict[str, float] = {}

    def look(entity: str) -> None:
        own = burdens[entity].amount if entity in burdens else 0.0
        carried = [
            (callee, burdens[callee].amount * burdens[callee].strength)
            for callee in calls.get(entity, ())
            if callee in burdens and callee != entity and burdens[callee].amount > 0
        ]
        whole = max(own, sum(amount for _, amount in carried))
        onward[entity] = [(callee, amount / whole) for callee, amount in carried] if whole > 0 else []
        stays[entity] = max(0.0, 1.0 - sum(part for _, part in onward[entity]))

    found: Blame = {}
    moving = dict(start)
    for _ in range(MOST_STEPS):
        following: dict[str, float] = defaultdict(float)
        for entity in sorted(moving):
            if entity not in onward:
                look(entity)
            share = moving[entity]
            if stays[entity] > 0:
                found[entity] = found.get(entity, 0.0) + share * stays[entity]
            for callee, part in onward[entity]:
                following[callee] += share * part * KEPT
        moving = {entity: share for entity, share in following.items() if share > LEAST}
        if not moving:
            break
    return found


def attribute(
    burdens: Iterable[Burden], relations: Iterable[Relation], showing: Iterable[tuple[str, str]] = ()
) -> Shares:
    """What arises where. `showing`: alerted (entity, symptom), if any; those without a burden of their own say nothing.

    With several symptoms the surer one counts more: shares over all of them sum to one at most.
    """
    by_symptom: dict[str, dict[str, Burden]] = defaultdict(dict)
    for burden in burdens:
        by_symptom[burden.symptom][burden.entity] = burden
    calls = _calls(relations)
    wanted = {
        (entity, each)
        for entity, symptom in showing
        for each in BALANCES.get(symptom, ("latency", "errors"))
        if entity in by_symptom[each]
    }
    weights: dict[str, float] = {}
    shares: dict[str, Blame] = {}
    for symptom, carried in sorted(by_symptom.items()):
        start = _start(carried, calls, {entity for entity, each in wanted if each == symptom}, alerted=bool(wanted))
        if start:
            total = sum(start.values())
            shares[symptom] = blame(carried, calls, {entity: each / total for entity, each in start.items()})
            weights[symptom] = max(
                (carried[entity].strength * share for entity, share in shares[symptom].items() if entity in carried),
                default=0.0,
            )
    whole = sum(weights.values())
    return {
        (entity, symptom): (share * (weights[symptom] / whole if whole > 0 else 1 / len(shares)), carried.get(entity))
        for symptom, found in shares.items()
        for carried in (by_symptom[symptom],)
        for entity, share in found.items()
    }


def _calls(relations: Iterable[Relation]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for relation in relations:
        if relation.kind in CALLS:
            found[relation.source].add(relation.target)
    return {caller: sorted(callees) for caller, callees in found.items()}


def _start(
    carried: Mapping[str, Burden], calls: Mapping[str, Sequence[str]], alerted_on: set[str], *, alerted: bool
) -> dict[str, float]:
    """Where the burden shows: the alerted entities, else the ones that surely suffer and have no caller that does."""
    if alerted:
        return {entity: max(carried[entity].amount, LEAST) for entity in alerted_on}
    suffering = {entity for entity, each in carried.items() if each.amount > 0 and each.strength >= SUFFERS}
    called = {callee for caller in suffering for callee in calls.get(caller, ()) if callee != caller}
    first = suffering - called or suffering
    return {entity: carried[entity].amount * carried[entity].strength for entity in first}


def without_catalogue(
    burdens: Iterable[Burden], relations: Iterable[Relation], showing: Iterable[tuple[str, str]] = ()
) -> Diagnosis:
    """The diagnosis that burdens alone allow: which entity, and whether it lets wait or fails; not why.

    `relations`: who calls whom; `showing`: the (entity, symptom) of alerts. Without an alert an entity whose callers do
    not suffer is not named: some metric of some entity is always at its worst.
    """
    carried, related, alerted = list(burdens), list(relations), list(showing)
    shares = attribute(carried, related, alerted)
    ranked = sorted(
        ((share, fault_of(entity, symptom, share, burden)) for (entity, symptom), (share, burden) in shares.items()),
        key=lambda each: (-each[0], each[1].entity, each[1].fault),
    )
    shown = tuple(each for share, each in ranked if share >= SHOWN)
    if not shown:
        return Diagnosis(hypotheses=())
    causes = tuple(
        number
        for number, each in enumerate(shown)
        if each.probability >= NAMED and (alerted or _believed(each, carried, related))
    )
    return Diagnosis(hypotheses=shown, causes=causes)


def _believed(cause: Hypothesis, burdens: Iterable[Burden], relations: Iterable[Relation]) -> bool:
    """Whether one of its callers suffers too; where no caller is known, whether it got worse beyond doubt."""
    callers = {each.source for each in relations if each.kind in CALLS and each.target == cause.entity} - {cause.entity}
    return any(
        each.entity in callers and each.strength >= FELT if callers else each.strength >= NAMED_ALONE
        for each in burdens
        if FAULTS[each.symptom] == cause.fault and (callers or each.entity == cause.entity)
    )


def fault_of(entity: str, symptom: str, share: float, burden: Burden | None) -> Hypothesis:
    """The claim that this share of the blame is an entity's own; its probability heeds how surely it got worse."""
    strength = burden.strength if burden else 0.0
    texts = [Evidence(text=f"{share:.0%} of the {WORDS[symptom]} arises there: what it calls does not account for it")]
    if burden is not None:
        texts.append(Evidence(text=f"{_went(burden)} (certainty {strength:.0%})", entity=entity))
    return Hypothesis(
        entity=entity,
        fault=FAULTS[symptom],
        probability=round(min(1.0, share * strength), 6),
        evidence_for=tuple(texts),
    )


WORDS = {"latency": "waiting", "errors": "failing"}


def _went(burden: Burden) -> str:
    if burden.symptom == "latency":
        return f"mean time of a call {_number(burden.before)} → {_number(burden.after)}"
    return f"share of failed calls {_number(burden.before)} → {_number(burden.after)}"


def _number(value: float) -> str:
    return "nothing known" if value != value else f"{value:.4g}"
