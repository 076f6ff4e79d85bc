"""Evidence beside the alerts, asked for when an incident is diagnosed: metrics around the onset, Kubernetes events and
conditions, what containers wrote, and which alert rules watch.

It is an addition with a budget of time: what does not answer within it is left out, the diagnosis goes on with what
there is, and says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from graph_schema.model import Burden, ProbeAnswer, Signal, Subgraph
from kt.pipeline.measured import refuted
from kt.pipeline.reading import read
from kt.runtime import Runtime
from kt.settings import BadSettings
from remediate.cluster import Cluster, ClusterError, Object
from sense.deadline import Deadline
from sense.files import moment
from sense.promql import metrics_in
from sense.rules import BadRules, fetch

if TYPE_CHECKING:
    from sense.logs import Logs

MOST_OBJECTS = 50
"""Objects whose conditions are read, the alerted ones first."""
MOST_NAMESPACES = 5
LONGEST_S = 2.0
"""For one question."""
_log = structlog.get_logger(__name__)


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    signals: tuple[Signal, ...] = ()
    burdens: tuple[Burden, ...] = ()
    onset: datetime | None = None
    """When it began, as metrics tell it; None: they were not asked, or nothing moved."""
    watched: tuple[str, ...] | None = None
    """Symptoms that healthy alert rules watch for; None: not known."""
    watching: frozenset[str] = frozenset()
    """The metrics that these rules ask for: all the time, and they alert by themselves."""
    refuted: tuple[ProbeAnswer, ...] = ()
    """Probes whose answer was read with the metrics, and speaks against."""
    written: Logs | None = None
    """What containers wrote; it is judged when the onset is known."""
    warnings: tuple[str, ...] = ()
    """What could not be asked."""


def beside(runtime: Runtime, piece: Subgraph, alerts: Sequence[Signal]) -> Beside:
    """What the settings `diagnose.metrics`, `.events`, `.logs` and `.rules` ask for and no alert says already.

    Takes no longer than `diagnose.budget_s` and a moment; never fails.
    """
    options = runtime.settings.diagnose
    known = [each for each in alerts if each.firing and each.mapped]
    if not known:
        return Beside()
    first = min(each.starts_at for each in known)
    deadline = Deadline(options.budget_s)
    looks: list[tuple[bool, str, Callable[[], Beside]]] = [
        (options.metrics, "metrics", lambda: _metrics(runtime, piece, known, first, deadline)),
        (options.events, "events", lambda: _events(runtime, piece, known, first, deadline)),
        (options.logs == "kubernetes", "logs", lambda: _written(runtime, piece, known, first, deadline)),
        (options.rules, "alert rules", lambda: _rules(runtime, deadline)),
    ]
    wanted = [(name, look) for on, name, look in looks if on]
    if not wanted:
        return Beside()
    # Side by side, so that one that is slow does not eat the time of the others.
    with ThreadPoolExecutor(len(wanted), thread_name_prefix="evidence") as pool:
        found = list(pool.map(lambda each: _willing(*each), wanted))
    onset = next((each.onset for each in found if each.onset is not None), None)
    found += [_judged(runtime, each.written, onset or first, piece) for each in found if each.written is not None]
    said = {(each.entity, each.symptom) for each in known}
    fresh: dict[tuple[str, str], Signal] = {}
    every = [signal for each in found for signal in each.signals]
    for signal in sorted(every, key=lambda each: (-each.confidence, each.fingerprint)):
        if signal.entity in piece.entities and (signal.entity, signal.symptom) not in said:
            fresh.setdefault((signal.entity, signal.symptom), signal)
    return Beside(
        signals=tuple(sorted(fresh.values(), key=lambda each: each.fingerprint)),
        burdens=tuple(burden for each in found for burden in each.burdens),
        onset=onset,
        watched=next((each.watched for each in found if each.watched is not None), None),
        watching=frozenset(name for each in found for name in each.watching),
        refuted=tuple(answer for each in found for answer in each.refuted),
        warnings=tuple(warning for each in found for warning in each.warnings),
    )


def _willing(name: str, look: Callable[[], Beside]) -> Beside:
    """Nothing that goes wrong here stands in the way of the diagnosis; it is told."""
    from sense.prometheus import RangeUnavailable

    try:
        return look()
    except (RangeUnavailable, ClusterError, BadRules, BadSettings) as error:
        _log.warning("evidence could not be read; diagnosed without it", what=name, error=str(error)[:300])
        return Beside(warnings=(f"diagnosed without {name}: {str(error)[:200]}",))
    except Exception as error:
        _log.exception("evidence could not be judged; diagnosed without it", what=name)
        return Beside(warnings=(f"diagnosed without {name}, a defect of KT: {str(error)[:200]}",))


def _metrics(
    runtime: Runtime, piece: Subgraph, alerts: Sequence[Signal], first: datetime, deadline: Deadline
) -> Beside:
    from sense import prometheus
    from sense.metrics.answered import latest
    from sense.metrics.evidence import AS_GIVEN, look  # numpy is slow to import
    from sense.metrics.rules import MetricRules

    lengths = msgspec.structs.replace(AS_GIVEN, before_s=runtime.settings.diagnose.look_back_s)
    start, end = first.timestamp() - lengths.before_s, runtime.clock().timestamp()
    near, queries = list(piece.entities.values()), prometheus.load()
    table = prometheus.read(runtime.settings.prometheus.url, queries, near, start, end, deadline)
    alerted = {(each.entity, each.symptom) for each in alerts}
    found = look(
        table, {}, MetricRules.load(), alerted=alerted, alerted_at=first.timestamp(), lengths=lengths
    )  # fmt: skip
    answers = refuted(runtime.catalogue, piece.entities, latest(table, queries, piece.entities))
    onset = None if found.onset is None else moment(found.onset)
    return Beside(signals=found.signals, burdens=found.burdens, onset=onset, refuted=answers)


def _events(runtime: Runtime, piece: Subgraph, alerts: Sequence[Signal], first: datetime, deadline: Deadline) -> Beside:
    from sense.kubernetes import events

    rules = events.load()
    cluster = Cluster(runtime.api_client, deadline.left(LONGEST_S))
    alerted = {each.entity for each in alerts}
    near = sorted(piece.entities.values(), key=lambda each: (each.id not in alerted, each.id))
    namespaces = list(dict.fromkeys(each.namespace for each in near if each.namespace))[:MOST_NAMESPACES]
    kinds = {each.kind for each in rules.conditions}
    told: list[Object] = []
    for namespace in [*namespaces, "default"]:  # where events about nodes are
        if not deadline.over:
            told += cluster.list("Event", namespace, fields="type=Warning")
    things = read(cluster, [each for each in near if each.kind in kinds][:MOST_OBJECTS], deadline)
    return Beside(signals=(*events.of_events(told, first, rules, things), *events.of_conditions(things, first, rules)))


def _written(
    runtime: Runtime, piece: Subgraph, alerts: Sequence[Signal], first: datetime, deadline: Deadline
) -> Beside:
    from kt.pipeline.written import written  # slow to import, and off unless it is asked for

    found = written(runtime, piece, alerts, first, deadline)
    return Beside(written=found.logs, warnings=found.warnings)


def _judged(runtime: Runtime, logs: Logs, onset: datetime, piece: Subgraph) -> Beside:
    from kt.pipeline.written import told

    return _willing("logs", lambda: Beside(signals=tuple(told(logs, onset, piece, runtime.ontology))))


def _rules(runtime: Runtime, deadline: Deadline) -> Beside:
    healthy = [each for each in fetch(runtime.settings.prometheus.url, deadline.left(LONGEST_S)) if each.healthy]
    if not healthy:
        # Alerts come from somewhere else then: nothing is known of what is watched.
        return Beside()
    symptoms = {runtime.mapping.meaning(each.name, each.labels).symptom for each in healthy}
    names = {name for each in healthy for name in metrics_in(each.query)}
    return Beside(watched=tuple(sorted(symptoms)), watching=frozenset(names))
