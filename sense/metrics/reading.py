"""Series out of CSV files in long format: `timestamp,entity,metric,value`, one sample a row."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from sense.files import BadFile, seconds
from sense.metrics.series import Table, series

COLUMNS = ("timestamp", "entity", "metric", "value")
EXPECTED = "the header timestamp,entity,metric,value"
MOST_SERIES = 200_000

_Samples: TypeAlias = "dict[tuple[str, str], tuple[array[float], array[float]]]"


def read(path: Path) -> Table:
    """The series of a file, or of all `*.csv` in a folder. An empty value is a gap. Raises `BadFile`.

    Holds 16 bytes for each sample.
    """
    samples: _Samples = {}
    for file in _files(path):
        _read(file, samples)
    table: Table = {}
    for entity, metric in sorted(samples):
        table.setdefault(entity, {})[metric] = series(*samples.pop((entity, metric)))
    return table


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.csv"))
    if not found:
        raise BadFile(path, None, "holds no *.csv file; each needs " + EXPECTED)
    return found


def _read(path: Path, samples: _Samples) -> None:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            times: dict[str, float] = {}
            for line, (at, entity, metric, value) in _rows(path, rows):
                # The samples of one moment stand together as a rule: its time is read once.
                when = times.get(at)
                if when is None:
                    if len(times) > 10_000:
                        times.clear()
                    when = times[at] = _time(path, line, at)
                key = (entity, metric)
                kept = samples.get(key)
                if kept is None:
                    if not entity or not metric:
                        raise BadFile(path, line, "the entity and the metric must have a name")
                    if len(samples) == MOST_SERIES:
                        raise BadFile(path, line, f"more than {MOST_SERIES} series; give fewer entities or metrics")
                    kept = samples[key] = (array("d"), array("d"))
                kept[0].append(when)
                kept[1].append(_value(path, line, value))
    except OSError as error:
        raise BadFile(path, None, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadFile(path, None, f"is not UTF-8 text: {error}; expected is a CSV file with {EXPECTED}") from error


def _rows(path: Path, rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """(line, the four cells in order) of each row below the header."""
    number = 0
    try:
        header = [each.strip().lower() for each in next(rows, [])]
        number = 1
        if sorted(header) != sorted(COLUMNS):
            raise BadFile(path, 1, f"the header is “{','.join(header)[:80]}”; expected is {EXPECTED}")
        order = [header.index(each) for each in COLUMNS]
        straight = order == [0, 1, 2, 3]
        for row in rows:
            number = rows.line_num  # type: ignore[attr-defined]  # csv.reader has it, Iterator does not say so
            if len(row) != len(COLUMNS):
                if not row:
                    continue
                raise BadFile(path, number, f"{len(row)} cells; expected are four: {','.join(header)}")
            yield number, row if straight else [row[each] for each in order]
    except csv.Error as error:
        raise BadFile(path, number + 1, f"not CSV: {error}") from error


def _time(path: Path, line: int, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise BadFile(
            path, line, f"timestamp “{text}” is neither RFC 3339 (2026-03-01T12:00:00Z) nor seconds since 1970"
        ) from error


def _value(path: Path, line: int, text: str) -> float:
    if not text or text.isspace():
        return float("nan")
    try:
        value = float(text)
    except ValueError as error:
        raise BadFile(path, line, f"value “{text}” is not a number") from error
    if value in (float("inf"), float("-inf")):
        return float("nan")
    return value
