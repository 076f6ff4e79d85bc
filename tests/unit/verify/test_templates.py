"""Every fault mode has its experiment: valid for Chaos Toolkit, limited in time, taken back, and about its symptoms."""

from __future__ import annotations

import importlib
import inspect
import json
import math
from typing import Any

import pytest
from chaoslib.configuration import load_configuration
from chaoslib.experiment import ensure_experiment_is_valid

from graph_schema.catalogue import FaultMode, load_catalogue
from graph_schema.located import BadKnowledge
from graph_schema.ontology import load_ontology
from verify import plain
from verify.passive import CONFIDENCE, watch_for
from verify.stop_when import extension
from verify.templates import Attack, experiment_of, load_templates

CATALOGUE = load_catalogue(ontology=load_ontology())
BOOK = load_templates()
ENDS_BY_ITSELF = ("verify.actions.load_service", "chaosk8s.pod.actions.terminate_pods", "verify.actions.hold")


def made(fault: str, **values: Any) -> dict[str, Any]:
    return experiment_of(BOOK, CATALOGUE.faults[fault], values)


def activities(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    return [*experiment["steady-state-hypothesis"]["probes"], *experiment["method"], *experiment["rollbacks"]]


def function(activity: dict[str, Any]) -> str:
    return f"{activity['provider']['module']}.{activity['provider']['func']}"


def test_every_fault_mode_is_attacked_or_watched_and_never_both() -> None:
    listed = [*BOOK.attacks, *BOOK.passive]
    assert sorted(listed) == sorted(CATALOGUE.faults)
    assert len(BOOK.attacks) > len(CATALOGUE.faults) / 2


@pytest.mark.parametrize("fault", sorted(CATALOGUE.faults))
def test_an_experiment_is_valid_for_chaos_toolkit_and_names_what_exists(fault: str) -> None:
    experiment = made(fault)
    # With its values filled in, as a run does it.
    ensure_experiment_is_valid(experiment)
    assert json.loads(json.dumps(experiment)) == experiment
    configuration = load_configuration(experiment["configuration"])
    assert "${" not in json.dumps(plain.filled(experiment["method"], configuration))
    for activity in activities(experiment):
        module = importlib.import_module(activity["provider"]["module"])
        known = inspect.signature(getattr(module, activity["provider"]["func"])).parameters
        assert set(activity["provider"]["arguments"]) <= set(known), function(activity)
    (mine,) = experiment["extensions"]
    assert (mine["name"], mine["fault"]) == ("kt", fault)
    assert extension(experiment, fault).stop_when == ()


@pytest.mark.parametrize("fault", sorted(BOOK.attacks))
def test_an_attack_is_limited_and_taken_back(fault: str) -> None:
    attack, experiment = BOOK.attacks[fault], made(fault)
    assert isinstance(attack, Attack)
    assert experiment["rollbacks"]
    lasting = [
        each for each in experiment["method"] if each["type"] == "action" and function(each) not in ENDS_BY_ITSELF
    ]
    undoing = [function(each) for each in experiment["rollbacks"]]
    if lasting:
        assert set(undoing) & {
            "verify.actions.restore_object", "verify.actions.restore_traffic", "verify.actions.remove_pod",
            "verify.actions.stop_proxy",
        }  # fmt: skip
    what = {str(each["provider"]["arguments"].get("name")) for each in lasting}
    taken_back = {str(each["provider"]["arguments"].get("name")) for each in experiment["rollbacks"]}
    assert what <= taken_back


def test_the_steady_state_is_about_the_symptoms() -> None:
    names = [
        each["name"] for each in made("Workload.ScaledToZero", service="cart")["steady-state-hypothesis"]["probes"]
    ]
    assert names == ["all replicas are ready", "hardly any request fails"]
    assert [function(each) for each in made("Node.NotReady")["steady-state-hypothesis"]["probes"]][:1] == [
        "verify.probes.condition"
    ]
    (alerts,) = made("Etcd.NoLeader")["steady-state-hypothesis"]["probes"]
    assert function(alerts) == "verify.probes.settled_alerts"


def test_a_value_changes_the_configuration_and_nothing_else() -> None:
    usual, given = made("Workload.ScaledToZero"), made("Workload.ScaledToZero", workload="cart", seconds=5)
    assert given["configuration"] | usual["configuration"] == usual["configuration"]
    assert (given["configuration"]["workload"], given["configuration"]["seconds"]) == ("cart", 5)
    assert given["method"] == usual["method"]
    assert plain.scope(given, {}, {}).namespaces == ("default",)
    with pytest.raises(BadKnowledge, match="“wrkload” is no variable"):
        made("Workload.ScaledToZero", wrkload="cart")


def test_a_fault_mode_without_a_template_says_where_to_add_it() -> None:
    new = FaultMode(name="New.Fault", on=frozenset(), about="", prior=0.1, symptoms={}, source="")
    with pytest.raises(BadKnowledge, match=r"New\.Fault has no template: add it to verify/knowledge/attacks"):
        experiment_of(BOOK, new, {})


def test_what_must_not_be_repeated_is_watched_with_a_stated_confidence() -> None:
    experiment = made("Workload.ImageMissing")
    assert "confidence" not in experiment["extensions"][0]
    leak = made("Workload.MemoryLeak")
    (mine,) = leak["extensions"]
    (watch,) = leak["method"]
    assert (function(watch), leak["rollbacks"]) == ("verify.probes.stays_quiet", [])
    onset = CATALOGUE.faults["Workload.MemoryLeak"].onset_s
    assert leak["configuration"]["watch_s"] == watch_for(onset).seconds
    assert mine["confidence"] == pytest.approx(1 - math.exp(-watch_for(onset).seconds / onset), abs=1e-3)


@pytest.mark.parametrize(("onset_s", "confident"), [(0, True), (60, True), (600, True), (3600, False), (86400, False)])
def test_a_watch_is_three_onsets_long_unless_that_is_too_long(onset_s: float, confident: bool) -> None:
    watch = watch_for(onset_s)
    assert (watch.confidence >= CONFIDENCE) == confident
    assert watch.seconds == pytest.approx(min(max(3.0 * onset_s, 60), 3600), rel=2e-3)
