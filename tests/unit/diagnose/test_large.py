"""In a large cluster what stands above everything is not blamed for whatever goes astray, nor is it immune."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest import mock

import numpy as np
import pytest
from hypothesis import given

from diagnose import Settings, candidates, diagnose
from diagnose.evidence import Unit
from diagnose.reached import Columns
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Change, Diagnosis, Entity, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology
from tests.storms import storms

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVICES, ZONES, NODES = 300, 3, 18
GUILTY = "Deployment/0"
RULES = frozenset({"errors", "latency", "node_not_ready", "replicas_mismatch"})


def cluster(*, down: int = -1) -> Subgraph:
    """Services of two pods each on nodes in three zones; the nodes of zone `down` are not ready."""
    entities: dict[str, Entity] = {}
    relations = []

    def add(kind: str, name: object, **states: object) -> str:
        key = f"{kind}/{name}"
        entities[key] = Entity(id=key, kind=kind, name=str(name), properties=states)
        return key

    for number in range(NODES):
        node = add("Node", number, ready=number % ZONES != down)
        relations.append(Relation(node, add("Zone", number % ZONES), "IN"))
    for number in range(SERVICES):
        service, owner = add("Service", number), add("Deployment", number, replicas=2, ready=2)
        for place in range(2):
            pod = add("Pod", f"{number}-{place}")
            node = f"Node/{(number * 7 + place * 5) % NODES}"
            relations += [
                Relation(owner, pod, "OWNS"),
                Relation(service, pod, "SELECTS"),
                Relation(pod, node, "RUNS_ON"),
            ]
    return Subgraph(entities, tuple(relations), (Change(entity=GUILTY, at=T0 - timedelta(seconds=60), kind="scale"),))


def alert(entity: str, symptom: str = "errors") -> Signal:
    return Signal(
        fingerprint=f"{symptom}@{entity}", entity=entity, symptom=symptom, name="a", starts_at=T0, confidence=0.95
    )


def first(piece: Subgraph, *signals: Signal, settings: Settings | None = None) -> str:
    settings = settings or Settings()
    return diagnose(piece, signals, CATALOGUE, ONTOLOGY, now=T0, rules=RULES, settings=settings).hypotheses[0].entity


ASTRAY = [alert(f"Service/{number}", "latency") for number in (7, 22, 37, 52)]


def test_a_zone_is_not_blamed_for_a_few_that_complain_among_many_that_do_not() -> None:
    piece = cluster()
    assert not first(piece, alert("Service/0"), *ASTRAY).startswith("Zone/")
    lenient = Settings(narrow=1e9, storm=1e15, expected_by_rule=Settings().expected)
    assert first(piece, alert("Service/0"), *ASTRAY, settings=lenient).startswith("Zone/")


def test_a_zone_whose_nodes_and_services_are_all_sick_is_blamed() -> None:
    sick = [alert(f"Node/{number}", "node_not_ready") for number in range(NODES) if number % ZONES == 1]
    behind = range(0, SERVICES, 2)
    assert first(cluster(down=1), *sick, *(alert(f"Service/{number}") for number in behind)) == "Zone/1"


@pytest.mark.parametrize("more", [12, 50, 200])
def test_each_further_witness_of_a_storm_adds_less_but_adds(more: int) -> None:
    def gained(count: int, storm: float) -> float:
        units = [
            Unit(
                entity=f"Service/{number}",
                symptom="errors",
                confidence=1.0,
                onset=T0,
                reported=T0,
                signals=(),
                leak=0.02,
            )
            for number in range(count)
        ]
        columns = Columns(units, storm)
        return float(columns.gained(np.full((1, count), 0.7), columns.leak, 0.5)[0])

    assert gained(more, 30.0) < gained(2 * more, 30.0) < 2 * gained(more, 30.0)
    assert gained(more, 30.0) < gained(more, 1e15)
    assert gained(more, 1e15) == pytest.approx(more * gained(1, 30.0))


@given(storms())
def test_letting_go_of_candidates_that_are_not_needed_changes_no_answer(given_: tuple[Subgraph, list[Signal]]) -> None:
    piece, signals = given_
    few = Settings(looked_at_closely=3, for_each_signal=1)

    def answer(held: int) -> Diagnosis:
        with mock.patch.object(candidates, "MOST_HELD", held):
            return diagnose(piece, signals, CATALOGUE, ONTOLOGY, now=T0, settings=few)

    assert answer(held=4) == answer(held=10**9)
