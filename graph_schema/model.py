"""The words every stage shares: what stands in the graph, what was seen, what is believed, all as plain frozen data.

Nothing here does I/O. Times are timezone-aware UTC `datetime`s. Identifiers of Kubernetes objects are made by
`entity_id` and never taken apart again: offline snapshots bring identifiers of their own, free text.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec


def entity_id(kind: str, name: str, namespace: str = "") -> str:
    """The identifier of a Kubernetes object: `Kind/namespace/name`, or `Kind/name` where it has no namespace."""
    return f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}"


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A thing that can be faulty or show a symptom.

    `kind` is a Kubernetes kind, or ExternalDependency, Image, Zone, Unmapped.
    """

    id: str
    kind: str
    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    properties: dict[str, Any] = {}
    """What was observed of it, JSON values only; the names are declared in the ontology (`states`)."""


class Relation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Reads "source kind target": `Deployment OWNS ReplicaSet`, `Pod RUNS_ON Node`, `Service CALLS Service`."""

    source: str
    target: str
    kind: str


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something was altered on purpose: rollout, config, scale, node, policy, delete, certificate, …"""

    entity: str
    at: datetime
    kind: str
    detail: str = ""
    id: str = ""
    """Makes recording it again harmless; empty only in hand-written files."""


class Subgraph(msgspec.Struct, frozen=True):
    """A piece of the graph: what diagnosis looks at. Relations join only entities that are in it."""

    entities: dict[str, Entity]
    relations: tuple[Relation, ...]
    changes: tuple[Change, ...] = ()
    ended: tuple[Relation, ...] = ()
    """Relations of these entities with ones that were deleted and are no longer there, but that a change tells of."""


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an entity: what it was from `at` on; `entity` is None from its deletion on."""

    at: datetime
    entity: Entity | None


class Signal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A symptom seen on an entity. One Alertmanager alert becomes one signal."""

    fingerprint: str
    entity: str
    symptom: str
    """A symptom of the catalogue: errors, latency, unavailable, not_ready, …"""
    name: str
    """The name of the alert or of the detector."""
    starts_at: datetime
    ends_at: datetime | None = None
    """None while it is firing."""
    severity: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    confidence: float = 1.0
    """How sure the mapping to entity and symptom is, or how strong a detector's finding, in (0, 1]."""
    source: str = "alertmanager"
    """alertmanager, metric, event, log, trace."""
    held_s: float = 0.0
    """How long it had been there before it was reported, in seconds: an alert's `for`."""
    mapped: bool = True
    """False when no known entity was found: the operator is told, and diagnosis lists it as unmapped."""

    @property
    def firing(self) -> bool:
        return self.ends_at is None

    @property
    def key(self) -> str:
        """What makes receiving it again harmless: fingerprint, start and status."""
        status = "firing" if self.firing else "resolved"
        return f"{self.fingerprint}|{self.starts_at.isoformat()}|{status}"


class Burden(msgspec.Struct, frozen=True, kw_only=True):
    """How much more an entity lets its callers wait or fail since the onset, at the demand of now.

    `amount` adds up along calls: what a callee lets wait is part of what its caller lets wait.
    """

    entity: str
    symptom: Literal["latency", "errors"]
    amount: float
    """Calls × seconds, or calls that failed, for each sample after the onset; 0 when nothing got worse."""
    strength: float
    """How surely it got worse, in [0, 1]."""
    before: float | None
    """Mean seconds of a call, or share of calls that failed, before the onset; None when nobody called."""
    after: float | None
    calls_before: float = 0.0
    """Calls that it answered in a usual sample before the onset; 0: not known."""
    calls_after: float = 0.0
    """The same for the end of what was seen."""
    lost: float = 0.0
    """Calls in a sample that were made to it and that it did not answer, where that is known."""
    silent: bool = False
    """Whether what tells of its calls broke off after the onset: nothing of it could be seen any more."""
    step_s: float = 0.0
    """Seconds between two samples of its calls; 0: not known."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason for or against a hypothesis, in words for a person, with its weight in log-odds."""

    text: str
    weight: float = 0.0
    entity: str = ""
    fingerprint: str = ""


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claim that `fault` (a fault mode of the catalogue) of `entity` is behind what was seen."""

    entity: str
    fault: str
    """The likeliest fault mode of the entity."""
    probability: float
    """That this entity is a cause, with this or another fault."""
    fault_probability: float = 1.0
    """That it is this fault, if the entity is a cause."""
    other_faults: tuple[tuple[str, float], ...] = ()
    """Further fault modes of the entity and their probability, if the entity is a cause."""
    explains: tuple[str, ...] = ()
    """Fingerprints of the signals that it explains."""
    paths: tuple[tuple[str, ...], ...] = ()
    """One causal path for each explained signal, in storms for the first of them: entity ids from the cause to where
    the symptom was seen."""
    evidence_for: tuple[Evidence, ...] = ()
    evidence_against: tuple[Evidence, ...] = ()
    change: Change | None = None
    """The change that is held to have brought the fault about."""


class NextProbe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The question whose answer would tell most about which hypothesis is right."""

    entity: str
    fault: str
    promql: str = ""
    kubernetes: str = ""
    confirms: str
    """The answer that speaks for the fault."""
    gain_bits: float
    """Expected information gain over the hypotheses, in bits."""

    @property
    def question(self) -> str:
        return self.promql or self.kubernetes


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a probe: it counts for every fault that asks the same and is confirmed by the same."""

    question: str
    """As it was asked: PromQL, or what was read of Kubernetes."""
    confirms: str
    """The answer that speaks for a fault, in the words of the catalogue."""
    confirmed: bool | None
    """None: nothing was there to answer it, which speaks neither for nor against."""
    saw: str = ""
    """What was read, or why nothing could be."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Ranked, best first, one hypothesis for each entity.

    `causes` are the indexes of the hypotheses that together explain the incident, best first.
    """

    hypotheses: tuple[Hypothesis, ...]
    causes: tuple[int, ...] = ()
    unexplained: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    enough: bool = True
    """False: not enough evidence. The ranking stands, but nothing in it should be acted on before more is known."""
    next_probe: NextProbe | None = None

    def selected(self) -> Iterator[Hypothesis]:
        return (self.hypotheses[index] for index in self.causes)
