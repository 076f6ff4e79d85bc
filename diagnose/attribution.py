"""Where waiting and failing arise: each entity's burden is shared out among itself and what it calls.

Time that calls take and calls that fail add up along the call graph: what a callee lets its callers wait is contained
in what the callers let theirs wait. So beginning at the entities that suffer, blame moves on to each callee in
proportion to how much of the burden (weighed by how surely it changed) the callee carries itself; one that can no
longer be seen may carry all of it; what no callee accounts for stays. The shares that stay sum to one at most. No
kinds, names or catalogue are needed, and in turn no fault mode is named here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import msgspec

from graph_schema.model import Burden, Diagnosis, Entity, Evidence, Hypothesis, Relation, Signal

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
LEAST_LOST = 0.1
"""Fewer calls than this share are no loss: traffic is never even."""
ALERT = "alertmanager"
LOSING = 0.8
"""How surely something is wrong with an entity that is in trouble and answers fewer calls than are made to it."""
NOT_THERE = frozenset(
    {"not_ready", "crashlooping", "restarts", "oom_killed", "replicas_mismatch", "unavailable", "pending",
     "image_pull", "config_error", "component_down", "scaled_to_zero"}
)  # fmt: skip
"""Symptoms of what does not take calls."""
BALANCES = {"latency": ("latency",), "errors": ("errors",), "unavailable": ("errors",)}

FAULTS = {"latency": "Entity.Latency", "errors": "Entity.Errors"}
"""Named by how they show: no fault mode of the catalogue is claimed."""

Blame: TypeAlias = dict[str, float]
"""Entity → share in (0, 1]."""
Open: TypeAlias = Mapping[str, float]
"""Callee, or what is behind it → part of what arises at a caller that may as well arise there."""


class Share(NamedTuple):
    """What of the blame stays with an entity."""

    share: float
    burden: Burden | None
    open: Open = MappingProxyType({})
    """Of the share; the rest is the entity's own."""


Shares: TypeAlias = dict[tuple[str, str], Share]
"""(entity, latency or errors) → its share."""


def blame(
    burdens: Mapping[str, Burden],
    calls: Mapping[str, Sequence[str]],
    start: Mapping[str, float],
) -> Blame:
    """Shares of one symptom's burden. `calls`: caller → callees; `start`: where it shows → share, summing to one."""
    onward: dict[str, list[tuple[str, float]]] = {}
    stays: dict[str, float] = {}

    def look(entity: str) -> None:
        own = burdens[entity].amount + burdens[entity].lost if entity in burdens else 0.0
        callees = [each for each in calls.get(entity, ()) if each in burdens and each != entity]
        # Calls that do not arrive are counted by the caller alone.
        amounts = [
            (each, burdens[each].amount * burdens[each].strength + min(own, burdens[each].lost)) for each in callees
        ]
        carried = [(callee, amount) for callee, amount in amounts if amount > 0]
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
    burdens: Iterable[Burden],
    relations: Iterable[Relation],
    showing: Iterable[tuple[str, str]] = (),
    troubled: Collection[str] = (),
    deserted: Collection[str] = (),
) -> Shares:
    """What arises where. `showing`: alerted (entity, symptom), if any; those without a burden of their own say nothing.
    `troubled`: entities that are known not to take all calls (`unavailable`), or of which not all is seen (`renewed`);
    a call that is not seen there may have failed there.
    `deserted`: those of them that take none by now (`deserted`), whatever was measured over the last moments.

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
    missing: dict[str, dict[str, float]] = {}
    for symptom, carried in sorted(by_symptom.items()):
        start = _start(carried, calls, {entity for entity, each in wanted if each == symptom}, alerted=bool(wanted))
        total = sum(start.values())
        if total > 0:
            missing[symptom] = _missing(carried, calls) if symptom == "errors" else {}
            lost = _lost(carried, missing[symptom], troubled, deserted)
            for entity, amount in lost.items():
                known = carried[entity]
                carried[entity] = msgspec.structs.replace(known, lost=amount, strength=max(known.strength, LOSING))
            shares[symptom] = blame(carried, calls, {entity: each / total for entity, each in start.items()})
            weights[symptom] = max(
                (carried[entity].strength * share for entity, share in shares[symptom].items() if entity in carried),
                default=0.0,
            )
    whole = sum(weights.values())
    return {
        (entity, symptom): Share(
            share * (weights[symptom] / whole if whole > 0 else 1 / len(shares)),
            carried.get(entity),
            _open(entity, carried, calls, missing[symptom]),
        )
        for symptom, found in shares.items()
        for carried in (by_symptom[symptom],)
        for entity, share in found.items()
    }


def _open(
    entity: str, carried: Mapping[str, Burden], calls: Mapping[str, Sequence[str]], missing: Mapping[str, float]
) -> Open:
    """What of the failing calls that no callee accounts for may be calls that a callee did not answer.

    A call that is refused or cut off is counted by its caller alone, one that its caller failed to make by nobody
    else either: whether a callee gets fewer calls because it is sick or because its caller is, no balance can tell.
    """
    callees = [each for each in calls.get(entity, ()) if each in carried and each != entity]
    if entity not in carried or not missing:
        return {}
    accounted = sum(carried[each].amount * carried[each].strength + carried[each].lost for each in callees)
    own = carried[entity].amount + carried[entity].lost - accounted
    doubtful = {each: missing[each] for each in callees if missing[each] > 0 and not carried[each].lost}
    if own <= 0 or not doubtful:
        return {}
    whole = max(own, sum(doubtful.values()))
    found: dict[str, float] = defaultdict(float)
    for callee, amount in doubtful.items():
        # Where it does not answer, what it calls may be why, as for all that it fails.
        for behind, share in blame(carried, calls, {callee: 1.0}).items():
            if behind != entity:
                found[behind] = min(1.0, found[behind] + share * amount / whole)
    return dict(found)


def _missing(burdens: Mapping[str, Burden], calls: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Calls in a sample that each callee would have answered, by what its callers were asked, and did not."""
    callers: dict[str, list[Burden]] = defaultdict(list)
    for caller, callees in calls.items():
        for callee in callees:
            if caller in burdens and caller != callee:
                callers[callee].append(burdens[caller])
    found = {}
    for entity, each in burdens.items():
        before = sum(caller.calls_before for caller in callers[entity])
        asked = sum(caller.calls_after for caller in callers[entity]) / before if before > 0 else 0.0
        found[entity] = each.calls_before * min(1.0, asked) - each.calls_after
    return found


def _lost(
    burdens: Mapping[str, Burden],
    missing: Mapping[str, float],
    troubled: Collection[str],
    deserted: Collection[str],
) -> dict[str, float]:
    """Calls in a sample that each callee would have answered and did not, where it fell silent or is in trouble.

    A caller that fails before it calls leaves its callees less to do, too; that is why fewer calls alone say nothing.
    """
    found = {}
    for entity, amount in missing.items():
        each = burdens[entity]
        due = amount + each.calls_after
        if entity in deserted and due > 0:
            found[entity] = due
        elif (each.silent or entity in troubled) and amount > LEAST_LOST * each.calls_before:
            found[entity] = amount
    return found


def fewer_seen(burdens: Iterable[Burden], relations: Iterable[Relation], of: Collection[str]) -> set[str]:
    """Those of these Services that answer fewer calls, as far as one sees, than are made to them."""
    carried = {each.entity: each for each in burdens if each.symptom == "errors"}
    return set(of) & _lost(carried, _missing(carried, _calls(relations)), of, ()).keys()


def behind_services(relations: Iterable[Relation]) -> dict[str, tuple[set[str], set[str]]]:
    """Service → its pods, and what owns those, directly or through a ReplicaSet."""
    above: dict[str, set[str]] = defaultdict(set)
    pods: dict[str, set[str]] = defaultdict(set)
    for relation in relations:
        if relation.kind == "OWNS":
            above[relation.target].add(relation.source)
        elif relation.kind == "SELECTS":
            pods[relation.source].add(relation.target)
    found = {}
    for service, made in pods.items():
        direct = {owner for each in made for owner in above[each]}
        found[service] = made, direct | {owner for each in direct for owner in above[each]}
    return found


def unavailable(relations: Iterable[Relation], entities: Mapping[str, Entity], signals: Iterable[Signal]) -> set[str]:
    """Services behind which something does not take calls: by their own state, or by an alert on their pods.

    An event of the kubelet's is not enough: a probe fails now and then, and the pod may be ready again.
    """
    alerts = [each for each in signals if each.firing and each.mapped and each.source == ALERT]
    sick = {each.entity for each in alerts if each.symptom in NOT_THERE}
    found = set()
    for service, (pods, owners) in behind_services(relations).items():
        whole = {service} | pods | owners
        if whole & sick:
            found.add(service)
    return found | {each.id for each in entities.values() if _turns_away(each.properties)}


def deserted(entities: Mapping[str, Entity]) -> set[str]:
    """Services that nobody is behind, as their own state says."""
    return {each.id for each in entities.values() if each.properties.get("ready_endpoints", 1) == 0}


def _turns_away(states: Mapping[str, Any]) -> bool:
    """Whether a Service's own state says that it does not take all calls."""
    nobody = states.get("ready_endpoints", 1) == 0
    return nobody or bool(states.get("not_ready_endpoints")) or states.get("port_declared") is False


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
        (
            (each.share, fault_of(entity, symptom, each.share, each.burden))
            for (entity, symptom), each in shares.items()
        ),
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
    if burden.silent:
        return "nothing of it could be seen any more"
    if burden.lost:
        return f"{_number(burden.lost)} calls in a sample are made to it and not answered by it"
    if burden.symptom == "latency":
        return f"mean time of a call {_number(burden.before)} → {_number(burden.after)}"
    return f"share of failed calls {_number(burden.before)} → {_number(burden.after)}"


def _number(value: float | None) -> str:
    return "nothing known" if value is None or math.isnan(value) else f"{value:.4g}"
