"""Evidence beside the alerts, asked for when an incident is diagnosed: metrics around the onset, Kubernetes events.

It is an addition: where Prometheus or Kubernetes does not answer, the diagnosis goes on with the alerts alone, and the
log of the process says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import structlog

from graph_schema.model import Burden, Signal, Subgraph
from kt.runtime import Runtime
from remediate.cluster import ClusterError

MOST_OBJECTS = 50
"""Objects whose conditions are read, the alerted ones first."""
MOST_NAMESPACES = 5
_log = structlog.get_logger(__name__)


class Beside(msgspec.Struct, frozen=True):
    signals: tuple[Signal, ...] = ()
    burdens: tuple[Burden, ...] = ()


def beside(runtime: Runtime, piece: Subgraph, alerts: Sequence[Signal]) -> Beside:
    """What the settings `diagnose.metrics` and `diagnose.events` ask for; nothing that an alert says already."""
    options = runtime.settings.diagnose
    known = [each for each in alerts if each.firing and each.mapped]
    if not known:
        return Beside()
    first = min(each.starts_at for each in known)
    metrics = _metrics(runtime, piece, known, first) if options.metrics else Beside()
    events = _events(runtime, piece, known, first) if options.events else []
    said = {(each.entity, each.symptom) for each in known}
    fresh: dict[tuple[str, str], Signal] = {}
    for each in sorted([*metrics.signals, *events], key=lambda signal: (-signal.confidence, signal.fingerprint)):
        if each.entity in piece.entities and (each.entity, each.symptom) not in said:
            fresh.setdefault((each.entity, each.symptom), each)
    return Beside(tuple(sorted(fresh.values(), key=lambda each: each.fingerprint)), metrics.burdens)


def _metrics(runtime: Runtime, piece: Subgraph, alerts: Sequence[Signal], first: datetime) -> Beside:
    from sense import prometheus
    from sense.metrics.evidence import AS_GIVEN, look  # numpy is slow to import
    from sense.metrics.rules import MetricRules

    start, end = first.timestamp() - AS_GIVEN.before_s, runtime.clock().timestamp()
    try:
        table = prometheus.read(
            runtime.settings.prometheus.url, prometheus.load(), list(piece.entities.values()), start, end
        )
    except prometheus.RangeUnavailable as error:
        _log.warning("metrics could not be read; diagnosed without them", error=str(error))
        return Beside()
    alerted = {(each.entity, each.symptom) for each in alerts}
    found = look(table, {}, MetricRules.load(), alerted=alerted, alerted_at=first.timestamp())
    return Beside(found.signals, found.burdens)


def _events(runtime: Runtime, piece: Subgraph, alerts: Sequence[Signal], first: datetime) -> list[Signal]:
    from sense.kubernetes import events

    rules = events.load()
    alerted = {each.entity for each in alerts}
    near = sorted(piece.entities.values(), key=lambda each: (each.id not in alerted, each.id))
    namespaces = list(dict.fromkeys(each.namespace for each in near if each.namespace))[:MOST_NAMESPACES]
    kinds = {each.kind for each in rules.conditions}
    try:
        told = [
            event
            for namespace in [*namespaces, "default"]  # where events about nodes are
            for event in runtime.cluster.list("Event", namespace, fields="type=Warning")
        ]
        things = [
            {"kind": each.kind, **found}
            for each in [each for each in near if each.kind in kinds][:MOST_OBJECTS]
            if (found := runtime.cluster.get(each.kind, each.name, each.namespace)) is not None
        ]
    except ClusterError as error:
        _log.warning("events could not be read; diagnosed without them", error=str(error))
        return []
    return [*events.of_events(told, first, rules), *events.of_conditions(things, first, rules)]
