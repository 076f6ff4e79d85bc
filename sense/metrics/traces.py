"""Traces as evidence: who calls whom, and how the calls into each entity went over time.

Spans are kept as columns of numbers, about 40 bytes each, so that a million of them fit anywhere. A span whose parent
belongs to another entity (or that has none) is a call into its entity: from these come the same series as from metrics
(calls, mean time, share that failed), and so the same detection and the same balance of burdens.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from sense.files import BadFile, records, seconds
from sense.metrics.series import Floats, Series, Table

Ints: TypeAlias = NDArray[np.int64]

BINS = 120
"""Into about so many parts the time of a file is divided."""
SHORTEST_S, LONGEST_S = 1.0, 300.0
EXPECTED = '{"trace_id", "span_id", "parent_id", "entity", "operation", "start", "duration_ms", "error"} in each line'


class _Span(msgspec.Struct):
    trace_id: str
    span_id: str
    entity: str
    start: str | float
    duration_ms: float
    parent_id: str | None = None
    operation: str = ""
    error: bool = False


class Traces(msgspec.Struct, frozen=True):
    table: Table
    """Entity → requests, latency_average (seconds), error_ratio, for each part of the time."""
    calls: dict[tuple[str, str], int]
    """(caller, callee) → how many calls were seen."""


def read(path: Path) -> Traces:
    """The calls in a file of spans. Raises `BadFile`."""
    numbers: dict[str, int] = {}
    keys, parents = array("q"), array("q")
    entities = array("q")
    starts, durations = array("d"), array("d")
    errors = array("b")
    for line, span in records(path, _Span, EXPECTED):
        if span.duration_ms < 0:
            raise BadFile(path, line, f"duration_ms is {span.duration_ms}; it cannot be negative")
        keys.append(hash((span.trace_id, span.span_id)))
        parents.append(hash((span.trace_id, span.parent_id)) if span.parent_id else 0)
        entities.append(numbers.setdefault(span.entity, len(numbers)))
        starts.append(_time(path, line, span.start))
        durations.append(span.duration_ms / 1000)
        errors.append(span.error)
    if not numbers:
        return Traces({}, {})
    names = list(numbers)
    # A span that was exported twice is one span; sorting by its key also finds parents by bisection.
    key, first = np.unique(np.frombuffer(keys, np.int64), return_index=True)
    parent = np.frombuffer(parents, np.int64)[first]
    entity = np.frombuffer(entities, np.int64)[first]
    start, duration = np.frombuffer(starts)[first], np.frombuffer(durations)[first]
    failed = np.frombuffer(errors, np.int8)[first].astype(float)
    where = np.searchsorted(key, parent).clip(max=len(key) - 1)
    caller = np.where((key[where] == parent) & (parent != 0), entity[where], -1)
    into = caller != entity
    within = into & (caller >= 0)
    pairs, counts = np.unique(np.stack([caller[within], entity[within]]), axis=1, return_counts=True)
    calls = {(names[a], names[b]): int(count) for a, b, count in zip(*pairs.tolist(), counts.tolist(), strict=True)}
    # In the order of time, so that sums do not depend on the order of lines.
    order = np.lexsort((failed, duration, start))
    order = order[into[order]]
    parts = _parts(names, entity[order], start[order], duration[order], failed[order])
    return Traces(dict(parts), dict(sorted(calls.items())))


def _parts(
    names: list[str], entity: Ints, start: Floats, duration: Floats, failed: Floats
) -> Iterator[tuple[str, dict[str, Series]]]:
    begin, end = float(start.min()), float(start.max())
    # Equal parts: a last one that is cut short would look like traffic that drops.
    bins = max(1, int((end - begin) / min(max((end - begin) / BINS, SHORTEST_S), LONGEST_S)))
    width = max((end - begin) / bins, SHORTEST_S)
    at = ((start - begin) // width).astype(int).clip(max=bins - 1)
    middles: Floats = begin + (np.arange(bins, dtype=float) + 0.5) * width
    for number, name in sorted(enumerate(names), key=lambda each: each[1]):
        mine = entity == number
        calls = np.bincount(at[mine], minlength=bins)
        if not calls.any():
            continue
        asked = calls > 0
        took = np.bincount(at[mine], weights=duration[mine], minlength=bins)[asked] / calls[asked]
        broke = np.bincount(at[mine], weights=failed[mine], minlength=bins)[asked] / calls[asked]
        yield (
            name,
            {
                "requests": Series(middles, calls.astype(float)),
                "latency_average": Series(middles[asked], took),
                "error_ratio": Series(middles[asked], broke),
            },
        )


def _time(path: Path, line: int, given: str | float) -> float:
    try:
        return seconds(str(given))
    except ValueError as error:
        raise BadFile(path, line, f"start “{given}” is neither RFC 3339 nor seconds since 1970") from error
