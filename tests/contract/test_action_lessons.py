"""What single actions do beyond the contract of all, and lessons of similar systems, on the twin and a real cluster."""

from __future__ import annotations

import pytest

from remediate.actions import ACTIONS, CannotAct, Mark
from remediate.actions.pods import serving
from remediate.actions.zone import ZONE
from tests.contract.action_cases import (
    LATER,
    MARK,
    NOW,
    VERSIONS,
    a_pod,
    autoscaler,
    claim,
    image,
    node,
    of_a_job,
    of_revisions,
    sized,
    sized_pod,
    state,
    stuck,
    web,
    with_ended_pods,
    zoned,
)
from tests.contract.clusters import MERGE, Place, deployment, until
from tests.contract.webhooks import hook


@pytest.fixture
def place(planted: Place) -> Place:
    return planted


@pytest.mark.whole_cluster
def test_lesson_blast_radius_never_a_whole_replica_set_at_once(place: Place) -> None:
    """descheduler 65, 656: an eviction goes in waves, and the next one waits until the one before serves again."""
    first, *others = sorted(each["metadata"]["name"] for each in place.cluster.list("Node"))
    for name in others:
        place.api.must("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}}, kind=MERGE)
    place.deployment(replicas=4)
    for name in others:
        place.api.must("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}}, kind=MERGE)
    place.api.must("PATCH", f"/api/v1/nodes/{first}", {"spec": {"unschedulable": True}}, kind=MERGE)
    evict = ACTIONS["evict-pods"]
    parameters = {"namespaces": [place.namespace], "share": 0.34}
    step = evict.prepare(place.cluster, place.get("Node", first), parameters)
    assert len(step.parameters["pods"]) == 4
    waves = 0

    def wave() -> bool:
        nonlocal waves
        outcome = evict.apply(place.cluster, step, MARK)
        waves += 1
        assert sum(1 for pod in place.pods() if serving(pod)) >= 3
        return outcome.ok

    until(wave, "everything has moved")
    assert waves >= 4
    until(lambda: not evict.settled(place.cluster, step), "the pods serve elsewhere")


def test_lesson_a_drain_that_a_budget_blocks_is_not_forced(place: Place) -> None:
    """cyclops 10: it is told as not done yet, with the reason, and no pod goes."""
    target = node(place)
    budget = {"metadata": {"name": "web"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}
    place.api.must("POST", f"/apis/policy/v1/namespaces/{place.namespace}/poddisruptionbudgets", budget)
    until(lambda: held(place), "the budget is seen")
    evict = ACTIONS["evict-pods"]
    step = evict.prepare(place.cluster, target, {"namespaces": [place.namespace], "share": 1.0})
    assert "disruption budgets hold back" in step.summary
    outcome = evict.apply(place.cluster, step, MARK)
    assert outcome.later
    assert not outcome.ok
    assert "disruption budget" in outcome.detail
    assert all(serving(pod) for pod in place.pods())


def held(place: Place) -> bool:
    found = place.get("PodDisruptionBudget", "web").get("status") or {}
    return "disruptionsAllowed" in found


def test_lesson_the_only_pod_that_serves_is_not_ended(place: Place) -> None:
    place.deployment(replicas=1)
    with pytest.raises(CannotAct, match="no sibling"):
        ACTIONS["terminate-pod"].prepare(place.cluster, {**place.pods()[0], "kind": "Pod"}, {"sibling_delay_s": 0})


def test_lesson_siblings_are_ended_with_a_delay_between_them(place: Place) -> None:
    """descheduler 1449, 1712: a sibling that was started a moment ago makes it wait."""
    target = a_pod(place)
    with pytest.raises(CannotAct, match="between two") as refused:
        ACTIONS["terminate-pod"].prepare(place.cluster, target, {"sibling_delay_s": 3600 * 24 * 365})
    assert refused.value.later


def test_lesson_replicas_belong_to_the_autoscaler(place: Place) -> None:
    """kubernetes 25238: scaling out is refused, raising the maximum is planned for the workload instead."""
    autoscaler(place)
    workload = place.get("Deployment", "web")
    with pytest.raises(CannotAct, match="owns its replicas"):
        ACTIONS["scale-out"].prepare(place.cluster, workload, {})
    step = ACTIONS["raise-hpa-maximum"].prepare(place.cluster, workload, {"max_replicas": 3})
    assert (step.target.kind, step.parameters["to"]) == ("HorizontalPodAutoscaler", 3)
    with pytest.raises(CannotAct, match="the limit is 2"):
        ACTIONS["raise-hpa-maximum"].prepare(place.cluster, workload, {"max_replicas": 2})


def test_lesson_rollback_never_takes_what_serves_away(place: Place) -> None:
    """argo-rollouts 1292: while a stuck rollout goes back, as many pods of the stable revision serve as before."""
    target = stuck(place)
    rollback = ACTIONS["roll-back"]
    stable = {pod["metadata"]["name"] for pod in place.pods() if serving(pod)}
    assert len(stable) == 2
    step = rollback.prepare(place.cluster, target, {})
    assert "replicas" not in step.diff
    assert rollback.apply(place.cluster, step, MARK).ok

    def back() -> bool:
        assert stable <= {pod["metadata"]["name"] for pod in place.pods() if serving(pod)}
        return not rollback.settled(place.cluster, step)

    until(back, "it is back")
    assert place.get("Deployment", "web")["spec"]["replicas"] == 2


def test_a_paused_rollout_is_not_rolled_back(place: Place) -> None:
    place.deployment()
    image(place, place.images.v2, wait=True)
    place.api.must("PATCH", f"{place.apps}/deployments/web", {"spec": {"paused": True}}, kind=MERGE)
    with pytest.raises(CannotAct, match="resume"):
        ACTIONS["roll-back"].prepare(place.cluster, place.get("Deployment", "web"), {})


def test_a_secret_is_never_restored(place: Place) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s", "namespace": place.namespace}}
    with pytest.raises(CannotAct, match="never kept"):
        ACTIONS["restore-config"].prepare(place.cluster, secret, {"config_versions": lambda *_: VERSIONS})


def test_a_pod_in_quarantine_runs_on_and_its_owner_makes_another_one(place: Place) -> None:
    target = a_pod(place)
    name, quarantine = target["metadata"]["name"], ACTIONS["quarantine"]
    step = quarantine.prepare(place.cluster, target, {})
    assert "NetworkPolicy" not in step.diff  # kinds are not shown, but what it denies is
    assert "policyTypes" in step.diff
    quarantine.apply(place.cluster, step, MARK)
    until(lambda: len([pod for pod in place.pods() if serving(pod)]) == 2, "another pod serves in its place")
    cut_off = place.get("Pod", name)
    assert serving(cut_off)
    assert not cut_off["metadata"].get("ownerReferences")
    policy = place.get("NetworkPolicy", f"kt-quarantine-{name}")
    assert policy["spec"] | {"policyTypes": ["Ingress", "Egress"]} == policy["spec"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= cut_off["metadata"]["labels"].items()
    assert quarantine.undo(place.cluster, step, MARK.action, {}).ok
    assert place.cluster.get("NetworkPolicy", f"kt-quarantine-{name}", place.namespace) is None
    place.rolled_out()


def test_a_pod_whose_name_is_its_identity_is_not_put_into_quarantine(place: Place) -> None:
    name = of_revisions(place, "StatefulSet")["metadata"]["name"]
    with pytest.raises(CannotAct, match="another one beside it"):
        ACTIONS["quarantine"].prepare(place.cluster, {**place.pods(name)[0], "kind": "Pod"}, {})


def test_what_has_ended_is_cleaned_up_and_what_runs_is_not(place: Place) -> None:
    target, clean_up = with_ended_pods(place), ACTIONS["clean-up-pods"]
    step = clean_up.prepare(place.cluster, target, {"min_age_s": 0, "now": LATER})
    assert sorted(step.parameters["pods"]) == [f"{place.namespace}/gone-1", f"{place.namespace}/gone-2"]
    assert clean_up.apply(place.cluster, step, MARK).ok
    until(lambda: not clean_up.settled(place.cluster, step), "they are gone")
    assert all(serving(pod) for pod in place.pods())
    with pytest.raises(CannotAct, match="has ended or is stuck"):
        clean_up.prepare(place.cluster, target, {"min_age_s": 0, "now": LATER})


def test_a_pod_that_a_finalizer_holds_is_left_to_whoever_holds_it(place: Place) -> None:
    spec = deployment(place, "web", 1)["spec"]["template"]["spec"] | {"nodeSelector": {"kt.io/none": "such"}}
    made = {"metadata": {"name": "held", "finalizers": ["example.com/theirs"]}, "spec": spec}
    place.api.must("POST", f"{place.core}/pods", made)
    place.api.must("DELETE", f"{place.core}/pods/held")
    with pytest.raises(CannotAct, match="finalizers hold it"):
        ACTIONS["clean-up-pods"].prepare(place.cluster, place.get("Pod", "held"), {"now": LATER})
    place.api.must("PATCH", f"{place.core}/pods/held", {"metadata": {"finalizers": None}}, kind=MERGE)


def test_a_pod_is_resized_where_it_stands(place: Place) -> None:
    target, resize = sized_pod(place), ACTIONS["scale-up"]
    step = resize.prepare(place.cluster, target, {"factor": 2, "resources": ["cpu"]})
    assert place.get("Pod", step.target.name)["spec"] == target["spec"]
    assert resize.apply(place.cluster, step, MARK).ok
    after = place.get("Pod", step.target.name)
    assert after["metadata"]["uid"] == target["metadata"]["uid"]
    assert after["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "200m", "memory": "64Mi"}


def test_more_is_given_up_to_a_limit_and_only_where_something_is_set(place: Place) -> None:
    target, up = sized(place), ACTIONS["scale-up"]
    step = up.prepare(place.cluster, target, {"factor": 3, "max_cpu": "200m", "max_memory": "64Mi"})
    assert step.parameters["to"]["shop"]["limits"] == {"cpu": "200m", "memory": "64Mi"}
    with pytest.raises(CannotAct, match="all that they may have"):
        up.prepare(place.cluster, target, {"max_cpu": "50m", "max_memory": "32Mi"})
    with pytest.raises(CannotAct, match="no amounts set"):
        up.prepare(place.cluster, place.deployment("plain"), {})


def test_a_workload_that_kt_did_not_send_to_sleep_is_not_woken(place: Place) -> None:
    with pytest.raises(CannotAct, match="not sent to sleep"):
        ACTIONS["wake"].prepare(place.cluster, web(place), {})


def test_lesson_hibernation_restores_exactly_the_state_before(place: Place) -> None:
    """kube-green 344: asleep and woken it is as it was, field by field."""
    before = place.deployment(replicas=3)
    for number, name in enumerate(("hibernate", "wake")):
        step = ACTIONS[name].prepare(place.cluster, place.get("Deployment", "web"), {})
        mark = Mark(action=f"a{number}", fencing=number + 1, at=NOW.isoformat())
        assert ACTIONS[name].apply(place.cluster, step, mark).ok
        place.rolled_out()
    assert state(place.get("Deployment", "web")) == state(before)
    assert len(place.pods()) == 3


@pytest.mark.whole_cluster
def test_no_workload_leaves_the_only_zone_that_there_is(place: Place) -> None:
    target = zoned(place)
    for each in place.cluster.list("Node"):
        labels = {"metadata": {"labels": {ZONE: "kt-a"}}}
        place.api.must("PATCH", f"/api/v1/nodes/{each['metadata']['name']}", labels, kind=MERGE)
    with pytest.raises(CannotAct, match="no node outside of zone kt-a"):
        ACTIONS["leave-zone"].prepare(place.cluster, target, {"zone": "kt-a"})


@pytest.mark.whole_cluster
def test_the_pods_of_a_workload_leave_the_zone_where_a_node_is_closed(place: Place) -> None:
    target, leave = zoned(place), ACTIONS["leave-zone"]
    in_a = next(each for each in place.cluster.list("Node") if each["metadata"]["labels"][ZONE] == "kt-a")
    name = in_a["metadata"]["name"]
    place.api.must("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}}, kind=MERGE)
    if all(pod["spec"]["nodeName"] != name for pod in place.pods()):
        with pytest.raises(CannotAct, match="name the zone"):
            leave.prepare(place.cluster, target, {})
        return
    step = leave.prepare(place.cluster, target, {})
    assert step.parameters["zone"] == "kt-a"
    leave.apply(place.cluster, step, MARK)
    place.rolled_out()
    assert all(pod["spec"]["nodeName"] != name for pod in place.pods())


def test_a_volume_whose_class_does_not_let_it_grow_is_left_alone(place: Place) -> None:
    target = claim(place)
    path = f"/apis/storage.k8s.io/v1/storageclasses/{place.namespace}"
    place.api.must("PATCH", path, {"allowVolumeExpansion": False}, kind=MERGE)
    with pytest.raises(CannotAct, match="does not let volumes grow"):
        ACTIONS["expand-volume"].prepare(place.cluster, target, {})


def test_a_job_of_ones_own_is_made_once_and_taken_away_by_an_undo(place: Place) -> None:
    target, run = web(place), ACTIONS["run-job"]
    step = run.prepare(place.cluster, target, of_a_job(place))
    outcome = run.apply(place.cluster, step, MARK)
    assert run.apply(place.cluster, step, MARK).ok
    jobs = place.cluster.list("Job", place.namespace)
    assert [each["metadata"]["name"] for each in jobs] == [outcome.undo["job"]]
    variables = {each["name"]: each["value"] for each in jobs[0]["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert variables == {"TARGET_KIND": "Deployment", "TARGET_NAME": "web", "TARGET_NAMESPACE": place.namespace}
    assert run.undo(place.cluster, step, MARK.action, {}).ok
    until(lambda: not place.cluster.list("Job", place.namespace), "the Job is gone")


def test_a_job_of_ones_own_is_waited_for_and_its_failing_is_told(place: Place) -> None:
    target, run, own = web(place), ACTIONS["run-job"], of_a_job(place)
    own["job"] |= {"activeDeadlineSeconds": 2}
    step = run.prepare(place.cluster, target, own)
    assert not run.settled(place.cluster, step)
    run.apply(place.cluster, step, MARK)
    assert run.settled(place.cluster, step)
    until(lambda: "failed: DeadlineExceeded" in run.settled(place.cluster, step), "the Job is out of time")


def test_only_addresses_that_operators_allow_are_asked(place: Place) -> None:
    target, call = web(place), ACTIONS["call-webhook"]
    for url in ("http://127.0.0.1:1/do", f"{hook().url}/../do", "file:///etc/passwd", f"{hook().url}0/do"):
        with pytest.raises(CannotAct, match=r"not under an address of guard\.webhooks"):
            call.prepare(place.cluster, target, {"url": url, "webhooks": [hook().url]})
    for path, later in (("busy", True), ("no", False)):
        step = call.prepare(place.cluster, target, {"url": f"{hook().url}/{path}", "webhooks": [hook().url]})
        outcome = call.apply(place.cluster, step, MARK)
        assert (outcome.ok, outcome.later) == (False, later)
