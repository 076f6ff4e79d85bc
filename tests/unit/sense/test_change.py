"""Change detection on one series, and the laws that hold for any series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.metrics.change import judge, stretch
from sense.metrics.changes import Span, changes, signals
from sense.metrics.rules import MetricRules
from sense.metrics.series import Floats, Table, rate, series

RULES = MetricRules.load()
VALUES = st.floats(min_value=0, max_value=1e6, allow_nan=False, allow_subnormal=False)
SAMPLES = st.lists(st.tuples(st.integers(0, 5000), VALUES), min_size=4, max_size=40)


def noisy(seed: int, length: int, level: float = 1.0) -> Floats:
    return level + np.random.default_rng(seed).normal(0, 0.05 * level, length)


def table(samples: list[tuple[int, float]], metric: str = "latency_seconds") -> Table:
    return {"cart": {metric: series([at for at, _ in samples], [value for _, value in samples])}}


def strengths(of: Table, onset: float = 2500.0) -> list[tuple[str, float]]:
    return [(each.metric, each.strength) for each in changes(of, {}, Span(onset=onset), RULES)]


def test_a_step_is_sure_and_its_way_matters() -> None:
    values = np.concatenate([noisy(1, 20), noisy(2, 20, 2.0)])
    assert judge(stretch(values), 20, worse="up").strength > 0.95
    assert judge(stretch(values), 20, worse="down").strength == 0
    assert judge(stretch(values), 20, worse="either").strength > 0.95


def test_noise_alone_is_not_sure() -> None:
    quiet = [stretch(noisy(3, 600))]
    sure = [judge(stretch(noisy(seed, 40)), 20, quiet).strength >= 0.5 for seed in range(10, 210)]
    assert sum(sure) <= 2


def test_drift_between_the_reference_and_the_incident_is_no_change() -> None:
    """The level has doubled since the quiet record was made; the incident's own first minutes show it."""
    quiet = [stretch(noisy(4, 600))]
    assert judge(stretch(noisy(5, 40, 2.0)), 20, quiet).strength < 0.5


def test_what_nobody_called_before_has_not_changed_itself() -> None:
    calls = np.array([0.0, 0.0, 5.0, 5.0])
    values = np.array([np.nan, np.nan, 1.0, 1.0])
    assert judge(stretch(values, calls), 2).excess == 0


def test_without_a_record_before_the_onset_the_quiet_level_stands_in() -> None:
    assert judge(stretch(np.full(10, 3.0)), 0, [stretch(noisy(6, 300))]).strength > 0.9


def test_the_rate_of_a_counter_survives_its_restart() -> None:
    assert rate(series([0, 10, 20, 30], [100, 200, 50, 60])).values.tolist() == [10, 5, 1]


@pytest.mark.parametrize(
    ("metric", "symptom", "worse", "role"),
    [
        ("latency_average", "latency", "up", "waiting"),
        ("latency_p99", "latency", "up", None),
        ("kt:latency_p99_seconds", "latency", "up", None),
        ("kt:error_ratio", "errors", "up", "failed"),
        ("availability_average", "errors", "down", "succeeded"),
        ("requests_sum", "traffic_drop", "down", "requests"),
        ("kt:requests_per_second", "traffic_drop", "down", "requests"),
        ("http_requests_total", "traffic_drop", "down", "requests"),
        ("http_server_errors_total", "errors", "up", "failures"),
        ("container_cpu_usage_seconds_total", "saturation", "up", None),
        ("container_memory_working_set_bytes", "saturation", "up", None),
        ("kube_pod_container_status_restarts_total", "restarts", "up", None),
        ("kt:ready_replicas", "replicas_mismatch", "down", None),
        ("kt:missing_replicas", "replicas_mismatch", "up", None),
        ("kt:node_ready", "node_not_ready", "down", None),
        ("up", "unavailable", "down", None),
        ("node_filesystem_avail_bytes", "volume_full", "down", None),
        ("container_cpu_cfs_throttled_periods_total", "throttled", "up", None),
        ("responseTime", "latency", "up", "waiting"),
        ("flux_compensation", "unknown", "either", None),
    ],
)
def test_the_name_of_a_metric_tells_symptom_way_and_part(
    metric: str, symptom: str, worse: str, role: str | None
) -> None:
    meaning = RULES.meaning(metric)
    assert meaning is not None
    assert (meaning.symptom, meaning.worse, meaning.role) == (symptom, worse, role)


def test_one_signal_for_each_entity_and_symptom() -> None:
    step = np.concatenate([noisy(7, 30), noisy(8, 30, 3.0)])
    at = np.arange(60) * 15.0
    metrics = {"latency_p50": series(at, step), "latency_p99": series(at, 2 * step), "errors": series(at, step)}
    found = signals(changes({"cart": metrics}, {}, Span(onset=450.0), RULES), 0.5)
    assert [(each.entity, each.symptom, each.source) for each in found] == [
        ("cart", "errors", "metric"),
        ("cart", "latency", "metric"),
    ]
    assert found[0].starts_at.timestamp() == 450


@given(SAMPLES, st.randoms())
def test_the_order_of_samples_does_not_matter(samples: list[tuple[int, float]], chance: object) -> None:
    shuffled = list(samples)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis hands out a random.Random without saying so
    assert strengths(table(shuffled)) == strengths(table(samples))


@given(SAMPLES, st.data())
def test_samples_that_come_twice_change_nothing(samples: list[tuple[int, float]], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(samples), max_size=10))
    assert strengths(table(samples + again)) == strengths(table(samples))


@given(SAMPLES, st.sampled_from([1e-6, 1e-3, 60.0, 1e3, 1e9]))
def test_the_unit_of_a_series_does_not_matter(samples: list[tuple[int, float]], factor: float) -> None:
    scaled = [(at, value * factor) for at, value in samples]
    before, after = strengths(table(samples)), strengths(table(scaled))
    # A change at the edge of rounding may be seen in one unit only.
    assert dict(after).get("latency_seconds", 0.0) == pytest.approx(dict(before).get("latency_seconds", 0.0), abs=1e-6)


@given(VALUES, st.integers(2, 60), st.sampled_from(["latency_seconds", "error_ratio", "cpu", "up", "x", "restarts"]))
def test_a_series_that_stands_still_never_changed(value: float, length: int, metric: str) -> None:
    still = [(at * 100, value) for at in range(length)]
    assert all(strength < 1e-6 for _, strength in strengths(table(still, metric), length * 50.0))
