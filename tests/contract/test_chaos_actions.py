"""What KT's actions for experiments do to a cluster, and that another process can take it back: one suite for all."""

from __future__ import annotations

from typing import Any

import pytest
from chaoslib.exceptions import ActivityFailed

from tests.contract.clusters import MERGE, REAL, Place
from verify import actions, probes
from verify.actions.changing import NOTE


@pytest.fixture(autouse=True)
def found_by_experiments(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", place.api.kubeconfig)
    monkeypatch.delenv("KUBERNETES_CONTEXT", raising=False)


def spec(place: Place, kind: str = "Deployment", name: str = "web") -> dict[str, Any]:
    found: dict[str, Any] = place.get(kind, name)["spec"]
    return found


def container(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = spec(place)["template"]["spec"]["containers"][0]
    return found


def noted(place: Place, kind: str = "Deployment") -> bool:
    return NOTE in (place.get(kind, "web")["metadata"].get("annotations") or {})


def test_scaled_to_zero_and_back_to_exactly_what_it_was(place: Place) -> None:
    place.deployment()
    before = spec(place)
    actions.scale(place.namespace, "web")
    assert spec(place)["replicas"] == 0
    with pytest.raises(ActivityFailed, match="disturbed already"):
        actions.scale(place.namespace, "web", 1)
    assert actions.restore_object("Deployment", place.namespace, "web") == {"restored": ["/spec/replicas"]}
    assert (spec(place), noted(place)) == (before, False)
    # Rollbacks may run twice.
    assert actions.restore_object("Deployment", place.namespace, "web") == {"restored": []}
    assert actions.await_ready("Deployment", "web", place.namespace, 60.0)


def test_what_somebody_else_has_changed_since_is_left_alone(place: Place) -> None:
    place.deployment()
    actions.change_container(place.namespace, "web", {"image": place.images.missing, "command": ["/bin/none"]})
    theirs = [{"name": "shop", "image": place.images.v2}]
    kind = "application/strategic-merge-patch+json"
    place.api.must(
        "PATCH", f"{place.apps}/deployments/web", {"spec": {"template": {"spec": {"containers": theirs}}}}, kind=kind
    )
    back = actions.restore_object("Deployment", place.namespace, "web")["restored"]
    assert back == ["/spec/template/spec/containers/0/command"]
    assert container(place)["image"] == place.images.v2
    assert "command" not in container(place)


def test_a_rollout_of_wrong_settings_is_taken_back_though_the_api_server_adds_its_own(place: Place) -> None:
    place.deployment()
    before = container(place)
    probe = {"httpGet": {"path": "/nowhere", "port": 8080}}
    limits = {"limits": {"cpu": "0.5", "memory": "64Mi"}}
    actions.change_container(place.namespace, "web", {"readinessProbe": probe, "resources": limits}, "shop")
    assert container(place)["readinessProbe"]["httpGet"]["path"] == "/nowhere"
    actions.restore_object("Deployment", place.namespace, "web")
    assert container(place) == before
    actions.set_environment(place.namespace, "web", {"FAIL_RATIO": "0.5"})
    assert {"name": "FAIL_RATIO", "value": "0.5"} in container(place)["env"]
    actions.restore_object("Deployment", place.namespace, "web")
    assert container(place) == before


def test_what_is_not_there_fails_to_be_disturbed_and_needs_no_rollback(place: Place) -> None:
    with pytest.raises(ActivityFailed, match="is not there"):
        actions.scale(place.namespace, "nobody")
    assert actions.restore_object("Deployment", place.namespace, "nobody") == {"restored": []}
    assert actions.restore_traffic(place.namespace, "nobody") == {"deleted": False}
    assert actions.remove_pod(place.namespace, "nobody") == {"deleted": False}
    place.deployment(replicas=1)
    with pytest.raises(ActivityFailed, match="it has shop"):
        actions.change_container(place.namespace, "web", {"image": "x"}, "other")


def test_a_service_that_selects_nothing_or_the_wrong_port_and_back(place: Place) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    place.api.must("POST", f"{place.core}/services", service)
    before = spec(place, "Service")
    for number in range(2):
        if number == 0:
            actions.misroute(place.namespace, "web", {"app": "nobody"})
        else:
            actions.wrong_port(place.namespace, "web", 9)
        assert spec(place, "Service") != before
        actions.restore_object("Service", place.namespace, "web")
        assert (spec(place, "Service"), noted(place, "Service")) == (before, False)


def test_traffic_is_cut_for_all_or_for_one_caller_by_a_policy_that_goes_again(place: Place) -> None:
    path = f"/apis/networking.k8s.io/v1/namespaces/{place.namespace}/networkpolicies"
    actions.cut_traffic(place.namespace, "cut", {"app": "web"})
    assert not place.api.must("GET", f"{path}/cut")["spec"].get("ingress")
    assert actions.restore_traffic(place.namespace, "cut") == {"deleted": True}
    actions.cut_traffic(place.namespace, "cut", {"app": "web"}, {"app": "front"})
    policy = place.api.must("GET", f"{path}/cut")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    (expression,) = policy["ingress"][0]["from"][0]["podSelector"]["matchExpressions"]
    assert expression == {"key": "app", "operator": "NotIn", "values": ["front"]}
    actions.restore_traffic(place.namespace, "cut")
    assert place.api.ask("GET", f"{path}/cut").code == 404


@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_a_stress_pod_is_bounded_in_time_and_size_and_can_be_removed(place: Place, kind: str) -> None:
    if kind == "cpu":
        actions.burn_cpu(place.namespace, "stress", cores=1, seconds=30, image=place.images.v1)
    else:
        actions.fill_memory(place.namespace, "stress", megabytes=16, seconds=30, image=place.images.v1)
    pod = place.get("Pod", "stress")["spec"]
    assert (pod["activeDeadlineSeconds"], pod["restartPolicy"]) == (30, "Never")
    assert pod["containers"][0]["resources"]["limits"]["memory"] in ("32Mi", "48Mi")
    assert actions.remove_pod(place.namespace, "stress") == {"deleted": True}


def test_conditions_of_objects_are_read_by_name(place: Place) -> None:
    place.deployment(replicas=1)
    about: dict[str, Any] = {"kind": "Deployment", "name": "web", "namespace": place.namespace}
    assert probes.condition(**about, type="Available", within_s=60) == "True"
    assert probes.condition(**about, type="NoSuch") == "missing"
    assert probes.condition("Deployment", "nobody", "Available", place.namespace) == "missing"
    node = place.api.must("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    assert probes.condition("Node", node, "Ready") == "True"
    with pytest.raises(ActivityFailed, match="no kind that is known"):
        probes.condition("Widget", "x", "Ready")


def test_a_program_is_told_through_the_api_server_to_misbehave(place: Place) -> None:
    with pytest.raises(ActivityFailed, match="no pod with app=nobody runs"):
        actions.switch_fault(place.namespace, "app=nobody", "/fault?errors=1")
    if place.images is not REAL:
        return  # what runs on the twin has no program that could be called
    place.deployment(replicas=2)

    def answers() -> list[int]:
        paths = (f"{place.core}/pods/{each['metadata']['name']}:8080/proxy/" for each in place.pods("web"))
        return [place.api.ask("GET", path).code for path in paths]

    on = actions.switch_fault(place.namespace, "app=web", "/fault?errors=1&seconds=600", pods=1)
    assert list(on.values()) == [{"errors": 1, "delay_ms": 0}]
    assert sorted(answers()) == [200, 500]
    assert len(actions.switch_fault(place.namespace, "app=web", "/fault?errors=1&seconds=600")) == 2
    assert answers() == [500, 500]
    with pytest.raises(ActivityFailed, match="is not a number from 0 to 1"):
        actions.switch_fault(place.namespace, "app=web", "/fault?errors=2")
    actions.switch_fault(place.namespace, "app=web", "/fault?errors=0")
    assert answers() == [200, 200]


def test_a_merge_patch_of_others_does_not_lose_the_note(place: Place) -> None:
    place.deployment(replicas=1)
    actions.scale(place.namespace, "web")
    label = {"metadata": {"labels": {"team": "a"}}}
    place.api.must("PATCH", f"{place.apps}/deployments/web", label, kind=MERGE)
    actions.restore_object("Deployment", place.namespace, "web")
    assert (spec(place)["replicas"], noted(place)) == (1, False)
