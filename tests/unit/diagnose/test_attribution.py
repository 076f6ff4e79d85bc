"""Where waiting and failing arise: the balance of burdens along calls, and what it does to ranked hypotheses."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.arising import refine
from diagnose.attribution import attribute, unavailable, without_catalogue
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Burden, Diagnosis, Entity, Hypothesis, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
CHAIN = [Relation("front", "cart", "CALLS"), Relation("cart", "store", "CALLS"), Relation("front", "ads", "CALLS")]
NAMES = ("front", "cart", "store", "ads")


def waits(entity: str, amount: float, strength: float = 0.95) -> Burden:
    return Burden(entity=entity, symptom="latency", amount=amount, strength=strength, before=0.1, after=0.2)


def fails(entity: str, amount: float, strength: float = 0.95) -> Burden:
    return Burden(entity=entity, symptom="errors", amount=amount, strength=strength, before=0.0, after=0.1)


def named(*burdens: Burden, showing: tuple[tuple[str, str], ...] = ()) -> list[str]:
    return [each.entity for each in without_catalogue(burdens, CHAIN, showing).selected()]


def test_the_deepest_entity_that_carries_it_all_is_named() -> None:
    assert named(waits("front", 10), waits("cart", 10), waits("store", 10), waits("ads", 0, 0)) == ["store"]


def test_an_entity_whose_callees_account_for_little_is_named_itself() -> None:
    assert named(waits("front", 10), waits("cart", 10), waits("store", 2)) == ["cart"]


def asked(entity: str, failed: float, before: float, after: float, *, silent: bool = False) -> Burden:
    """So many calls were answered before and after, so many of those after failed."""
    known = fails(entity, failed, 0.95 if failed else 0.0)
    return msgspec.structs.replace(known, calls_before=before, calls_after=after, silent=silent)


def test_a_callee_that_can_no_longer_be_seen_answers_for_its_callers_failures() -> None:
    front, ads = asked("front", 20, 30, 30), asked("ads", 0, 30, 30)
    cart = asked("cart", 0, 30, 0, silent=True)
    shares = attribute([front, cart, ads], CHAIN, [("front", "errors")])
    assert shares["cart", "errors"][0] > 0.9


@pytest.mark.parametrize(("troubled", "cause"), [({"cart"}, "cart"), (set(), "front")])
def test_fewer_calls_are_lost_calls_only_where_something_is_known_to_be_wrong(troubled: set[str], cause: str) -> None:
    """A front that fails before it calls leaves cart less to do, too."""
    burdens = [asked("front", 15, 30, 30), asked("cart", 0, 30, 15), asked("store", 0, 30, 15)]
    shares = attribute(burdens, CHAIN, [("front", "errors")], troubled)
    assert max(shares, key=lambda key: shares[key][0]) == (cause, "errors")


def test_where_nobody_is_any_more_all_calls_are_lost_whatever_was_counted_of_late() -> None:
    """What is counted over the last moments still has answers of the pods that are gone."""
    burdens = [asked("front", 2, 30, 3), asked("cart", 0, 30, 5), asked("store", 0, 30, 3)]
    for gone, cause in (({"cart"}, "cart"), (set[str](), "front")):
        shares = attribute(burdens, CHAIN, [("front", "errors")], {"cart"}, gone)
        assert max(shares, key=lambda key: shares[key][0]) == (cause, "errors")


@pytest.mark.parametrize(("answered", "doubtful"), [(15, 1.0), (26, 4 / 15), (30, 0.0)])
def test_calls_that_fail_at_a_caller_may_be_the_ones_that_its_callee_never_got(
    answered: float, doubtful: float
) -> None:
    """Refused connections are counted by the caller alone, as are calls that it fails to make."""
    burdens = [asked("front", 15, 30, 30), asked("cart", 0, 30, answered), asked("ads", 0, 30, 30)]
    front = attribute(burdens, CHAIN, [("front", "errors")])["front", "errors"]
    assert front.share > 0.9
    assert front.open.get("cart", 0.0) == pytest.approx(doubtful)
    assert not front.open.get("ads")


@pytest.mark.parametrize("changed", ["Deployment/front", "Deployment/cart"])
def test_which_end_fails_calls_that_one_counts_and_the_other_never_got_the_graph_says(changed: str) -> None:
    """At the first alert of a bad rollout its callers fail already, and what it refuses is counted by nobody else."""
    names = ("front", "cart")
    entities = [Entity(id=f"{kind}/{name}", kind=kind, name=name)
                for name in names for kind in ("Service", "Deployment", "Pod")]  # fmt: skip
    relations = [Relation("Service/front", "Service/cart", "CALLS")]
    for name in names:
        relations += [Relation(f"Deployment/{name}", f"Pod/{name}", "OWNS"),
                      Relation(f"Service/{name}", f"Pod/{name}", "SELECTS")]  # fmt: skip
    piece = Subgraph({each.id: each for each in entities}, tuple(relations))
    likely = Hypothesis(entity=changed, fault="Workload.BadRevision", probability=0.9)
    burdens = [asked("Service/front", 6, 30, 30), asked("Service/cart", 0, 30, 24)]
    shares = attribute(burdens, relations, [("Service/front", "errors")])
    best = refine(Diagnosis(hypotheses=(likely,)), shares, piece, CATALOGUE, ONTOLOGY).hypotheses[0]
    assert best.entity == changed
    assert best.probability > 0.8


def test_calls_that_nobody_makes_any_more_are_not_lost() -> None:
    burdens = [asked("front", 5, 30, 10), asked("cart", 5, 30, 10), asked("store", 0, 30, 10)]
    shares = attribute(burdens, CHAIN, [("front", "errors")], {"store"})
    assert ("store", "errors") not in shares


def test_what_is_sick_behind_a_service_makes_it_unavailable() -> None:
    relations = [
        Relation("cart", "pod", "SELECTS"),
        Relation("set", "pod", "OWNS"),
        Relation("deployment", "set", "OWNS"),
    ]
    entities = {"ads": Entity(id="ads", kind="Service", name="ads", properties={"not_ready_endpoints": 1})}

    def sick(entity: str, symptom: str, source: str = "alertmanager") -> set[str]:
        starts = datetime(2026, 3, 1, tzinfo=UTC)
        signal = Signal(fingerprint="a", entity=entity, symptom=symptom, name="a", starts_at=starts, source=source)
        return unavailable(relations, entities, [signal])

    for states in ({"ready_endpoints": 0}, {"ready_endpoints": 2, "port_declared": False}):
        turning = {"ads": Entity(id="ads", kind="Service", name="ads", properties=states)}
        assert unavailable([], turning, []) == {"ads"}
    well = {
        "ads": Entity(id="ads", kind="Service", name="ads", properties={"ready_endpoints": 2, "port_declared": True})
    }
    assert unavailable([], well, []) == set()
    assert sick("pod", "crashlooping") == sick("deployment", "replicas_mismatch") == {"cart", "ads"}
    # That a probe failed once is no reason to blame the pod for calls that its caller does not make.
    assert sick("pod", "not_ready", source="event") == {"ads"}
    assert sick("pod", "latency") == sick("other", "crashlooping") == {"ads"}


def test_with_an_alert_only_its_symptom_counts() -> None:
    burdens = (waits("front", 10), waits("cart", 10), fails("front", 5), fails("ads", 5))
    assert named(*burdens, showing=(("front", "errors"),)) == ["ads"]
    assert named(*burdens, showing=(("front", "latency"),)) == ["cart"]


def test_without_an_alert_one_entity_that_nobody_feels_is_not_enough() -> None:
    assert named(waits("store", 10, 0.6), waits("cart", 0, 0.0), waits("front", 0, 0.0)) == []


def test_an_alert_on_something_without_a_burden_leaves_the_search_to_the_burdens() -> None:
    assert named(waits("front", 10), waits("cart", 10), showing=(("node-1", "node_not_ready"),)) == ["cart"]


def test_a_circle_of_calls_ends() -> None:
    circle = [*CHAIN, Relation("store", "front", "CALLS"), Relation("cart", "cart", "CALLS")]
    shares = attribute([waits(name, 10) for name in NAMES], circle, [("front", "latency")])
    assert sum(each.share for each in shares.values()) <= 1 + 1e-9


@given(
    st.dictionaries(st.sampled_from(NAMES), st.tuples(st.floats(0, 1e6), st.floats(0, 1))),
    st.lists(st.builds(Relation, st.sampled_from(NAMES), st.sampled_from(NAMES), st.just("CALLS"))),
    st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(["latency", "errors", "node_not_ready"]))),
)
def test_shares_are_shares_on_any_graph(
    amounts: dict[str, tuple[float, float]], calls: list[Relation], showing: set[tuple[str, str]]
) -> None:
    burdens = [waits(entity, *given) for entity, given in amounts.items()]
    shares = attribute(burdens, calls, showing)
    assert all(each.share >= 0 for each in shares.values())
    assert sum(each.share for each in shares.values()) <= 1 + 1e-9
    turned = attribute(list(reversed(burdens)), list(reversed(calls)), showing)
    assert {name: each.share for name, each in turned.items()} == pytest.approx(
        {name: each.share for name, each in shares.items()}, abs=1e-9
    )


def test_the_balance_chooses_between_two_services_that_the_walk_cannot_tell_apart() -> None:
    entities = [
        Entity(id=f"{kind}/{name}", kind=kind, name=name)
        for name in ("cart", "store")
        for kind in ("Deployment", "Pod")
    ] + [Entity(id=f"Service/{name}", kind="Service", name=name) for name in ("cart", "store")]
    relations = [Relation("Service/cart", "Service/store", "CALLS")]
    for name in ("cart", "store"):
        relations += [
            Relation(f"Deployment/{name}", f"Pod/{name}", "OWNS"),
            Relation(f"Service/{name}", f"Pod/{name}", "SELECTS"),
        ]
    piece = Subgraph({each.id: each for each in entities}, tuple(relations))
    equal = tuple(
        Hypothesis(entity=f"Deployment/{name}", fault="Workload.BadRevision", probability=0.4)
        for name in ("cart", "store")
    )
    answer = Diagnosis(hypotheses=equal, causes=(0,))
    for store, best in ((1.0, "Deployment/cart"), (10.0, "Deployment/store")):
        burdens = [waits("Service/cart", 10), waits("Service/store", store)]
        shares = attribute(burdens, relations, [("Service/cart", "latency")])
        refined = refine(answer, shares, piece, CATALOGUE, ONTOLOGY)
        assert refined.hypotheses[0].entity == best
        assert sum(each.probability for each in refined.hypotheses) <= 1 + 1e-5
        assert next(refined.selected()).entity == best


@pytest.mark.parametrize("probability", [0.0, 0.9])
def test_a_hypothesis_behind_which_nothing_arises_loses(probability: float) -> None:
    piece = Subgraph({name: Entity(id=name, kind="Service", name=name) for name in NAMES}, tuple(CHAIN))
    answer = Diagnosis(
        hypotheses=(Hypothesis(entity="ads", fault="Service.SelectorMismatch", probability=probability),)
    )
    shares = attribute([waits("front", 10), waits("cart", 10)], CHAIN, [("front", "latency")])
    assert refine(answer, shares, piece, CATALOGUE, ONTOLOGY).hypotheses[0].entity == "cart"


def test_a_place_without_a_fitting_fault_is_one_hypothesis_with_what_the_catalogue_offers_for_it() -> None:
    piece = Subgraph({name: Entity(id=name, kind="Service", name=name) for name in NAMES}, tuple(CHAIN))
    weak = Hypothesis(entity="cart", fault="Service.SelectorMismatch", probability=0.0001, explains=("a",))
    shares = attribute([waits("front", 10), waits("cart", 10)], CHAIN, [("front", "latency")])
    refined = refine(Diagnosis(hypotheses=(weak,)), shares, piece, CATALOGUE, ONTOLOGY)
    best = refined.hypotheses[0]
    assert (best.entity, best.fault, best.explains) == ("cart", "Entity.Latency", ("a",))
    assert best.other_faults[0][0] == "Service.SelectorMismatch"
    assert best.fault_probability > best.other_faults[0][1]
    assert [each.entity for each in refined.hypotheses].count("cart") == 1
    assert refined.enough


@given(st.floats(0, 1), st.floats(0.01, 1))
def test_an_entity_is_there_once_and_its_faults_share_what_it_has(probability: float, strength: float) -> None:
    piece = Subgraph({name: Entity(id=name, kind="Service", name=name) for name in NAMES}, tuple(CHAIN))
    known = Hypothesis(entity="cart", fault="Service.SelectorMismatch", probability=probability)
    burdens = [waits("front", 10), waits("cart", 10, strength), fails("cart", 3, strength)]
    refined = refine(Diagnosis(hypotheses=(known,)), attribute(burdens, CHAIN), piece, CATALOGUE, ONTOLOGY)
    entities = [each.entity for each in refined.hypotheses]
    assert len(entities) == len(set(entities))
    for each in refined.hypotheses:
        assert each.fault_probability + sum(share for _, share in each.other_faults) == pytest.approx(1, abs=1e-4)
        assert 0 <= each.probability <= 1
