"""All that metrics tell of one incident."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import msgspec

from graph_schema.model import Burden, Signal
from sense.metrics.changes import Change, Span, burdens, changes, signals
from sense.metrics.onset import Onset, before_alert, in_metrics
from sense.metrics.rules import MetricRules
from sense.metrics.series import Table

SURE = 0.5
"""A change at least this sure becomes a signal."""
AS_GIVEN = Span(onset=0.0)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    onset: float | None
    """Seconds since 1970; None when nothing moved and no time was given."""
    changes: tuple[Change, ...] = ()
    signals: tuple[Signal, ...] = ()
    burdens: tuple[Burden, ...] = ()


def look(
    table: Table,
    quiet: Table,
    rules: MetricRules,
    *,
    alerted: Collection[tuple[str, str]] = (),
    alerted_at: float | None = None,
    at: Onset | None = None,
    lengths: Span = AS_GIVEN,
    source: str = "metric",
) -> Found:
    """Signals and burdens at the onset: `at`, else the one that `onset_in` finds.

    `alerted`: (entity, symptom) of the alerts; `quiet`: the same metrics from a time without an incident, may be empty;
    `lengths`: how much before and after the onset belongs to the incident (its onset is not looked at).
    """
    onset = at
    if onset is None:
        onset = onset_in([table], quiet, rules, alerted=alerted, alerted_at=alerted_at, lengths=lengths)
    if onset is None:
        return Found(onset=None)
    span = msgspec.structs.replace(lengths, onset=onset.at)
    table = _since(table, onset.since)
    found = tuple(changes(table, quiet, span, rules))
    return Found(
        onset=onset.at,
        changes=found,
        signals=tuple(signals(iter(found), SURE, source)),
        burdens=tuple(burdens(table, quiet, span, rules)),
    )


def onset_in(
    tables: Sequence[Table],
    quiet: Table,
    rules: MetricRules,
    *,
    alerted: Collection[tuple[str, str]] = (),
    alerted_at: float | None = None,
    lengths: Span = AS_GIVEN,
) -> Onset | None:
    """When it began: found before the first alert, else anywhere; None when nothing moves."""
    table = _joined(tables)
    if alerted_at is not None:
        return before_alert(table, alerted, alerted_at, rules)
    likeliest = _likeliest(table, quiet, rules, lengths)
    return None if likeliest is None else Onset(at=likeliest)


def _since(table: Table, start: float) -> Table:
    """What was measured from then on."""
    if start == -math.inf:
        return table
    return {
        entity: {metric: each.between(start, math.inf) for metric, each in metrics.items()}
        for entity, metrics in table.items()
    }


def _joined(tables: Sequence[Table]) -> Table:
    """All series in one table; the first table that has a metric of an entity is believed."""
    joined: Table = {}
    for table in tables:
        for entity, metrics in table.items():
            joined[entity] = {**metrics, **joined.get(entity, {})}
    return joined


def _likeliest(table: Table, quiet: Table, rules: MetricRules, lengths: Span) -> float | None:
    """Of the places where series move together the one after which most entities surely let wait or fail more."""
    best: tuple[float, float] | None = None
    for place in in_metrics(table, quiet, rules, lengths):
        span = msgspec.structs.replace(lengths, onset=place)
        weight = sum(each.strength for each in burdens(table, quiet, span, rules))
        if best is None or weight > best[0]:
            best = weight, place
    return best[1] if best else None
