"""Samples out of CSV files: what is read, and that a broken file gives one clear error with its place."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sense.files import BadFile
from sense.metrics.reading import read

HEADER = "timestamp,entity,metric,value"
NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=12).filter(
    lambda name: bool(name.strip())
)
ROWS = st.lists(
    st.tuples(st.integers(0, 4_000_000_000), NAMES, NAMES, st.floats(allow_nan=False, allow_infinity=False)),
    unique_by=lambda row: row[:3],
    max_size=20,
)


def written(path: Path, *rows: str, header: str = HEADER) -> Path:
    file = path / "m.csv"
    file.write_text("\n".join([header, *rows]))
    return file


def test_times_may_be_rfc_3339_or_seconds(tmp_path: Path) -> None:
    rows = ["2026-03-01T12:00:00Z,a,x,1", "1772366415,a,x,2", "2026-03-01T14:00:30+02:00,a,x,3"]
    assert read(written(tmp_path, *rows))["a"]["x"].times.tolist() == [1772366400, 1772366415, 1772366430]


def test_columns_may_stand_in_any_order_and_empty_values_are_gaps(tmp_path: Path) -> None:
    table = read(written(tmp_path, "1,x,10,a", ",x,20,a", "3,x,30,a", header="value,metric,timestamp,entity"))
    assert table["a"]["x"].values.tolist() == [1, 3]


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(f"{HEADER}\n1,a,x,1\n")
    (tmp_path / "two.csv").write_text(f"{HEADER}\n2,a,x,2\n")
    assert read(tmp_path)["a"]["x"].values.tolist() == [1, 2]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_what_is_written_is_read(tmp_path: Path, rows: list[tuple[int, str, str, float]]) -> None:
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER.split(","), *rows])
    back = [
        (int(at), entity, metric, value)
        for entity, metrics in read(tmp_path / "m.csv").items()
        for metric, series in metrics.items()
        for at, value in zip(series.times.tolist(), series.values.tolist(), strict=True)
    ]
    assert sorted(back) == sorted(rows)


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        (["soon,a,x,1"], 2, "“soon” is neither RFC 3339"),
        (["1,a,x,1", "2,a,x"], 3, "3 cells"),
        (["1,a,x,1", "2,a,x,many"], 3, "“many” is not a number"),
        (["1,a,x,1", "", "2,,x,1"], 4, "must have a name"),
        (["nan,a,x,1"], 2, "neither RFC 3339"),
        (["1e300,a,x,1"], 2, "neither RFC 3339"),
    ],
)
def test_a_broken_row_is_told_with_file_and_line(tmp_path: Path, rows: list[str], line: int, says: str) -> None:
    file = written(tmp_path, *rows)
    with pytest.raises(BadFile) as told:
        read(file)
    assert str(told.value).startswith(f"{file}:{line}: ")
    assert says in str(told.value)


def test_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        read(tmp_path / "none.csv")
    with pytest.raises(BadFile, match=r"holds no \*\.csv"):
        read(tmp_path)
    (tmp_path / "wide.csv").write_text("time,cart,store\n1,2,3\n")
    with pytest.raises(BadFile, match=r":1: the header is “time,cart,store”"):
        read(tmp_path / "wide.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(BadFile, match=r"binary\.csv"):
        read(tmp_path / "binary.csv")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_at_all_bring_it_down(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(HEADER.encode() + b"\n" + content)
    try:
        read(tmp_path / "m.csv")
    except BadFile as told:
        assert "m.csv" in str(told)  # noqa: PT017  # most contents are fine, or broken: no `raises`


def test_without_an_offset_a_time_is_utc(tmp_path: Path) -> None:
    at = read(written(tmp_path, "2026-03-01T12:00:00,a,x,1"))["a"]["x"].times[0]
    assert datetime.fromtimestamp(at, UTC).hour == 12
