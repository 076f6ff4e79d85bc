"""What is worked out for many causes or searches at once is what it would be for one at a time."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose import Settings, diagnose
from diagnose.absent import with_absent
from diagnose.arrays import NOBODY, firsts, orderly
from diagnose.bounds import bounds
from diagnose.candidates import faults_of, log_sum
from diagnose.carried import LEAST_MORE, Carried
from diagnose.engine import consider
from diagnose.evidence import Unit
from diagnose.facts import Facts
from diagnose.paths import Paths
from diagnose.reached import Columns
from diagnose.wiring import Wiring
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Entity, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology
from tests.storms import T0, storms

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)


def test_what_is_found_for_one_signal_does_not_depend_on_what_was_asked_before() -> None:
    crowd = [Relation("Service/busy", f"Pod/{number}", "SELECTS") for number in range(60)]
    crowd += [Relation("Deployment/busy", f"Pod/{number}", "OWNS") for number in range(60)]
    chain = [Relation(f"Service/{number}", f"Service/{number + 1}", "CALLS") for number in range(6)]
    names = {end for each in (*crowd, *chain) for end in (each.source, each.target)}
    entities = {name: Entity(id=name, kind=name.split("/")[0], name=name.split("/")[1]) for name in names}
    piece = Subgraph(entities, (*crowd, *chain))

    def paths() -> Paths:
        # So many searches that each one ends early where much is to be found.
        return Paths(piece, ONTOLOGY, Wiring(piece, ONTOLOGY), Settings().hops, searches=10_000)

    together, alone = paths(), paths()
    assert together.to("Service/busy", "errors").strengths[-1] > 0.1
    one, other = together.to("Service/0", "errors"), alone.to("Service/0", "errors")
    assert one.places.tolist() == other.places.tolist()
    assert one.ways.tolist() == other.ways.tolist()
    assert alone.to("Service/0", "errors").strengths[-1] < 0.1


def one_by_one(carried: Carried, row: list[float], explained: float) -> dict[int, float]:
    """What is carried on, one step after the other along everything that may lead to something."""
    weights = {unit: weight for unit, weight in enumerate(row) if weight > 0}
    waiting = list(weights)
    onward: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for first, then, share in zip(carried.first.tolist(), carried.then.tolist(), carried.share.tolist(), strict=True):
        onward[first].append((then, share))
    while waiting:
        known = min(1.0, weights[earlier := waiting.pop()] / explained)
        for unit, share in onward[earlier]:
            if share * known > weights.get(unit, 0.0) + LEAST_MORE:
                weights[unit] = share * known
                waiting.append(unit)
    return weights


@settings(max_examples=50)
@given(storms(), st.data())
def test_what_is_carried_on_is_the_same_for_many_causes_at_once_as_for_one(
    storm: tuple[Subgraph, list[Signal]], data: st.DataObject
) -> None:
    weighing = consider(*storm, CATALOGUE, ONTOLOGY, now=T0).weighing
    carried, explained = weighing.carried, weighing.settings.explained
    size = len(weighing.columns)
    share = st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.12, 0.4, 0.9])
    given_rows = data.draw(st.lists(st.lists(share, min_size=size, max_size=size), min_size=1, max_size=4))
    rows = np.array(given_rows)
    carried.on(rows)
    straight = np.where(np.array(given_rows) > 0, 0, NOBODY)
    all_ways = carried.ways(rows, straight, [range(size)] * len(rows))
    for row, before, ways in zip(rows, given_rows, all_ways, strict=True):
        alone = one_by_one(carried, before, explained)
        np.testing.assert_allclose(row, [alone.get(unit, 0.0) for unit in range(size)], atol=1e-6)
        assert ways.keys() == alone.keys()
        entities = {weighing.columns.entity[unit] for unit in alone}
        downstream = [carried.downstream[unit] for unit, weight in enumerate(before) if weight > 0]
        packed = np.bitwise_or.reduce(downstream, axis=0) if downstream else np.zeros(0, np.uint8)
        assert entities == set(np.flatnonzero(np.unpackbits(packed)).tolist())


@settings(max_examples=50)
@given(storms())
def test_no_fault_is_likelier_or_explains_more_than_its_bound(storm: tuple[Subgraph, list[Signal]]) -> None:
    weighing = consider(*storm, CATALOGUE, ONTOLOGY, now=T0).weighing
    reached, columns = weighing.reached, weighing.columns
    entities = weighing.piece.entities
    able = [
        (row, faults)
        for row, name in enumerate(reached.names)
        if (faults := faults_of(entities[name], CATALOGUE, ONTOLOGY, weighing.wiring))
    ]
    known = {fault.name: fault for _, faults in able for fault in faults}
    facts = Facts(known.values(), columns, reached, weighing.paths.moves.mode, weighing.settings, None)
    limits, explains = bounds(weighing, facts, [row for row, _ in able], [faults for _, faults in able])
    for place, scored in enumerate(weighing.weigh(able, facts)):
        if scored:
            assert log_sum([each.log_odds for each in scored]) <= limits[place] + 1e-9
        may = np.unpackbits(explains[place])
        for each in scored:
            assert may[columns.entity[each.weights >= weighing.settings.explained]].all()


@settings(max_examples=25)
@given(storms())
def test_there_is_a_way_to_everything_that_a_hypothesis_explains(storm: tuple[Subgraph, list[Signal]]) -> None:
    found = consider(*storm, CATALOGUE, ONTOLOGY, now=T0)
    every = [fault for each in found.ranked for fault in each.faults]
    all_ways = found.weighing.ways([(scored, range(len(scored.weights))) for scored in every])
    for scored, ways in zip(every, all_ways, strict=True):
        assert sorted(ways) == np.flatnonzero(scored.weights).tolist()
        for unit, way in ways.items():
            assert (way[0], way[-1]) == (scored.entity.id, found.weighing.columns.units[unit].entity)


@settings(max_examples=25)
@given(storms())
def test_of_many_signals_the_first_are_told_and_all_are_named(storm: tuple[Subgraph, list[Signal]]) -> None:
    whole = diagnose(*storm, CATALOGUE, ONTOLOGY, now=T0).hypotheses
    short = diagnose(*storm, CATALOGUE, ONTOLOGY, now=T0, settings=Settings(most_told=2)).hypotheses
    assert [(each.entity, each.probability, each.explains) for each in short] == [
        (each.entity, each.probability, each.explains) for each in whole
    ]
    for one, other in zip(short, whole, strict=True):
        assert one.paths == other.paths[:2]
        assert {each.fingerprint for each in one.evidence_for} - {""} == set(one.explains[:2])


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("uvwxyz"), st.floats(0, 1)), unique_by=lambda e: e[:2])
)
def test_further_symptoms_of_one_entity_count_less_and_less(found: list[tuple[str, str, float]]) -> None:
    units = [
        Unit(entity=entity, symptom=symptom, confidence=1.0, onset=T0, reported=T0, signals=(), leak=0.02)
        for entity, symptom, _ in found
    ]
    columns = Columns(units)
    weight = {(entity, symptom): share for entity, symptom, share in found}
    row = np.array([[weight[unit.key] for unit in columns.units]])
    gains = {key: float(np.log((0.02 + 0.98 * share) / 0.02)) for key, share in weight.items()}
    expected = 0.0
    for entity in {entity for entity, _ in gains}:
        ordered = sorted((gain for (name, _), gain in gains.items() if name == entity), reverse=True)
        expected += sum(gain * 0.5**place for place, gain in enumerate(ordered))
    assert abs(float(columns.gained(row, columns.leak, 0.5)[0]) - expected) < 1e-9


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**40)), max_size=30))
def test_sorting_by_digits_is_sorting_and_leaves_equal_rows_in_their_order(rows: list[tuple[int, int]]) -> None:
    one, other = np.array(rows, int).reshape(-1, 2).T
    assert orderly(one, other).tolist() == np.lexsort((other, one)).tolist()
    assert firsts(other).tolist() == sorted(np.unique(other, return_index=True)[1].tolist())


def test_relations_to_what_is_not_there_are_told_of_and_lead_there_all_the_same() -> None:
    here = Entity(id="Pod/a", kind="Pod", name="a")
    piece = Subgraph({here.id: here}, (Relation("Pod/a", "ConfigMap/gone", "MOUNTS"),) * 2)
    wiring = Wiring(piece, ONTOLOGY)
    assert wiring.loose == {"ConfigMap/gone"}
    assert wiring.out("Pod/a") == {"MOUNTS": ["ConfigMap/gone"]}
    assert wiring.of_kind.tolist() == [NOBODY, 0]
    assert wiring.all_of("Pod") == [here]
    assert with_absent(piece, ONTOLOGY, wiring.loose) == with_absent(piece, ONTOLOGY)
    whole = Wiring(with_absent(piece, ONTOLOGY), ONTOLOGY)
    assert not whole.loose
    assert whole.entity_kinds.keys() == {"ConfigMap", "Pod"}


def test_what_passes_relations_is_worked_out_once_for_an_ontology() -> None:
    relations = (Relation("Service/a", "Service/b", "CALLS"), Relation("Service/a", "Service/b", "CALLS_ODDLY"))
    entities = {name: Entity(id=name, kind="Service", name=name[-1]) for name in ("Service/a", "Service/b")}
    one, other = (Wiring(Subgraph(entities, relations), ONTOLOGY) for _ in range(2))
    assert one.rule("target", "CALLS") is other.rule("target", "CALLS")
    assert one.rule("target", "CALLS_ODDLY") is one.rule("target", "DEPENDS_ON")
