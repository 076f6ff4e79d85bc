"""What goes on beside what was alerted is told, and does not stand before it."""

from __future__ import annotations

import itertools

from diagnose.asides import alerts_first
from graph_schema.model import Diagnosis, Hypothesis


def hypothesis(entity: str, probability: float, *explains: str) -> Hypothesis:
    return Hypothesis(
        entity=entity, fault="Workload.BadRevision", probability=probability, fault_probability=1.0, explains=explains
    )


def order(answer: Diagnosis) -> list[str]:
    return [each.entity for each in answer.hypotheses]


ASIDE, CAUSE = hypothesis("aside", 0.9, "event"), hypothesis("cause", 0.8, "alert", "event")
NAMELESS = hypothesis("x", 0.7)


def test_a_cause_of_no_alert_stands_after_those_of_alerts_and_is_still_a_cause() -> None:
    answer = Diagnosis(hypotheses=(ASIDE, hypothesis("no", 0.85, "alert"), CAUSE), causes=(0, 2), enough=True)
    found = alerts_first(answer, frozenset({"alert"}))
    assert order(found) == ["cause", "aside", "no"]
    assert [each.entity for each in found.selected()] == ["cause", "aside"]
    assert found.enough


def test_what_is_named_first_must_be_enough_by_itself() -> None:
    answer = Diagnosis(hypotheses=(ASIDE, hypothesis("cause", 0.2, "alert")), causes=(0, 1), enough=True)
    assert not alerts_first(answer, frozenset({"alert"})).enough


def test_where_nothing_stands_before_it_nothing_moves() -> None:
    for causes, alerts in itertools.product(((0,), (0, 1), (1,)), (frozenset[str](), frozenset({"other"}))):
        answer = Diagnosis(hypotheses=(ASIDE, CAUSE), causes=causes)
        assert alerts_first(answer, alerts) == answer
    answer = Diagnosis(hypotheses=(NAMELESS, CAUSE), causes=(0, 1))
    assert alerts_first(answer, frozenset({"alert"})) == answer

