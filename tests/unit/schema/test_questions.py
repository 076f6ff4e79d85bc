"""Probes as a machine asks them: which words it understands, and what it takes for an answer."""

from __future__ import annotations

from typing import Any

import pytest

from graph_schema.catalogue import load_catalogue
from graph_schema.ontology import load_ontology
from graph_schema.questions import Question, judged_number, judged_words, question, read

POD: dict[str, Any] = {
    "metadata": {"name": "cart-1"},
    "spec": {"suspend": True},
    "status": {
        "conditions": [{"type": "Ready", "status": "False"}],
        "initContainerStatuses": [{"state": {"terminated": {"exitCode": 0}}}],
        "containerStatuses": [
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"reason": "OOMKilled"}}}
        ],
    },
}


def kubernetes(words: str, confirms: str) -> Question:
    found = question("", words, confirms)
    assert found is not None
    return found


def test_most_of_the_catalogue_can_be_asked_without_a_person() -> None:
    catalogue = load_catalogue(ontology=load_ontology())
    probes = [(probe, fault) for fault in catalogue.faults.values() for probe in fault.probes]
    asked = [
        fault.name
        for probe, fault in probes
        if question(probe.promql, probe.kubernetes.replace("{kind}", sorted(fault.on)[0]), probe.confirms)
    ]
    assert len(asked) / len(probes) > 0.65
    assert {"Node.NotReady", "Workload.ScaledToZero", "Workload.ImageMissing", "Database.Down"} <= set(asked)


@pytest.mark.parametrize(
    ("words", "confirms", "form"),
    [
        ("Deployment/cart", "not found", "exists"),
        ("Deployment/cart: spec.replicas", "= 0", "field"),
        ("Node/n1: condition Ready", "!= True", "condition"),
        ("pods of Deployment/cart: state.waiting.reason", "= ImagePullBackOff or ErrImagePull", "pods"),
        ("events of Pod/cart-1", "FailedScheduling", "events"),
        ("events of the pods of Deployment/cart", "Unhealthy (probe failed)", "events of pods"),
    ],
)
def test_the_forms_that_need_no_judgement_are_understood(words: str, confirms: str, form: str) -> None:
    found = kubernetes(words, confirms)
    assert (found.form, found.kind in ("Deployment", "Node", "Pod")) == (form, True)


@pytest.mark.parametrize(
    ("promql", "words", "confirms"),
    [
        ("x", "", "above its usual"),
        ("x", "", "absent"),
        ("", "Deployment/cart", "there"),
        ("", "Deployment/cart: managedFields, time of the last write", "shortly before"),
        ("", "log of a pod of Deployment/cart", "exec format error"),
        ("", "events of Pod/cart-1: reason", "Failed"),
        ("", "pods of Deployment/cart", "= x"),
    ],
)
def test_what_needs_judgement_is_left_to_people(promql: str, words: str, confirms: str) -> None:
    assert question(promql, words, confirms) is None


@pytest.mark.parametrize(
    ("confirms", "values", "verdict"),
    [
        ("> 0.9", [0.1, 0.95], True),
        ("> 0.9", [0.9], False),
        ("= 0", [0.0], True),
        ("!= 0", [0.0], False),
        (">= 1", [1.0], True),
        ("< -1.5", [-2.0], True),
        ("<= 3", [4.0], False),
        ("> 0.9", [], None),
        ("> 0.9", [float("nan")], None),
    ],
)
def test_a_number_confirms_by_its_comparison_and_no_series_says_nothing(
    confirms: str, values: list[float], verdict: bool | None
) -> None:
    asked = question("x", "", confirms)
    assert asked is not None
    assert judged_number(asked, values) is verdict


def test_fields_are_read_where_they_stand() -> None:
    assert read(kubernetes("Pod/cart-1: condition Ready", "= False"), POD) == ["False"]
    assert read(kubernetes("Pod/cart-1: state.waiting.reason", "= X"), POD) == ["CrashLoopBackOff"]
    assert read(kubernetes("Pod/cart-1: lastState.terminated.reason", "= X"), POD) == ["OOMKilled"]
    assert read(kubernetes("CronJob/x: spec.suspend", "= true"), POD) == ["true"]
    assert read(kubernetes("Pod/cart-1: spec.nothing.there", "= X"), POD) == []


def test_words_confirm_when_one_of_them_is_meant() -> None:
    either = kubernetes("Pod/x: status.reason", "= Evicted or Preempted")
    assert judged_words(either, ["Preempted"]) is True
    assert judged_words(either, ["Other"]) is False
    assert judged_words(either, []) is None
    assert judged_words(kubernetes("Node/n: condition Ready", "!= True"), ["Unknown"]) is True
