"""Laws of learned counts, and what they do to the catalogue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.learning import (
    BELIEF,
    LEAST_CONFIRMED,
    MOST,
    Counter,
    Counts,
    Outcome,
    about,
    confirmed,
    increments,
    learned,
    merge,
    usable,
)
from graph_schema.catalogue import load_catalogue
from graph_schema.ontology import load_ontology

CATALOGUE = load_catalogue(ontology=load_ontology())
OVERLOAD, NODE = "Workload.Overload", "Node.NotReady"
NEAR = {"Deployment": 10, "Node": 3, "Service": 10, "Pod": 20}

keys = st.sampled_from([f"cause|{OVERLOAD}", f"shown|{OVERLOAD}|latency", f"cause|{NODE}"])
counters = st.dictionaries(keys, st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 50)), max_size=3)
counts = st.builds(lambda *parts: Counts(seen=parts[0], accepted=parts[1], forgotten=parts[2]), *[counters] * 3)


@given(counts, counts)
def test_merging_is_commutative(one: Counts, other: Counts) -> None:
    assert merge(one, other) == merge(other, one)


@given(counts, counts, counts)
def test_merging_is_associative(one: Counts, two: Counts, three: Counts) -> None:
    assert merge(one, merge(two, three)) == merge(merge(one, two), three)


@given(counts, counts)
def test_merging_again_changes_nothing(one: Counts, other: Counts) -> None:
    together = merge(one, other)
    assert merge(together, other) == together == merge(together, together)
    assert merge(one, Counts()) == merge(one, one)


@given(counts, counts)
def test_merging_never_takes_away_what_was_seen(one: Counts, other: Counts) -> None:
    before = usable(Counts(seen=one.seen), "all")
    after = usable(Counts(seen=merge(one, other).seen), "all")
    assert all(after[key] >= count for key, count in before.items())


@given(counts)
def test_only_what_was_accepted_and_not_forgotten_is_used(given_: Counts) -> None:
    every, accepted = usable(given_, "all"), usable(given_, "accepted")
    assert all(count <= every.get(key, 0) for key, count in accepted.items())
    assert usable(given_, "off") == {}
    forgotten = merge(given_, Counts(forgotten=about(given_, [OVERLOAD])))
    assert all(OVERLOAD not in key for key in usable(forgotten, "all"))
    taken = merge(Counts(seen=given_.seen), Counts(accepted=about(given_, [OVERLOAD, NODE])))
    assert usable(taken, "accepted") == usable(taken, "all")


def lessons(fault: str, times: int, shown: tuple[str, ...] = ()) -> dict[str, int]:
    total: dict[str, int] = {}
    for _ in range(times):
        for key, count in increments(Outcome(fault=fault, shown=shown, near=NEAR, playbook="scale-out")).items():
            total[key] = total.get(key, 0) + count
    return total


def test_a_handful_of_incidents_bends_nothing() -> None:
    assert learned(CATALOGUE, lessons(OVERLOAD, LEAST_CONFIRMED - 1)) is CATALOGUE
    assert learned(CATALOGUE, {}) is CATALOGUE


def test_what_comes_again_and_again_is_likelier_beforehand_and_the_rest_less() -> None:
    bent = learned(CATALOGUE, lessons(NODE, 40, ("node_not_ready",)))
    before, after = CATALOGUE.faults[NODE], bent.faults[NODE]
    assert before.prior < after.prior <= MOST * before.prior * 1.0001
    assert bent.faults[OVERLOAD].prior < CATALOGUE.faults[OVERLOAD].prior
    assert "40 of 40 confirmed incidents" in after.learned
    assert bent.faults[OVERLOAD].learned == ""


def test_the_stated_formula_holds() -> None:
    known = lessons(OVERLOAD, 12, ("latency",)) | {"cause|Node.NotReady": 8}
    weights = {
        name: fault.prior * sum(NEAR.get(kind, 0) * 12 for kind in fault.on) for name, fault in CATALOGUE.faults.items()
    }
    share = weights[OVERLOAD] / sum(weights.values())
    factor = (12 + BELIEF * share) / ((20 + BELIEF) * share)
    bent = learned(CATALOGUE, known).faults[OVERLOAD]
    assert bent.prior == pytest.approx(CATALOGUE.faults[OVERLOAD].prior * min(MOST, factor))
    before = CATALOGUE.faults[OVERLOAD].symptoms
    assert bent.symptoms["latency"] == pytest.approx((20 * before["latency"] + 12) / 32)
    assert bent.symptoms["saturation"] == pytest.approx(20 * before["saturation"] / 32)


def test_confirmed_counts_causes_only() -> None:
    known = lessons(OVERLOAD, 3, ("latency", "latency"))
    assert confirmed(known) == 3
    assert known[f"shown|{OVERLOAD}|latency"] == 3
    assert known[f"remedy|{OVERLOAD}|scale-out|held"] == 3


def test_a_counter_is_plain_data() -> None:
    found: Counter = about(Counts(seen={f"cause|{NODE}": {"a": 1}}), [NODE])
    assert found == {f"cause|{NODE}": {"a": 1}}
