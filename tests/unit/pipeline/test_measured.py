"""What was read with the metrics answers probes that need not be asked, where it speaks against a fault."""

from __future__ import annotations

from graph_schema.catalogue import load_catalogue
from graph_schema.model import Entity
from graph_schema.ontology import load_ontology
from kt.pipeline.measured import refuted
from sense.metrics.answered import latest
from sense.metrics.series import series
from sense.prometheus import load

CATALOGUE = load_catalogue(ontology=load_ontology())
ENTITIES = {
    each.id: each
    for kind in ("Service", "Deployment")
    for each in (Entity(id=f"{kind}/shop/cart", kind=kind, name="cart", namespace="shop"),)
} | {"Node/n1": Entity(id="Node/n1", kind="Node", name="n1")}
SATURATION = 'kt:saturation{namespace="shop",service="cart"}'


def read(saturation: list[float], ready: list[float]) -> dict[str, tuple[float, ...]]:
    def at(values: list[float]) -> list[float]:
        return [place * 5.0 for place in range(len(values))]

    table = {
        "Service/shop/cart": {"saturation": series(at(saturation), saturation)},
        "Node/n1": {"node_ready": series(at(ready), ready)},
        "Service/shop/gone": {"saturation": series([0.0], [0.1])},
    }
    return latest(table, load(), ENTITIES)


def test_the_latest_values_stand_under_the_question_that_asks_for_them() -> None:
    found = read([0.9, 0.5, 0.4, 0.3], [1.0])
    assert found == {SATURATION: (0.5, 0.4, 0.3), 'kt:node_ready{node="n1"}': (1.0,)}


def test_a_capacity_that_is_free_speaks_against_an_overload() -> None:
    answers = {each.question: each for each in refuted(CATALOGUE, ENTITIES, read([0.3, 0.3], [1.0]))}
    assert answers[SATURATION].confirmed is False
    assert answers[SATURATION].saw == "= 0.3, 0.3"
    assert answers['kt:node_ready{node="n1"}'].confirmed is False


def test_what_speaks_for_a_fault_is_a_signal_already_and_no_answer_too() -> None:
    assert refuted(CATALOGUE, ENTITIES, read([0.3, 0.95, 0.97], [1.0, 0.0])) == ()


def test_nothing_read_answers_nothing() -> None:
    assert refuted(CATALOGUE, ENTITIES, {}) == ()
