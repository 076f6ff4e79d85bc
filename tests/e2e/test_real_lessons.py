"""A run of chaos on the real shop gives away a call that neither an annotation nor metrics tell of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graph_schema.model import Relation
from graph_schema.ontology import load_ontology
from kt.stores.places import open_graph
from tests.conftest import Place, Servers, in_neo4j
from tests.e2e.installation import until
from tests.e2e.real import SERVERS, OnRealCluster, beside_the_cluster

pytestmark = pytest.mark.real(*SERVERS)
FAULT, CALLER, CALLED = "Workload.ScaledToZero", "Service/shop/catalogue", "Service/shop/store"
CALL = Relation(CALLER, CALLED, "CALLS")
UNMEASURED = {
    "KT_PROMETHEUS__CALLS_EVERY_S": "0",
    "KT_CHAOS__ENABLED": "true",
    "KT_CHAOS__AFTERMATH_S": "10",
}


@pytest.fixture
def kt(tmp_path: Path, empty_neo4j: Place, servers: Servers) -> Iterator[OnRealCluster]:
    with beside_the_cluster(tmp_path, servers(*SERVERS), in_neo4j(empty_neo4j) | UNMEASURED) as one:
        one.start("worker")
        until(one.swept, "a worker works")
        yield one


def said(kt: OnRealCluster, *words: str) -> str:
    answer = kt.run(*words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def known(kt: OnRealCluster) -> bool:
    graph = open_graph(kt.settings, load_ontology())
    try:
        return CALL in graph.neighbourhood([CALLER], hops=1).relations
    finally:
        graph.close()


def calls(kt: OnRealCluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(kt, "knowledge", "diff", "--json"))["calls"]
    return found


def test_a_missing_call_is_discovered_by_a_run(kt: OnRealCluster, tmp_path: Path) -> None:
    assert not known(kt)
    values = ("namespace=shop", "workload=store", "seconds=20", "recover_s=30")
    given = [part for value in values for part in ("--var", value)]
    experiment = json.loads(said(kt, "chaos", "templates", "show", FAULT, *given))
    # Of what the run shows the steady state is no part.
    del experiment["steady-state-hypothesis"]
    file = tmp_path / "store-is-gone.json"
    file.write_text(json.dumps(experiment))
    kt.run("chaos", "run", str(file))
    until(lambda: bool(calls(kt)), "what the run raised is learned from")
    assert [(each["caller"], each["called"], each["runs_in_use"]) for each in calls(kt)] == [(CALLER, CALLED, 0)]
    said(kt, "knowledge", "accept", FAULT)
    until(lambda: known(kt), "the graph has the call")
