"""Laws of diagnosis that hold for any cluster, alerts and changes, and properties of the scorer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from diagnose import Settings, diagnose
from diagnose.engine import consider
from diagnose.probes import information
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Change, Diagnosis, Entity, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.neo4j import Neo4jGraphStore
from graph_schema.stores.sqlite import SqliteGraphStore
from tests.conftest import Place

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
KINDS = ["Service", "Deployment", "Pod", "Node", "ConfigMap", "NetworkPolicy", "Widget", "Namespace", "Secret"]
RELATIONS = ["CALLS", "OWNS", "SELECTS", "RUNS_ON", "MOUNTS", "APPLIES_TO", "CONTAINS", "DEPENDS_ON", "ODD"]
SYMPTOMS = ["errors", "latency", "saturation", "not_ready", "crashlooping", "node_not_ready", "unknown"]

entities = st.integers(2, 9).flatmap(
    lambda count: st.lists(st.sampled_from(KINDS), min_size=count, max_size=count).map(
        lambda kinds: {
            f"{kind}/{number}": Entity(id=f"{kind}/{number}", kind=kind, name=f"x{number}")
            for number, kind in enumerate(kinds)
        }
    )
)


def signal(entity: str, symptom: str, after: int = 0, *, confidence: float = 1.0, name: str = "") -> Signal:
    return Signal(
        fingerprint=f"{symptom}@{entity}{name}", entity=entity, symptom=symptom, name=f"Kt{symptom}{name}",
        starts_at=T0 + timedelta(seconds=after), confidence=confidence,
    )  # fmt: skip


@st.composite
def incidents(draw: st.DrawFn) -> tuple[Subgraph, list[Signal]]:
    """Any small graph, cycles and loose ends included, with alerts on it and changes before."""
    found = draw(entities)
    ids = st.sampled_from(sorted(found))
    relations = draw(st.lists(st.builds(Relation, ids, ids, st.sampled_from(RELATIONS)), max_size=16, unique=True))
    signals = draw(
        st.lists(
            st.builds(signal, ids, st.sampled_from(SYMPTOMS), st.integers(0, 300)),
            max_size=5, unique_by=lambda each: each.fingerprint,
        )
    )  # fmt: skip
    changes = draw(
        st.lists(
            st.builds(
                lambda entity, kind, before: Change(entity=entity, kind=kind, at=T0 - timedelta(seconds=before)),
                ids, st.sampled_from(["rollout", "config", "policy", "delete", "odd"]), st.integers(0, 5000),
            ),
            max_size=3,
        )
    )  # fmt: skip
    return Subgraph(found, tuple(relations), tuple(changes)), signals


def ask(piece: Subgraph, signals: list[Signal], **more: object) -> Diagnosis:
    return diagnose(piece, signals, CATALOGUE, ONTOLOGY, now=T0, **more)  # type: ignore[arg-type]


def odds(piece: Subgraph, signals: list[Signal]) -> dict[tuple[str, str], tuple[float, frozenset[tuple[str, str]]]]:
    """(entity, fault) → (log-odds, what it explains)."""
    found = consider(
        piece, signals, CATALOGUE, ONTOLOGY, now=T0, settings=Settings(looked_at_closely=100, faults_within=1e9)
    )
    columns = found.weighing.columns
    leaks = np.full(len(columns), 0.02)
    return {
        (each.entity.id, fault.fault.name): (
            fault.base + float(columns.gained(fault.weights[None], leaks, Settings().same_entity)[0]),
            frozenset(unit.key for unit, weight in zip(columns.units, fault.weights, strict=True) if weight > 0),
        )
        for each in found.ranked
        for fault in each.faults
    }


@given(incidents(), st.randoms())
def test_the_order_of_alerts_does_not_matter(given_: tuple[Subgraph, list[Signal]], chance: object) -> None:
    piece, signals = given_
    before = ask(piece, signals)
    chance.shuffle(signals)  # type: ignore[attr-defined]  # Hypothesis hands out a random.Random without saying so
    assert ask(piece, signals) == before


@given(incidents(), st.integers(0, 4))
def test_a_duplicate_alert_changes_nothing(given_: tuple[Subgraph, list[Signal]], which: int) -> None:
    piece, signals = given_
    assume(len(signals) > which)
    assert ask(piece, [*signals, signals[which]]) == ask(piece, signals)


@given(incidents(), st.integers(0, 4))
def test_the_same_symptom_told_by_a_second_rule_moves_no_probability(
    given_: tuple[Subgraph, list[Signal]], which: int
) -> None:
    piece, signals = given_
    assume(len(signals) > which)
    again = msgspec.structs.replace(signals[which], fingerprint="again", name="Another")
    first, second = ask(piece, signals), ask(piece, [*signals, again])
    assert [(each.entity, each.fault, each.probability) for each in first.hypotheses] == [
        (each.entity, each.fault, each.probability) for each in second.hypotheses
    ]


@given(incidents(), st.sampled_from(SYMPTOMS), st.data())
def test_one_more_alert_never_lowers_what_explains_it_against_what_does_not(
    given_: tuple[Subgraph, list[Signal]], symptom: str, data: st.DataObject
) -> None:
    piece, signals = given_
    known = {(each.entity, each.symptom) for each in signals}
    # Which symptom was first is evidence of its own: one alone is no order, and a late one would make others the first.
    assume(len(known) > 1)
    entity = data.draw(st.sampled_from(sorted(piece.entities)))
    assume((entity, symptom) not in known)
    begun = min(each.starts_at for each in signals)
    more = msgspec.structs.replace(signal(entity, symptom, 0), starts_at=begun)
    before, after = odds(piece, signals), odds(piece, [*signals, more])
    both = [key for key in before if key in after]
    explaining = [key for key in both if (entity, symptom) in after[key][1]]
    others = [key for key in both if (entity, symptom) not in after[key][1]]
    for mine in explaining:
        for other in others:
            was, now = before[mine][0] - before[other][0], after[mine][0] - after[other][0]
            assert now >= was - 1e-6, (mine, other)


def test_a_second_cause_may_explain_what_none_of_the_likeliest_faults_did_at_first() -> None:
    """What is left to explain is weighed anew, and other faults of an entity come to the front."""
    found = {name: Entity(id=name, kind="Pod", name=name[-1]) for name in ("Pod/0", "Pod/1")}
    piece = Subgraph(found, (Relation("Pod/0", "Pod/1", "OWNS"),))
    alerts = [signal("Pod/0", "saturation"), signal("Pod/1", "saturation"), signal("Pod/1", "not_ready")]
    answer = ask(piece, [*alerts, signal("Pod/0", "not_ready", 400)])
    assert all(0 <= each.probability <= 1 for each in answer.hypotheses)
    assert len(answer.causes) > 1


@given(incidents())
def test_what_has_no_way_to_any_evidence_is_never_named(given_: tuple[Subgraph, list[Signal]]) -> None:
    piece, signals = given_
    lone = Entity(id="Deployment/alone", kind="Deployment", name="alone")
    piece = Subgraph({**piece.entities, lone.id: lone}, piece.relations, piece.changes)
    assert all(each.entity != lone.id for each in ask(piece, signals).hypotheses)
    beside: dict[str, set[str]] = {}
    for relation in piece.relations:
        beside.setdefault(relation.source, set()).add(relation.target)
        beside.setdefault(relation.target, set()).add(relation.source)
    reached = {each.entity for each in signals}
    front = set(reached)
    while front:
        front = {other for each in front for other in beside.get(each, ())} - reached
        reached |= front
    assert {each.entity for each in ask(piece, signals).hypotheses} <= reached


@given(incidents())
def test_the_answer_survives_json(given_: tuple[Subgraph, list[Signal]]) -> None:
    answer = ask(*given_)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Diagnosis) == answer


@given(incidents())
def test_the_ranking_is_sound(given_: tuple[Subgraph, list[Signal]]) -> None:
    piece, signals = given_
    answer = ask(piece, signals)
    rest = [each.probability for each in answer.hypotheses[len(answer.causes) :]]
    assert rest == sorted(rest, reverse=True)
    assert len({each.entity for each in answer.hypotheses}) == len(answer.hypotheses)
    for each in answer.hypotheses:
        assert 0 <= each.probability <= 1
        assert each.fault_probability + sum(share for _, share in each.other_faults) <= 1 + 1e-4
        for fingerprint, path in zip(each.explains, each.paths, strict=True):
            assert (path[0], path[-1]) == (each.entity, next(s.entity for s in signals if s.fingerprint == fingerprint))


def test_old_answers_in_logs_can_be_read() -> None:
    old = b'{"hypotheses": [{"entity": "a", "fault": "b", "probability": 0.5}], "causes": [0]}'
    answer = msgspec.json.decode(old, type=Diagnosis)
    assert (answer.enough, answer.next_probe, answer.hypotheses[0].fault_probability) == (True, None, 1.0)


def shop() -> Subgraph:
    found = {
        name: Entity(id=name, kind=name.split("/")[0], name=name.split("/")[1], namespace="shop")
        for name in ("Service/cart", "Deployment/cart", "Pod/cart-0", "Service/front", "ConfigMap/cart")
    }
    relations = (
        Relation("Deployment/cart", "Pod/cart-0", "OWNS"), Relation("Service/cart", "Pod/cart-0", "SELECTS"),
        Relation("Service/front", "Service/cart", "CALLS"), Relation("Pod/cart-0", "ConfigMap/cart", "MOUNTS"),
    )  # fmt: skip
    return Subgraph(found, relations)


@given(st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_strength_of_a_signal_counts_smoothly(one: float, other: float) -> None:
    weak, strong = sorted((one, other))

    def believed(confidence: float) -> float:
        answer = ask(shop(), [signal("Service/cart", "errors", confidence=confidence)])
        return next(each.probability for each in answer.hypotheses if each.entity == "Deployment/cart")

    less, more = believed(weak), believed(strong)
    assert less <= more + 1e-6
    assert more - less <= 6 * (strong - weak) + 0.01


@given(st.integers(0, 20_000), st.integers(0, 20_000))
def test_a_change_counts_less_the_longer_ago_it_was(one: int, other: int) -> None:
    late, early = sorted((one, other))

    def believed(before: int) -> float:
        change = Change(entity="ConfigMap/cart", at=T0 - timedelta(seconds=before), kind="config")
        whole = msgspec.structs.replace(shop(), changes=(change,))
        answer = ask(whole, [signal("Service/cart", "errors")])
        return next(each.probability for each in answer.hypotheses if each.entity == "ConfigMap/cart")

    assert believed(late) >= believed(early) - 1e-9


def test_silence_counts_only_where_somebody_watches() -> None:
    signals = [signal("Service/front", "latency")]

    def cart(rules: frozenset[str] | None) -> float:
        found = consider(shop(), signals, CATALOGUE, ONTOLOGY, now=T0, rules=rules)
        return next(
            fault.missing
            for each in found.ranked
            for fault in each.faults
            if each.entity.id == "Deployment/cart" and fault.fault.name == "Workload.BadRevision"
        )

    assert cart(frozenset()) == 0
    assert cart(frozenset(ONTOLOGY.symptoms)) < cart(None) < 0


def test_sick_monitoring_lowers_the_trust_and_is_not_the_cause_of_the_rest() -> None:
    watcher = Entity(id="Deployment/prometheus", kind="Deployment", name="prometheus", namespace="monitoring")
    piece = shop()
    piece = Subgraph({**piece.entities, watcher.id: watcher}, piece.relations)
    alone = ask(piece, [signal("Service/cart", "errors")])
    blind = ask(piece, [signal("Service/cart", "errors"), signal(watcher.id, "blind")])
    about = [each for each in blind.hypotheses if each.entity == watcher.id]
    assert [(each.fault, each.explains) for each in about] == [("Monitoring.Blind", (f"blind@{watcher.id}",))]
    assert alone.hypotheses[0].entity in {each.entity for each in blind.hypotheses}


def test_a_deleted_thing_that_others_still_name_is_found() -> None:
    whole = shop()
    left = {name: each for name, each in whole.entities.items() if name != "ConfigMap/cart"}
    gone = Change(entity="ConfigMap/cart", at=T0 - timedelta(minutes=2), kind="delete")
    answer = ask(Subgraph(left, whole.relations, (gone,)), [signal("Pod/cart-0", "config_error")])
    assert (answer.hypotheses[0].entity, answer.hypotheses[0].fault) == ("ConfigMap/cart", "ConfigMap.Missing")


def test_little_evidence_is_not_enough_and_a_probe_is_proposed() -> None:
    answer = ask(shop(), [signal("Service/front", "unknown", confidence=0.3)])
    assert not answer.enough
    assert answer.next_probe is not None
    assert answer.next_probe.gain_bits > 0


@given(st.floats(0.01, 0.99), st.floats(0.02, 0.98), st.floats(0.01, 0.97))
def test_no_answer_is_expected_to_tell_less_than_nothing(belief: float, hit: float, otherwise: float) -> None:
    assert -1e-9 <= information(belief, [1 - belief], hit, otherwise) <= 1
    assert math.isclose(information(belief, [1 - belief], hit, hit), 0, abs_tol=1e-9)


def test_a_hub_of_many_things_is_no_hindrance() -> None:
    hub = Entity(id="Node/hub", kind="Node", name="hub")
    pods = {f"Pod/{number}": Entity(id=f"Pod/{number}", kind="Pod", name=f"p{number}") for number in range(100_000)}
    relations = tuple(Relation(pod, hub.id, "RUNS_ON") for pod in pods)
    answer = ask(Subgraph({hub.id: hub, **pods}, relations), [signal("Pod/7", "latency"), signal("Pod/9", "not_ready")])
    assert answer.hypotheses


Open = Callable[[], GraphStore]


@pytest.fixture
def stores(tmp_path: Path, empty_neo4j: Place) -> Iterator[list[GraphStore]]:
    one = SqliteGraphStore(tmp_path / "graph.db", ONTOLOGY.fault_from)
    other = Neo4jGraphStore(empty_neo4j.uri, empty_neo4j.auth, ONTOLOGY.fault_from)
    with closing(one), closing(other):
        yield [one, other]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(incidents(), st.uuids())
def test_both_stores_lead_to_the_same_answer(
    stores: list[GraphStore], given_: tuple[Subgraph, list[Signal]], mark: object
) -> None:
    piece, signals = given_
    # Examples share the stores: each has names of its own.
    name = {each: f"{each}@{mark}" for each in piece.entities}
    things = [msgspec.structs.replace(each, id=name[each.id]) for each in piece.entities.values()]
    relations = [Relation(name[each.source], name[each.target], each.kind) for each in piece.relations]
    changes = [msgspec.structs.replace(each, entity=name[each.entity]) for each in piece.changes]
    told = [msgspec.structs.replace(each, entity=name[each.entity]) for each in signals]
    answers = []
    for store in stores:
        store.upsert(things, relations, at=T0 - timedelta(hours=2))
        store.record_changes(changes)
        seen = store.neighbourhood(sorted({each.entity for each in told}), hops=6)
        answers.append(ask(seen, told))
    assert answers[0] == answers[1]
