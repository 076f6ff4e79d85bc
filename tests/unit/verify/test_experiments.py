"""The experiment that a fix has to stand."""

from typing import Any

from chaoslib.experiment import ensure_experiment_is_valid

from verify.experiments import ExperimentRequest, attacks, experiment_for
from verify.passive import Watch


def request(**more: Any) -> ExperimentRequest:
    about = {"title": "Does it hold?", "fault": "Workload.BadRevision of Deployment/shop/cart", "namespace": "shop",
             "workload_kind": "Deployment", "workload": "cart", "pod_selector": "app=cart",
             "prometheus_url": "http://127.0.0.1:9090", "alerts": ('ALERTS{alertname="Slow"}',)}  # fmt: skip
    return ExperimentRequest(**(about | more))


def names(experiment: dict[str, Any]) -> list[str]:
    return [each["name"] for each in experiment["method"]]


def test_a_pod_of_the_healed_workload_ends_and_must_come_back() -> None:
    made = experiment_for(request())
    ensure_experiment_is_valid(made)
    assert names(made) == ["end one pod", "the replicas come back"]
    assert attacks(made)


def test_an_overload_is_repeated() -> None:
    made = experiment_for(request(service="cart", per_second=8.0))
    ensure_experiment_is_valid(made)
    assert names(made) == ["send the load again", "the replicas come back"]


def test_where_nothing_can_be_disturbed_the_symptoms_are_watched_and_it_says_how_sure_that_makes() -> None:
    watch = Watch(seconds=60.0, confidence=0.777)
    made = experiment_for(request(workload="", workload_kind="", pod_selector="", watch=watch))
    ensure_experiment_is_valid(made)
    assert len(made["method"]) == 1
    assert not attacks(made)
    step = made["method"][0]
    assert step["provider"]["func"] == "stays_quiet"
    assert step["provider"]["arguments"]["watch_s"] == 60.0
    assert "60 s" in step["name"]
    assert "78%" in step["name"]
