"""Searches in rounds find what each by itself does, one state after the other."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.arrays import NOBODY
from diagnose.moves import Direction, Moves
from diagnose.search import Offers, Search
from diagnose.wiring import Wiring
from graph_schema.model import Entity, Relation, Subgraph
from graph_schema.ontology import load_ontology

ONTOLOGY = load_ontology()
SERVICES, WEAKEST = 7, 0.05
Settled = list[tuple[int, float, tuple[int, ...]]]
"""(state, strength, way), in the order in which they are settled."""


@st.composite
def pieces(draw: st.DrawFn) -> Subgraph:
    """Services that call each other, in circles too, with workloads, pods that share nodes, and configuration."""
    numbers = st.integers(0, SERVICES - 1)
    calls = draw(st.lists(st.tuples(numbers, numbers), max_size=16, unique=True))
    relations = [Relation(f"Service/{one}", f"Service/{other}", "CALLS") for one, other in calls]
    for number in range(SERVICES):
        for place in range(draw(st.integers(1, 3))):
            pod = f"Pod/{number}-{place}"
            relations += [
                Relation(f"Deployment/{number}", f"ReplicaSet/{number}", "OWNS"),
                Relation(f"ReplicaSet/{number}", pod, "OWNS"), Relation(f"Service/{number}", pod, "SELECTS"),
                Relation(pod, f"Node/{draw(st.integers(0, 2))}", "RUNS_ON"),
                Relation(pod, f"ConfigMap/{draw(numbers)}", "MOUNTS"),
            ]  # fmt: skip
    names = {end for each in relations for end in (each.source, each.target)}
    entities = {name: Entity(id=name, kind=name.split("/")[0], name=name.split("/")[1]) for name in names}
    return Subgraph(entities, tuple(relations))


def offers(moves: Direction, span: int, state: int) -> Iterator[tuple[float, int, int, tuple[int, ...]]]:
    """(share, state, steps, what lies between) of every move from a state."""
    entity, turn = divmod(state, span)
    table = moves.table
    for step in range(moves.begins[entity], moves.begins[entity] + moves.count[entity]):
        place = int(moves.rule[step]) * span + turn
        for row in range(table.begins[place], table.begins[place] + table.count[place]):
            share = float(table.share[row] * moves.crowd[step]) * float(moves.partly[table.power[row], step])
            before = int(moves.other[step]) * span + int(table.turn[row])
            between = moves.between[moves.lies[step]].tolist()
            yield share, before, int(moves.steps[step]), tuple(x for x in between if x != NOBODY)


def one_by_one(moves: Direction, span: int, start: int, hops: int, most: int, *, once: bool) -> Settled:
    heap: list[tuple[float, int, int, int, tuple[int, ...]]] = [(-1.0, 0, start, 0, (start // span,))]
    found: dict[int, tuple[float, tuple[int, ...]]] = {}
    count = 1
    while heap and len(found) < most:
        strength, steps, state, _, way = heappop(heap)
        if state in found:
            continue
        found[state] = -strength, way
        if steps >= hops:
            continue
        for share, before, more, between in offers(moves, span, state):
            there = before // span
            if -strength * share >= WEAKEST and not (once and there in way):
                heappush(heap, (strength * share, steps + more, before, count, (there, *between, *way)))
                count += 1
    return [(state, strength, way) for state, (strength, way) in found.items()]


@settings(max_examples=10, deadline=None)
@given(piece=pieces(), most=st.sampled_from([5, 40, 200]), hops=st.sampled_from([2, 7]), back=st.booleans())
def test_many_searches_at_once_settle_what_each_would_alone(piece: Subgraph, most: int, hops: int, back: bool) -> None:
    paths = Moves(piece, ONTOLOGY, Wiring(piece, ONTOLOGY))
    moves, span = paths.back if back else paths.forth, paths.span
    starts = [paths.number[name] * span + 2 * paths.mode[mode] for name in ("Service/0", "Service/1", "Pod/2-0")
              for mode in ("self", "errors", "latency", "availability")]  # fmt: skip
    many = len(starts)
    nobody = np.full(many, NOBODY)
    given_ = Offers(np.arange(many), np.array(starts), np.ones(many), np.zeros(many, int), np.arange(many), nobody)
    settled = Search(moves, span, hops, most).run(given_, many, np.full(many, WEAKEST), nobody if back else None)
    for number, start in enumerate(starts):
        alone = one_by_one(moves, span, start, hops, most, once=back)
        rows = np.flatnonzero(settled.search == number)
        assert settled.strength[rows].tolist() == [strength for _, strength, _ in alone]
        assert settled.state[rows].tolist() == [state for state, _, _ in alone]
        if back:
            ways = [tuple(x for x in row if x != NOBODY) for row in settled.ways[rows].tolist()]
            assert ways == [way for _, _, way in alone]


def test_a_part_counts_to_the_power_that_its_rule_has() -> None:
    pods = [f"Pod/{number}" for number in range(3)]
    relations = [Relation("Service/s", pod, "SELECTS") for pod in pods]
    relations += [Relation("Service/one", pods[0], "SELECTS"), Relation("Deployment/d", pods[0], "OWNS")]
    names = {end for each in relations for end in (each.source, each.target)}
    entities = {name: Entity(id=name, kind=name.split("/")[0], name=name.split("/")[1]) for name in names}
    paths = Moves(piece := Subgraph(entities, tuple(relations)), ONTOLOGY, Wiring(piece, ONTOLOGY))
    back = paths.back

    def parts(of: str) -> dict[str, list[float]]:
        steps = range(back.begins[paths.number[of]], back.begins[paths.number[of]] + back.count[paths.number[of]])
        return {paths.entities[back.other[step]]: back.partly[:, step].tolist() for step in steps}

    third, whole = (pytest.approx([part**power for power in back.table.powers]) for part in (1 / 3, 1.0))
    assert parts("Service/s") == {**dict.fromkeys(pods, third), "Deployment/d": third}
    assert parts("Service/one") == {pods[0]: whole}
