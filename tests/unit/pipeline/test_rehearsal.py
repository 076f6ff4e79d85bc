"""The rehearsal of a process that was just started: it changes nothing, and needs nothing that answers."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from graph_schema.model import Entity
from kt.pipeline.rehearsal import rehearse
from kt.runtime import Runtime
from kt.sections import Kubernetes, Prometheus
from kt.settings import Settings
from tests.unit.pipeline.desk import T0

EMPTY = re.compile(r'INSERT INTO "(schema_versions"|counts" VALUES\(0,0\)|sequence" VALUES\(0\))')
NODE = Entity(id="Node/n1", kind="Node", name="n1")


def kept(folder: Path) -> dict[str, list[str]]:
    """The rows that the stores hold, by file, but for those that an empty store has."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("*.db")):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            rows = [line for line in database.iterdump() if line.startswith("INSERT") and not EMPTY.match(line)]
            found |= {file.name: rows} if rows else {}
    return found


@pytest.mark.parametrize("filled", [True, False])
def test_it_writes_nothing_and_fails_at_nothing_where_nothing_answers(tmp_path: Path, filled: bool) -> None:
    nowhere = Kubernetes(kubeconfig=str(tmp_path / "none"))
    prometheus = Prometheus(url="http://127.0.0.1:9")
    runtime = Runtime(
        Settings(data_dir=str(tmp_path), broker_url="memory://", kubernetes=nowhere, prometheus=prometheus)
    )
    if filled:
        runtime.graph.upsert([NODE], at=T0)
    before = kept(tmp_path)
    rehearse(runtime)
    assert kept(tmp_path) == before
