"""Reads the PetShop data set: incidents of a shop on AWS with their metrics, call graph and true cause."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from graph_schema.model import Relation
from sense.metrics.series import Series, Table, series

BESIDE = Path(__file__).parents[2] / "shared" / "data" / "petshop"
SCENARIOS = ("low_traffic", "high_traffic")
SYMPTOMS = {"latency": "latency", "availability": "errors"}
WINDOW = 5
"""Samples of an issue."""
ALERT_AT = 2
"""The first sample after the alert, in nearly all issues."""


class Issue(msgspec.Struct, frozen=True):
    name: str
    table: Table
    alerted: str
    symptom: str
    alerted_at: float
    cause: str


class Scenario(msgspec.Struct, frozen=True):
    name: str
    calls: list[Relation]
    quiet: Table
    issues: list[Issue]


def folder(given: Path | None) -> Path:
    """Where the data set is: as given, else KT_PETSHOP, else beside the repository. Ends the program without it."""
    path = given or Path(os.environ.get("KT_PETSHOP", BESIDE))
    if not all((path / name / "graph.csv").is_file() for name in SCENARIOS):
        raise SystemExit(
            f"{path} holds no {' and '.join(SCENARIOS)} with a graph.csv each. Get the public data set (GitHub: "
            "amazon-science/petshop-root-cause-analysis, folder dataset) and name its folder in KT_PETSHOP or --data."
        )
    return path


def load(path: Path, name: str) -> Scenario:
    base = path / name
    return Scenario(name, _calls(base / "graph.csv"), _table(base / "noissue" / "metrics.csv"), list(_issues(base)))


def _issues(base: Path) -> Iterator[Issue]:
    for split in ("train", "test"):
        for place in sorted((base / split).iterdir(), key=lambda each: int(each.name.rpartition("_")[2])):
            truth = json.loads((place / "target.json").read_text())
            yield Issue(
                name=f"{base.name}/{split}/{place.name}",
                table=_table(place / "metrics.csv"),
                alerted=truth["target"]["node"],
                symptom=SYMPTOMS[truth["target"]["metric"]],
                alerted_at=float(truth["target"]["timestamp"]),
                cause=truth["root_cause"]["node"],
            )


def _table(path: Path) -> Table:
    """Three header rows (node, metric, statistic), then one row for each five minutes."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    body = [row for row in rows[3:] if row and row[0] != "unix_timestamp"]
    times = [float(row[0]) for row in body]
    found: Table = {}
    for column, (node, metric, statistic) in enumerate(zip(*(row[1:] for row in rows[:3]), strict=True), 1):
        values = [float(row[column]) if row[column] else float("nan") for row in body]
        found.setdefault(node, {})[f"{metric}_{statistic}".lower()] = series(times, values)
    return found


def _calls(path: Path) -> list[Relation]:
    """Adjacency: the row calls the column."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    return [
        Relation(row[0], callee, "CALLS")
        for row in rows[1:]
        for callee, there in zip(rows[0][1:], row[1:], strict=True)
        if float(there)
    ]


def quiet_windows(scenario: Scenario) -> Iterator[tuple[Table, Table, float]]:
    """(window as long as an issue, the quiet time without its neighbourhood, when an alert would have come)."""
    times = np.unique(np.concatenate([each.times for metrics in scenario.quiet.values() for each in metrics.values()]))
    for start in range(0, len(times) - WINDOW, WINDOW):
        first, last = times[start], times[start + WINDOW - 1] + 1
        before, after = times[max(0, start - WINDOW)], times[min(len(times) - 1, start + 2 * WINDOW)]
        window = _each(scenario.quiet, partial(Series.between, start=first, end=last))
        rest = _each(scenario.quiet, partial(_outside, first=before, last=after))
        yield window, rest, float(times[start + ALERT_AT])


def _each(table: Table, cut: Callable[[Series], Series]) -> Table:
    return {node: {metric: cut(of) for metric, of in metrics.items()} for node, metrics in table.items()}


def _outside(of: Series, first: float, last: float) -> Series:
    kept = (of.times < first) | (of.times >= last)
    return Series(of.times[kept], of.values[kept])
