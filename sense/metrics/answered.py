"""Which selectors of the queries were read anyway, and what they said: answers to questions that need not be asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from graph_schema.model import Entity
from sense.metrics.series import Table
from sense.prometheus import Query

LATEST = 3
"""Samples: what was so a moment ago counts."""


def latest(table: Table, queries: Collection[Query], entities: Mapping[str, Entity]) -> dict[str, tuple[float, ...]]:
    """PromQL selector of one thing, such as `kt:saturation{namespace="shop",service="cart"}` → its latest values."""
    by_metric = {(each.kind, each.metric): each for each in queries}
    found: dict[str, tuple[float, ...]] = {}
    for name, metrics in table.items():
        known = entities.get(name)
        for metric, values in metrics.items():
            query = by_metric.get((known.kind, metric)) if known else None
            if known is None or query is None or not len(values.values):
                continue
            labels = [(query.namespace, known.namespace)] if query.namespace else []
            inside = ",".join(f'{label}="{value}"' for label, value in [*labels, (query.name, known.name)])
            found[f"{query.query}{{{inside}}}"] = tuple(float(each) for each in values.values[-LATEST:])
    return found
