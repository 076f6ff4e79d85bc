"""The compiled loops of a diagnosis answer what numpy answers, bit by bit."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.storms import cluster, storm
from diagnose.arrays import NOBODY
from diagnose.compiled import BUILT, LACKING
from diagnose.engine import Considered, consider
from diagnose.evidence import Unit
from diagnose.moves import MOST_BETWEEN, Direction
from diagnose.passing import Table
from diagnose.paths import Paths
from diagnose.reached import Columns
from diagnose.search import Offers, Search
from diagnose.wiring import Wiring
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Signal, Subgraph
from graph_schema.ontology import load_ontology
from tests.conftest import missing
from tests.storms import T0, storms

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
ENTITIES, MODES, RULES = 9, 3, 4
SPAN = 2 * MODES
SHARES = (0.97, 0.9, 0.9 * 0.9, 0.5, 0.31, 0.08)
"""Few, so that many ways are equally strong."""


@pytest.fixture(autouse=True, scope="module")
def _built() -> None:
    if not BUILT:
        missing(f"the loops of a diagnosis are not compiled ({LACKING}): install with a C compiler")


@st.composite
def directions(draw: st.DrawFn) -> Direction:
    """Steps between a few entities, side by side, in circles and to the same one, by rules of which many are alike."""
    share, mode, power = st.sampled_from(SHARES), st.integers(0, SPAN - 1), st.integers(0, 1)
    rows = [draw(st.lists(st.tuples(mode, share, power), max_size=3)) for _ in range(RULES * SPAN)]
    flat = [each for row in rows for each in row]
    most = [
        max((s for n, row in enumerate(rows) if n % SPAN // 2 == m for _, s, _ in row), default=0.0) for m in range(3)
    ]
    count = np.array([len(row) for row in rows])
    table = Table(
        begins=np.cumsum(count) - count, count=count, turn=np.array([turn for turn, _, _ in flat], int),
        share=np.array([share for _, share, _ in flat], float), power=np.array([power for *_, power in flat], int),
        powers=[0.0, 0.35],
    )  # fmt: skip
    entity = st.integers(0, ENTITIES - 1)
    between = draw(st.lists(st.lists(entity, max_size=MOST_BETWEEN), min_size=1, max_size=4))
    crowd, part, lie = st.sampled_from((1.0, 0.8)), st.sampled_from((1.0, 0.5)), st.integers(0, len(between))
    step = st.tuples(entity, entity, st.integers(0, RULES - 1), crowd, part, lie)
    steps = sorted(draw(st.lists(step, min_size=1, max_size=40)), key=lambda each: each[0])
    here, other, rule, crowds, parts, lies = (np.array(column) for column in zip(*steps, strict=True))
    lying = np.array([[NOBODY] * MOST_BETWEEN, *([*way, *[NOBODY] * (MOST_BETWEEN - len(way))] for way in between)])
    first = np.searchsorted(here, np.arange(ENTITIES + 1))
    return Direction(
        begins=first[:-1], count=np.diff(first), other=other, rule=rule, crowd=crowds,
        partly=np.array([parts**0.0, parts**0.35]), lies=lies, between=lying,
        steps=(1 + (lying != NOBODY).sum(axis=1))[lies], table=table, most=np.array(most),
    )  # fmt: skip


@settings(max_examples=300)
@given(
    moves=directions(), hops=st.sampled_from([0, 1, 3, 6]), most=st.sampled_from([1, 2, 7, 30, 500]),
    ways=st.booleans(), data=st.data(),
)  # fmt: skip
def test_searches_settle_the_same_in_the_same_order(
    moves: Direction, hops: int, most: int, ways: bool, data: st.DataObject
) -> None:
    weakest = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.05, 0.3, 0.81, 1.0]), min_size=1, max_size=4)))
    state, entity = st.integers(0, ENTITIES * SPAN - 1), st.integers(NOBODY, ENTITIES - 1)
    start = st.tuples(
        st.integers(0, len(weakest) - 1), state, st.sampled_from((1.0, *SHARES)), st.integers(0, 2), entity
    )
    starts = sorted(data.draw(st.lists(start, min_size=1, max_size=8)), key=lambda each: each[0])
    number, begun, strength, steps, onward = (np.array(column) for column in zip(*starts, strict=True))
    offers = Offers(number, begun, strength, steps, np.arange(len(starts)), np.full(len(starts), NOBODY))
    by_numpy, compiled = (
        Search(moves, SPAN, hops, most, each).run(offers, len(weakest), weakest, onward if ways else None)
        for each in (False, True)
    )
    for name in by_numpy.__struct_fields__:
        if ways or name != "ways":
            assert getattr(by_numpy, name).tolist() == getattr(compiled, name).tolist(), name


@pytest.mark.parametrize("searches", [1, 10_000])
def test_the_same_ways_lead_to_the_symptoms_of_a_cluster(searches: int) -> None:
    """In storms numpy looks for strong ways first, the compiled search for all at once."""
    world = cluster(600, random.Random(3))
    piece = Subgraph({each.id: each for each in world.entities}, tuple(world.relations))
    keys = [(each.entity, each.symptom) for each in storm(world, 200, random.Random(3))[0]]
    wiring = Wiring(piece, ONTOLOGY)
    one, other = (Paths(piece, ONTOLOGY, wiring, 7, searches, each).to_all(keys) for each in (False, True))
    for mine, yours in zip(one, other, strict=True):
        assert mine.places.tolist() == yours.places.tolist()
        assert mine.strengths.tolist() == yours.strengths.tolist()
        assert mine.ways.tolist() == yours.ways.tolist()


def units(sizes: Sequence[int]) -> list[Unit]:
    return [
        Unit(entity=f"e{entity:03}", symptom=f"s{number}", confidence=1.0, onset=T0, reported=T0, signals=(), leak=0.02)
        for entity, size in enumerate(sizes)
        for number in range(size)
    ]


@settings(max_examples=100)
@given(
    # More entities of one size than are multiplied in one go, and more symptoms of one than are sorted by exchanges.
    sizes=st.lists(st.sampled_from([1, 1, 1, 2, 2, 3, 4, 9]), max_size=60),
    rows=st.lists(st.integers(0, 4), max_size=6), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_sums_over_all_alerts_are_the_same(sizes: list[int], rows: list[int], seed: int) -> None:
    chance = np.random.default_rng(seed)
    by_numpy, compiled = (Columns(units(sizes), 30.0, each) for each in (False, True))
    weights = chance.choice([0.0, 0.0, 0.3, 0.9, 1.0, chance.random()], (5, sum(sizes)))
    seen = chance.choice([0.02, 0.5, 1.0, chance.uniform(1e-6, 1)], sum(sizes))
    for which in (None, np.array(rows, int)):
        expected = by_numpy.gained(weights, seen, 0.5, which)
        assert compiled.gained(weights, seen, 0.5, which).tolist() == expected.tolist()


def weighed(storm: tuple[Subgraph, list[Signal]]) -> tuple[Considered, Considered]:
    by_numpy, compiled = (consider(*storm, CATALOGUE, ONTOLOGY, now=T0, compiled=each) for each in (False, True))
    return by_numpy, compiled


@settings(max_examples=60)
@given(storms(), st.data())
def test_what_is_carried_on_and_by_which_ways_is_the_same(
    storm: tuple[Subgraph, list[Signal]], data: st.DataObject
) -> None:
    both = weighed(storm)
    by_numpy, compiled = (each.weighing.carried for each in both)
    size = len(both[0].weighing.columns)
    share = st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.05, 0.12, 0.4, 0.9])
    # More rows than are carried on side by side.
    given_rows = data.draw(st.lists(st.lists(share, min_size=size, max_size=size), min_size=1, max_size=11))
    one, other = np.array(given_rows), np.array(given_rows)
    by_numpy.on(one)
    compiled.on(other)
    assert one.tolist() == other.tolist()
    assert by_numpy.downstream.tolist() == compiled.downstream.tolist()
    straight = np.where(np.array(given_rows) > 0, 0, NOBODY)
    wanted = [data.draw(st.lists(st.integers(0, size - 1), unique=True)) for _ in given_rows]
    assert by_numpy.ways(one, straight, wanted) == compiled.ways(one, straight, wanted)


@settings(max_examples=60)
@given(storms())
def test_all_that_is_weighed_comes_out_the_same(storm: tuple[Subgraph, list[Signal]]) -> None:
    one, other = weighed(storm)
    assert (one.causes, one.unexplained) == (other.causes, other.unexplained)
    for mine, yours in zip(one.ranked, other.ranked, strict=True):
        assert (mine.entity, mine.odds, mine.probability) == (yours.entity, yours.odds, yours.probability)
        for fault, same in zip(mine.faults, yours.faults, strict=True):
            assert (fault.fault, fault.prior, fault.gain, fault.missing) == (
                same.fault,
                same.prior,
                same.gain,
                same.missing,
            )
            assert fault.weights.tolist() == same.weights.tolist()
