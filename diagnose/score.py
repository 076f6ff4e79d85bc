"""The score of one hypothesis: log-odds from what it explains, what it should have shown, changes and states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from diagnose.paths import Paths, Reach
from diagnose.settings import Settings
from graph_schema.catalogue import FaultMode
from graph_schema.model import Change, Entity, Evidence, Signal, Subgraph

TRAVELLING = ("errors", "latency", "unavailable")
"""Symptoms that callers are expected to show."""
FACES = frozenset({"Service", "Ingress"})
UNKNOWN_SYMPTOM = 0.15


class Scored(msgspec.Struct, kw_only=True):
    """A hypothesis while it is being weighed."""

    entity: Entity
    fault: FaultMode
    prior: float
    """Log-odds before any signal is looked at, state and change included."""
    weights: dict[str, float]
    """Fingerprint → probability that the fault, if there, brings this signal about."""
    reaches: dict[str, Reach]
    change: Change | None
    evidence_for: list[Evidence]
    evidence_against: list[Evidence]
    missing: float = 0.0
    """Log-odds lost for symptoms that should be there and are not."""

    def log_odds(self, seen: Mapping[str, float]) -> float:
        """`seen`: fingerprint → how probable the signal is by leak and the causes taken already (noisy-OR)."""
        return self.prior + self.missing + sum(self.gains(seen).values())

    def gains(self, seen: Mapping[str, float]) -> dict[str, float]:
        """Fingerprint → how much this cause raises the log-probability of the signal."""
        return {key: math.log((1 - (1 - seen[key]) * (1 - weight)) / seen[key]) for key, weight in self.weights.items()}


def weigh(
    entity: Entity, fault: FaultMode, reaches: Mapping[str, Reach], signals: Sequence[Signal], piece: Subgraph,
    onset: datetime, settings: Settings,
) -> Scored:  # fmt: skip
    """A hypothesis with everything but what is missing. `reaches`: fingerprint → way from the entity to the signal."""
    scored = Scored(
        entity=entity, fault=fault, prior=math.log(fault.prior / (1 - fault.prior)), weights={}, reaches={},
        change=None, evidence_for=[], evidence_against=[],
    )  # fmt: skip
    for signal in signals:
        reach = reaches.get(signal.fingerprint)
        if reach is None:
            continue
        seen = fault.symptoms.get(signal.symptom, UNKNOWN_SYMPTOM if signal.symptom == "unknown" else 0.0)
        if reach.own and signal.symptom in fault.sure:
            seen, strength = settings.sure, 1.0
        else:
            strength = reach.strength
        weight = seen * strength * signal.confidence
        if weight > settings.leak:
            scored.weights[signal.fingerprint] = weight
            scored.reaches[signal.fingerprint] = reach
    _count_changes(scored, piece, onset, settings)
    _count_states(scored, settings)
    return scored


def _count_changes(scored: Scored, piece: Subgraph, onset: datetime, settings: Settings) -> None:
    best, factor = None, 1.0
    for change in piece.changes:
        if change.entity != scored.entity.id or change.kind not in scored.fault.changes:
            continue
        age = (onset - change.at).total_seconds()
        if not -settings.skew_s <= age <= settings.remembered_s:
            continue
        raised = 1 + (scored.fault.changes[change.kind] - 1) * 0.5 ** (max(age, 0.0) / settings.half_life_s)
        if raised > factor:
            best, factor = change, raised
    if best is not None:
        scored.change = best
        scored.prior += math.log(factor)
        age = (onset - best.at).total_seconds()
        when = f"{age:.0f} s before" if age >= 0 else "as"
        text = f"{best.kind} of {best.entity} {when} the first symptom{f': {best.detail}' if best.detail else ''}"
        scored.evidence_for.append(Evidence(text=text, weight=math.log(factor), entity=best.entity))
    elif scored.fault.changes and max(scored.fault.changes.values()) >= settings.mostly:
        weight = math.log(settings.without_change)
        scored.prior += weight
        kinds = " or ".join(sorted(scored.fault.changes))
        scored.evidence_against.append(
            Evidence(text=f"no {kinds} of it was seen before the first symptom", weight=weight, entity=scored.entity.id)
        )


def _count_states(scored: Scored, settings: Settings) -> None:
    for name, value in sorted(scored.fault.states.items()):
        if name not in scored.entity.properties:
            continue
        matches = scored.entity.properties[name] == value
        weight = math.log(settings.state_factor) * (1 if matches else -1)
        scored.prior += weight
        text = f"its {name} is {scored.entity.properties[name]}"
        (scored.evidence_for if matches else scored.evidence_against).append(
            Evidence(text=text, weight=weight, entity=scored.entity.id)
        )


def count_missing(scored: Scored, paths: Paths, piece: Subgraph, signals: Sequence[Signal], settings: Settings) -> None:
    """Take off for faces of services that should be sick and show nothing."""
    showing = {signal.entity for signal in signals}
    own = {signal.symptom for signal in signals if (way := scored.reaches.get(signal.fingerprint)) and way.own}
    if scored.fault.sure and not own & scored.fault.sure:
        surest = max(sorted(scored.fault.sure), key=lambda symptom: scored.fault.symptoms.get(symptom, 0.0))
        weight = math.log(1 - settings.watched_self * scored.fault.symptoms.get(surest, 0.0))
        scored.missing += weight
        text = f"it shows no {surest} itself"
        scored.evidence_against.append(Evidence(text=text, weight=weight, entity=scored.entity.id))
    travelling = max(TRAVELLING, key=lambda symptom: scored.fault.symptoms.get(symptom, 0.0))
    seen = scored.fault.symptoms.get(travelling, 0.0)
    if seen <= 0:
        return
    # What is far away is expected to show little; the hops of a call and its pods are enough.
    for entity, reach in sorted(paths.of(scored.entity.id, travelling, 5).items()):
        known = piece.entities.get(entity)
        if known is None or known.kind not in FACES or entity in showing or reach.strength < settings.expected:
            continue
        watched = settings.watched_self if reach.own else settings.watched
        weight = math.log(1 - watched * seen * reach.strength)
        scored.missing += weight
        if weight < -0.02:
            scored.evidence_against.append(
                Evidence(text=f"{entity} shows no {travelling}", weight=weight, entity=entity)
            )
