"""What runs of chaos teach of paths: counting, merging, and what it does to a diagnosis."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np

from diagnose import diagnose
from diagnose.candidates import faults_of
from diagnose.engine import consider
from diagnose.evidence import gather
from diagnose.facts import Facts
from diagnose.learning import Counts, about, merge, usable
from diagnose.paths import Paths
from diagnose.propagation import (
    ANY,
    MOST,
    Raised,
    Shown,
    Strengths,
    bent,
    face,
    increments,
    is_path,
    near,
    paths,
    raised,
)
from diagnose.reached import Columns, Reached
from diagnose.score import Weighing
from diagnose.wiring import Wiring
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Diagnosis, Entity, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZERO, ONE_LEFT, IMAGE = "Workload.ScaledToZero", "Workload.ScaledDown", "Workload.ImageMissing"
CART, PAY, FRONT = "Service/shop/cart", "Service/shop/pay", "Service/shop/front"


def shop() -> Subgraph:
    """front calls cart and pay, each a Deployment with two pods; cart has a ConfigMap of its own."""
    entities: dict[str, Entity] = {}
    relations: list[Relation] = []

    def add(kind: str, name: str) -> str:
        found = Entity(id=f"{kind}/shop/{name}", kind=kind, name=name, namespace="shop")
        entities[found.id] = found
        return found.id

    for name in ("front", "cart", "pay"):
        service, workload, revision = add("Service", name), add("Deployment", name), add("ReplicaSet", f"{name}-1")
        relations.append(Relation(workload, revision, "OWNS"))
        for number in (1, 2):
            pod = add("Pod", f"{name}-1-{number}")
            relations += [Relation(revision, pod, "OWNS"), Relation(service, pod, "SELECTS")]
    config = add("ConfigMap", "cart-config")
    relations += [Relation(f"Pod/shop/cart-1-{number}", config, "MOUNTS") for number in (1, 2)]
    relations += [Relation(FRONT, callee, "CALLS") for callee in (CART, PAY)]
    return Subgraph(entities, tuple(relations))


PIECE = shop()


def signal(entity: str, symptom: str, after_s: float = 0) -> Signal:
    return Signal(
        fingerprint=f"{symptom}@{entity}", entity=entity, symptom=symptom, name=symptom,
        starts_at=T0 + timedelta(seconds=after_s),
    )  # fmt: skip


def learned(times: int, *found: Raised, fault: str = ZERO, entity: str = CART) -> dict[str, int]:
    total: Counter[str] = Counter()
    for _ in range(times):
        total.update(increments(fault, entity, found))
    return dict(total)


def on(entity: str, symptom: str = "errors", after_s: float = 10) -> Raised:
    return Raised(entity=entity, symptom=symptom, after_s=after_s)


def test_others_feel_a_thing_at_the_only_service_before_it() -> None:
    wiring = Wiring(PIECE, ONTOLOGY)
    for entity in ("Deployment/shop/cart", "ConfigMap/shop/cart-config", CART):
        assert face(entity, wiring, PIECE, ONTOLOGY) == CART
    shared = Relation("Pod/shop/pay-1-1", "ConfigMap/shop/cart-config", "MOUNTS")
    both = Subgraph(PIECE.entities, (*PIECE.relations, shared))
    assert face("ConfigMap/shop/cart-config", Wiring(both, ONTOLOGY), both, ONTOLOGY) == "ConfigMap/shop/cart-config"


def test_what_fired_before_a_run_was_not_raised_by_it_and_pods_count_as_their_workload() -> None:
    found = raised(
        [signal(FRONT, "errors", -5), signal("Pod/shop/cart-1-1", "not_ready", 30),
         signal("Pod/shop/cart-1-2", "not_ready", 20), signal("Service/shop/gone", "errors", 1)],
        PIECE, ONTOLOGY, T0,
    )  # fmt: skip
    assert found == [on("Deployment/shop/cart", "not_ready", 20)]


def test_a_run_that_raised_nothing_teaches_nothing() -> None:
    assert increments(ZERO, CART, []) == {}


def test_paths_tell_how_often_and_how_late() -> None:
    known = Counter(learned(2, on(FRONT), on(CART, "unavailable")))
    known.update(learned(1, on(CART, "unavailable", 40)))
    first, second = paths(known)
    assert (first.entity, first.symptom, first.raised, first.runs, first.after_s) == (CART, "unavailable", 3, 3, 20)
    assert (second.entity, second.raised, second.runs, second.after_s) == (FRONT, 2, 3, 10)


def test_paths_are_accepted_and_forgotten_with_their_fault_and_stay_apart_from_other_things() -> None:
    seen = {key: {"here": count} for key, count in learned(4, on(FRONT)).items()} | {f"cause|{IMAGE}": {"here": 3}}
    accepted = merge(Counts(seen=seen), Counts(accepted=about(Counts(seen=seen), [ZERO])))
    used = usable(accepted, "accepted")
    assert used == learned(4, on(FRONT))
    assert usable(merge(accepted, Counts(forgotten=about(accepted, [ZERO]))), "accepted") == {}
    assert all(is_path(key) for key in used)
    assert not is_path(f"cause|{IMAGE}")
    assert near(used, {CART}) == used
    assert near(used, {PAY}) == {}


def asked(known: dict[str, int], *signals: Signal) -> Diagnosis:
    return diagnose(PIECE, signals, CATALOGUE, ONTOLOGY, now=T0, strengths=Strengths(known, CATALOGUE))


def probability(answer: Diagnosis, name: str) -> float:
    return next(each.probability for each in answer.hypotheses if each.entity == f"Deployment/shop/{name}")


def test_of_two_callees_the_one_is_blamed_that_runs_have_shown_to_raise_this_on_the_caller() -> None:
    alerts = [signal(FRONT, "errors")]
    before = asked({}, *alerts)
    assert probability(before, "cart") == probability(before, "pay")
    known = learned(8, on(FRONT), on(CART, "unavailable")) | learned(8, on(PAY, "unavailable"), entity=PAY)
    after = asked(known, *alerts)
    assert probability(after, "cart") > 1.5 * probability(after, "pay")
    blamed = next(each for each in after.hypotheses if each.entity == "Deployment/shop/cart")
    assert any("8 chaos runs" in each.text for each in blamed.evidence_for)


def silent(answer: Diagnosis) -> float:
    blamed = next(each for each in answer.hypotheses if each.entity == "Deployment/shop/cart")
    return sum(each.weight for each in blamed.evidence_against if each.entity == FRONT)


def test_the_silence_of_what_never_complains_says_nothing_and_of_what_does_no_more_than_usual() -> None:
    alerts, own = [signal("Deployment/shop/cart", "replicas_mismatch")], on("Deployment/shop/cart", "replicas_mismatch")
    usual = silent(asked({}, *alerts))
    assert usual < silent(asked(learned(8, own), *alerts)) <= 0
    assert silent(asked(learned(8, own, on(FRONT)), *alerts)) == usual


def test_what_all_runs_have_shown_alike_makes_what_was_disturbed_no_likelier_than_what_was_not() -> None:
    alerts = [signal(FRONT, "errors")]
    before = asked({}, *alerts)
    # All that could complain of its own does, so that no silence is explained.
    own = [(each, on(each, "unavailable"), on(each.replace("Service", "Deployment"))) for each in (CART, PAY)]
    both = [learned(20, on(FRONT), *its, entity=entity) for entity, *its in own]
    after = asked(both[0] | both[1], *alerts)
    for name in ("cart", "pay", "front"):
        assert abs(probability(after, name) - probability(before, name)) < 0.01


def test_faults_that_nobody_knows_teach_nothing() -> None:
    assert not Strengths({}, CATALOGUE)
    assert not Strengths(learned(3, on(FRONT), fault="Gone.Fault"), CATALOGUE)
    assert Strengths(learned(3, on(FRONT)), CATALOGUE).runs(CART) == 3


def test_no_factor_passes_its_bounds_and_nothing_becomes_certain() -> None:
    wiring = Wiring(PIECE, ONTOLOGY)
    columns = Columns(gather([signal(FRONT, "errors")], T0, lambda _: 0.02).units)
    paths_ = Paths(PIECE, ONTOLOGY, wiring, 7)
    reached = Reached(columns, paths_)
    never = learned(50, on(PAY, "unavailable"), entity=PAY)
    known = Strengths(learned(50, on(FRONT)) | never, CATALOGUE)
    shown = Shown(known, wiring, PIECE, ONTOLOGY, columns, reached, paths_.moves.modes)
    assert shown.disturbed("Deployment/shop/cart") == CART
    rows = [reached.names.index(each) for each in (PAY, CART, "Deployment/shop/cart", FRONT)]
    lower, higher, same, none = shown.factors(np.array(rows))[:, 0]
    assert 1 / MOST <= lower < 1 == none < higher == same <= MOST
    strengths = np.array([0.6, 0.6, 0.99])
    assert bent(strengths, np.array([lower, higher, higher])).tolist() == [0.6 * lower, min(0.97, 0.6 * higher), 0.99]


def test_what_is_learned_leaves_the_most_that_faults_can_do_no_less_than_what_each_does() -> None:
    alerts = [signal(FRONT, "errors"), signal(FRONT, "latency"), signal(CART, "errors"), signal(PAY, "latency")]
    alerts += [signal(f"Deployment/shop/{name}", "replicas_mismatch") for name in ("cart", "pay")]
    known = learned(50, on(FRONT)) | learned(50, on(PAY, "unavailable"), entity=PAY)
    found = consider(PIECE, alerts, CATALOGUE, ONTOLOGY, now=T0, strengths=Strengths(known, CATALOGUE)).weighing
    usual = consider(PIECE, alerts, CATALOGUE, ONTOLOGY, now=T0).weighing
    rows = range(len(found.reached.names))
    able = [faults_of(PIECE.entities[name], CATALOGUE, ONTOLOGY, found.wiring) for name in found.reached.names]
    pairs = [(row, fault) for row in rows for fault in able[row]]

    def facts(weighing: Weighing) -> Facts:
        return Facts(
            [fault for _, fault in pairs], weighing.columns, weighing.reached, weighing.paths.moves.mode,
            weighing.settings, weighing.shown,
        )  # fmt: skip

    each = np.array([row for row, _ in pairs]), np.array([facts(found).number[fault.name] for _, fault in pairs])
    weights, own = facts(found).weights(*each)
    before, own_before = facts(usual).weights(*each)
    asked = [row for row in rows if able[row]]
    most = np.zeros((len(asked), len(found.columns)))
    for place, unit, weight in facts(found).most(asked, [able[row] for row in asked]):
        most[place, unit] = weight
    assert (most[[asked.index(row) for row, _ in pairs]] >= weights).all()
    assert (weights > before).any()
    assert (weights < before).any()
    assert (own == own_before).all()
    assert (weights[own] == before[own]).all()


def test_nothing_is_learned_of_any_symptom_but_by_its_own_name() -> None:
    assert ANY not in CATALOGUE.symptoms
