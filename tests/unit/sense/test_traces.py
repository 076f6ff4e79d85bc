"""Traces as evidence: who calls whom, and the series of the calls into each entity."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sense.files import BadFile
from sense.metrics.traces import Traces, read


def span(trace: int, entity: str, parent: str | None, start: float, ms: float, *, error: bool = False) -> str:
    parent_id = f"{trace}-{parent}" if parent else None
    return json.dumps(
        {
            "trace_id": f"t{trace}", "span_id": f"{trace}-{entity}", "parent_id": parent_id, "entity": entity,
            "operation": "GET /", "start": start, "duration_ms": ms, "error": error,
        }
    )  # fmt: skip


def traced(tmp_path: Path, content: list[str]) -> Traces:
    file = tmp_path / "spans.jsonl"
    file.write_text("\n".join(content))
    return read(file)


def shop(traces: int) -> list[str]:
    found = []
    for number in range(traces):
        at = 1000.0 + number
        found += [
            span(number, "front", None, at, 30),
            span(number, "cart", "front", at + 0.01, 20, error=number % 4 == 0),
            span(number, "store", "cart", at + 0.02, 10),
        ]
    return found


def test_calls_between_entities_are_found_whatever_the_order(tmp_path: Path) -> None:
    content = shop(50)
    random.Random(3).shuffle(content)
    assert traced(tmp_path, content).calls == {("cart", "store"): 50, ("front", "cart"): 50}


def test_the_series_are_calls_mean_time_and_failed_share(tmp_path: Path) -> None:
    cart = traced(tmp_path, shop(40)).table["cart"]
    assert cart["requests"].values.sum() == 40
    assert cart["latency_average"].values.mean() == pytest.approx(0.020)
    assert (cart["error_ratio"].values * cart["requests"].values).sum() == pytest.approx(10)


def test_a_span_inside_its_entity_is_no_call(tmp_path: Path) -> None:
    inner = span(0, "front", None, 1000.0, 5) + "\n" + span(0, "front", "front", 1000.0, 5).replace("0-front", "0-x", 1)
    seen = traced(tmp_path, inner.splitlines())
    assert seen.calls == {}
    assert seen.table["front"]["requests"].values.sum() == 1


def test_spans_that_come_twice_change_nothing(tmp_path: Path) -> None:
    once, twice = traced(tmp_path, shop(30)), traced(tmp_path, [*shop(30), *shop(10)])
    assert once.calls == twice.calls
    for entity, metrics in once.table.items():
        for metric, series in metrics.items():
            assert series.values.tolist() == twice.table[entity][metric].values.tolist()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[]", "expected is"),
        (span(1, "a", None, 1.0, -3), "cannot be negative"),
        (span(1, "a", None, 1.0, 3).replace("1.0", '"never"'), "“never”"),
    ],
)
def test_a_broken_span_is_told_with_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(BadFile, match=r"spans\.jsonl:2: ") as told:
        traced(tmp_path, [span(0, "a", None, 1.0, 1), line])
    assert says in str(told.value)


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert traced(tmp_path, []) == Traces({}, {})
