"""When an incident began, where there was one before it."""

import numpy as np
import pytest

from sense.metrics.evidence import look
from sense.metrics.onset import before_alert
from sense.metrics.rules import MetricRules
from sense.metrics.series import Series, Table, series

RULES = MetricRules.load()
STEP_S = 5.0
TIMES = np.arange(0.0, 900.0, STEP_S)
ALERT_S = 890.0
CALLED = ("Service/shop/cart", "errors")


def failing(*spells: tuple[float, float, float]) -> Series:
    """The share of failed calls: that much from the first time until the second, else hardly any."""
    values = np.full(len(TIMES), 0.001)
    for begin, end, share in spells:
        values[(begin <= TIMES) & (end > TIMES)] = share
    return series(TIMES, values)


def shop(*spells: tuple[float, float, float]) -> Table:
    calls = {"requests_per_second": series(TIMES, np.full(len(TIMES), 40.0)), "error_ratio": failing(*spells)}
    return {"Service/shop/cart": calls}


def test_the_rise_before_the_alert_is_the_onset() -> None:
    found = before_alert(shop((870, 900, 0.3)), [CALLED], ALERT_S, RULES)
    assert found.at == pytest.approx(870, abs=STEP_S)
    assert found.since == -np.inf


@pytest.mark.parametrize(("worst", "since"), [(0.1, -np.inf), (0.3, 700), (0.9, 700)])
def test_trouble_that_had_ended_before_is_not_where_it_began(worst: float, since: float) -> None:
    found = before_alert(shop((600, 700, worst), (870, 900, 0.3)), [CALLED], ALERT_S, RULES)
    assert found.at == pytest.approx(870, abs=STEP_S)
    # What was hardly trouble beside this leaves the level before as it is.
    assert found.since == pytest.approx(since, abs=STEP_S)


def test_of_several_earlier_troubles_the_end_of_the_last_counts() -> None:
    spells = ((400, 450, 0.5), (600, 700, 0.2), (800, 830, 0.8), (870, 900, 0.3))
    found = before_alert(shop(*spells), [CALLED], ALERT_S, RULES)
    assert found.at == pytest.approx(870, abs=STEP_S)
    assert found.since == pytest.approx(830, abs=STEP_S)


def test_one_good_sample_is_no_recovery() -> None:
    found = before_alert(shop((700, 800, 0.3), (800 + STEP_S, 900, 0.3)), [CALLED], ALERT_S, RULES)
    assert found.at == pytest.approx(700, abs=STEP_S)


def test_what_was_bad_in_earlier_trouble_is_no_symptom_of_this_one() -> None:
    table = shop((600, 700, 0.5), (870, 900, 0.3))
    ready = series(TIMES, np.where((TIMES >= 610) & (TIMES < 690), 0.0, 1.0))
    table["Node/n2"] = {"node_ready": ready}
    found = look(table, {}, RULES, alerted=[CALLED], alerted_at=ALERT_S)
    assert {each.entity for each in found.signals} == {"Service/shop/cart"}
    table["Node/n2"] = {"node_ready": series(TIMES, np.where(TIMES >= 872, 0.0, 1.0))}
    found = look(table, {}, RULES, alerted=[CALLED], alerted_at=ALERT_S)
    assert {each.entity for each in found.signals} == {"Service/shop/cart", "Node/n2"}


@pytest.mark.parametrize(
    ("metric", "symptom", "before", "after"),
    [("saturation", "saturation", 0.2, 2.5), ("requests_per_second", "traffic_drop", 40.0, 5.0)],
)
def test_where_no_call_fails_or_waits_longer_what_the_rule_watches_tells(
    metric: str, symptom: str, before: float, after: float
) -> None:
    values = np.where(TIMES >= 870, after, before)
    table = {"Service/shop/cart": {"error_ratio": failing(), metric: series(TIMES, values)}}
    found = before_alert(table, [("Service/shop/cart", symptom)], ALERT_S, RULES)
    assert found.at == pytest.approx(870, abs=STEP_S)
