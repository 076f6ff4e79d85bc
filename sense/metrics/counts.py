"""Troubles in logs as series: so many of them in each part of the time, to find an onset by them."""

from __future__ import annotations

import numpy as np

from sense.logs import Logs
from sense.metrics.series import Series, Table

BINS = 120
SHORTEST_S = 1.0


def as_table(logs: Logs) -> Table:
    """Entity → log_errors: lines of trouble in each part of the time that the logs cover."""
    if not logs.spans:
        return {}
    begin, end = min(first for first, _ in logs.spans.values()), max(last for _, last in logs.spans.values())
    bins = max(1, min(BINS, int((end - begin) / SHORTEST_S)))
    edges = np.linspace(begin, max(end, begin + SHORTEST_S), bins + 1)
    counted: dict[str, list[np.typing.NDArray[np.intp]]] = {}
    for (entity, _), times in sorted(logs.troubles.items()):
        counted.setdefault(entity, []).append(np.histogram(np.unique(np.frombuffer(times)), edges)[0])
    middles = (edges[:-1] + edges[1:]) / 2
    return {
        entity: {"log_errors": Series(middles, np.sum(parts, axis=0).astype(float))}
        for entity, parts in counted.items()
    }
