"""Diagnosis on a small shop: what is named as the cause, and the laws that hold for any input."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose import diagnose
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Change, Diagnosis, Entity, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHAIN = {"front": 2, "cart": 2, "catalogue": 3, "store": 1}


def shop() -> Subgraph:
    """front → cart → catalogue → store, pods spread over two nodes."""
    entities: list[Entity] = [Entity(id=f"Node/n{number}", kind="Node", name=f"n{number}") for number in (1, 2)]
    relations: list[Relation] = []
    names = list(CHAIN)
    for name, pods in CHAIN.items():
        service, deployment, owned = f"Service/{name}", f"Deployment/{name}", f"ReplicaSet/{name}-1"
        entities += [
            Entity(id=service, kind="Service", name=name, namespace="shop"),
            Entity(id=deployment, kind="Deployment", name=name, namespace="shop", properties={"replicas": pods}),
            Entity(id=owned, kind="ReplicaSet", name=f"{name}-1", namespace="shop"),
        ]
        relations.append(Relation(deployment, owned, "OWNS"))
        for number in range(pods):
            pod = f"Pod/{name}-{number}"
            entities.append(Entity(id=pod, kind="Pod", name=f"{name}-{number}", namespace="shop"))
            relations += [
                Relation(owned, pod, "OWNS"),
                Relation(service, pod, "SELECTS"),
                Relation(pod, f"Node/n{number % 2 + 1}", "RUNS_ON"),
            ]
    relations += [Relation(f"Service/{a}", f"Service/{b}", "CALLS") for a, b in itertools.pairwise(names)]
    return Subgraph({entity.id: entity for entity in entities}, tuple(relations))


def signal(entity: str, symptom: str, after: float = 0.0, *, mapped: bool = True) -> Signal:
    return Signal(
        fingerprint=f"{symptom}@{entity}",
        entity=entity,
        symptom=symptom,
        name=f"Kt{symptom}",
        starts_at=T0 + timedelta(seconds=after),
        mapped=mapped,
    )


def change(entity: str, kind: str, before: float) -> Change:
    return Change(entity=entity, at=T0 - timedelta(seconds=before), kind=kind, detail="for a reason")


def ask(signals: Iterable[Signal], changes: Iterable[Change] = (), piece: Subgraph | None = None) -> Diagnosis:
    whole = piece or shop()
    whole = Subgraph(whole.entities, whole.relations, tuple(changes))
    return diagnose(whole, signals, CATALOGUE, ONTOLOGY, now=T0 + timedelta(minutes=1))


def named(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return [(each.entity, each.fault) for each in diagnosis.selected()]


INNOCENT = (change("Deployment/front", "rollout", 3000), change("Deployment/store", "scale", 900))


def test_a_bad_rollout_seen_at_its_callers_is_named() -> None:
    diagnosis = ask(
        [signal("Service/cart", "errors"), signal("Service/front", "errors", 2)],
        [change("Deployment/cart", "rollout", 20), *INNOCENT],
    )
    assert named(diagnosis) == [("Deployment/cart", "Workload.BadRevision")]
    best = diagnosis.hypotheses[0]
    assert best.probability > 0.6
    assert best.explains == ("errors@Service/cart", "errors@Service/front")
    assert best.paths[1] == (
        "Deployment/cart",
        "ReplicaSet/cart-1",
        *[pod for pod in best.paths[1] if pod.startswith("Pod/cart")],
        "Service/cart",
        "Service/front",
    )
    assert best.change is not None
    assert len(diagnosis.hypotheses) >= 5


@pytest.mark.parametrize(("detail", "fewer"), [("3 → 1 replicas", True), ("9 → 10 replicas", False)])
def test_only_a_change_to_fewer_replicas_has_scaled_down(detail: str, fewer: bool) -> None:
    scaled = Change(entity="Deployment/catalogue", at=T0 - timedelta(seconds=5), kind="scale", detail=detail)
    diagnosis = ask([signal("Service/catalogue", "saturation"), signal("Service/catalogue", "latency")], [scaled])
    (best,) = named(diagnosis)
    assert (best[0], best[1] == "Workload.ScaledDown") == ("Deployment/catalogue", fewer)


def test_an_overloaded_service_is_named_though_its_callers_wait_and_saturate() -> None:
    diagnosis = ask(
        [
            signal("Service/catalogue", "saturation"),
            signal("Service/catalogue", "latency"),
            signal("Service/cart", "latency", 1),
            signal("Service/front", "latency", 1),
        ],
        INNOCENT,
    )
    assert named(diagnosis) == [("Deployment/catalogue", "Workload.Overload")]
    assert diagnosis.hypotheses[0].probability > 0.6


def test_a_dead_node_is_named_with_what_it_takes_along() -> None:
    diagnosis = ask(
        [
            signal("Node/n1", "node_not_ready"),
            signal("Deployment/cart", "replicas_mismatch", 3),
            signal("Deployment/front", "replicas_mismatch", 3),
            signal("Deployment/store", "replicas_mismatch", 3),
        ],
        INNOCENT,
    )
    assert named(diagnosis) == [("Node/n1", "Node.NotReady")]
    assert diagnosis.hypotheses[0].probability > 0.9
    assert diagnosis.unexplained == ()


def test_two_faults_at_once_come_out_as_two() -> None:
    diagnosis = ask(
        [signal("Service/front", "errors"), signal("Service/store", "saturation"), signal("Service/store", "latency")],
        [change("Deployment/front", "rollout", 15)],
    )
    assert set(named(diagnosis)) == {
        ("Deployment/front", "Workload.BadRevision"),
        ("Deployment/store", "Workload.Overload"),
    }


def test_a_sick_pod_does_not_speak_for_the_node() -> None:
    diagnosis = ask([signal("Pod/cart-0", "crashlooping"), signal("Pod/cart-0", "restarts")])
    assert diagnosis.hypotheses[0].entity in ("Pod/cart-0", "Deployment/cart")
    assert not any(each.entity.startswith("Node/") for each in diagnosis.selected())


def test_a_change_after_the_symptom_is_no_cause() -> None:
    diagnosis = ask([signal("Service/cart", "errors")], [change("Deployment/cart", "rollout", -300)])
    assert all(each.change is None for each in diagnosis.hypotheses)


def test_what_nobody_knows_is_told_and_never_blamed() -> None:
    diagnosis = ask([signal("Unmapped/x", "errors", mapped=False), signal("Service/gone", "errors")])
    assert set(diagnosis.unmapped) == {"errors@Unmapped/x", "errors@Service/gone"}
    assert diagnosis.hypotheses == ()
    assert diagnosis.causes == ()


def test_restarts_of_a_caller_are_not_blamed_on_what_it_calls() -> None:
    diagnosis = ask([signal("Pod/front-0", "restarts")], [change("Deployment/cart", "rollout", 20)])
    assert all("cart" not in each.entity for each in diagnosis.hypotheses)


def test_an_unknown_kind_is_kept_with_a_warning() -> None:
    piece = shop()
    queue = Entity(id="Kafka/orders", kind="Kafka", name="orders")
    piece = Subgraph(
        {**piece.entities, queue.id: queue}, (*piece.relations, Relation("Service/cart", queue.id, "READS"))
    )
    diagnosis = ask([signal("Service/cart", "errors")], piece=piece)
    assert any("Kafka" in warning for warning in diagnosis.warnings)
    assert any("READS" in warning for warning in diagnosis.warnings)


SOME_SIGNALS = st.lists(
    st.builds(
        signal,
        st.sampled_from(sorted(shop().entities)),
        st.sampled_from(sorted(CATALOGUE.symptoms)),
        st.integers(0, 60).map(float),
    ),
    max_size=6,
    unique_by=lambda each: each.fingerprint,
)
SOME_CHANGES = st.lists(
    st.builds(change, st.sampled_from(sorted(shop().entities)), st.sampled_from(["rollout", "scale", "config"]),
              st.integers(-60, 4000).map(float)),
    max_size=4,
)  # fmt: skip


@given(SOME_SIGNALS, SOME_CHANGES, st.randoms())
def test_the_order_of_the_input_never_matters(signals: list[Signal], changes: list[Change], chance: object) -> None:
    before = ask(signals, changes)
    shuffle = chance.shuffle  # type: ignore[attr-defined]  # Hypothesis hands out a random.Random without saying so
    shuffle(signals)
    shuffle(changes)
    piece = shop()
    entities, relations = list(piece.entities.items()), list(piece.relations)
    shuffle(entities)
    shuffle(relations)
    assert ask(signals, changes, Subgraph(dict(entities), tuple(relations))) == before


@given(SOME_SIGNALS, SOME_CHANGES)
def test_every_answer_is_sound(signals: list[Signal], changes: list[Change]) -> None:
    diagnosis = ask(signals, changes)
    fingerprints = {each.fingerprint for each in signals}
    assert set(diagnosis.unexplained) | set(diagnosis.unmapped) <= fingerprints
    for each in diagnosis.hypotheses:
        assert 0 <= each.probability <= 1
        assert set(each.explains) <= fingerprints
        for fingerprint, path in zip(each.explains, each.paths, strict=True):
            assert path[0] == each.entity
            assert path[-1] == fingerprint.split("@")[1]
    keys = [(each.entity, each.fault) for each in diagnosis.hypotheses]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("extra", ["Service/other", "Node/n9"])
def test_an_unrelated_healthy_thing_changes_nothing(extra: str) -> None:
    signals = [signal("Service/cart", "errors"), signal("Service/front", "errors")]
    piece = shop()
    more = Entity(id=extra, kind=extra.split("/")[0], name=extra.split("/")[1])
    assert ask(signals) == ask(signals, piece=Subgraph({**piece.entities, extra: more}, piece.relations))
