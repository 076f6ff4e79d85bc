"""What every action promises, on the twin and on a real cluster: what it says it does, once, and it goes back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from graph_schema.config_versions import ConfigVersion
from remediate.actions import ACTIONS, CannotAct, Mark, Outcome
from remediate.actions.base import FENCING, NOT_ANYBODYS_DOING, diff
from remediate.actions.pods import serving
from remediate.cluster import Object
from remediate.plan import Step
from tests.contract.clusters import MERGE, TWIN, Place, place_in, until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARK = Mark(action="a1", fencing=5, at=NOW.isoformat())
LATER = datetime.now(UTC).replace(year=2100).isoformat()
"""The twin's clock runs ahead of the wall's: late enough for every pod to be old."""
OLD = {"LATENCY_MS": "1"}
WRONG = {"LATENCY_MS": "9000"}


class Case(msgspec.Struct, frozen=True):
    """One action on one kind of target. `make` brings the cluster to where the action fits and gives the target."""

    action: str
    make: Callable[[Place], Object]
    parameters: dict[str, Any] = {}
    goes_back: bool = True
    meddle: dict[str, Any] | None = None
    """A merge patch by which somebody else changes the target; None: the target is replaced by another one."""


def web(place: Place) -> Object:
    return place.deployment()


def rolled(place: Place) -> Object:
    place.deployment()
    return image(place, place.images.v2, wait=True)


def stuck(place: Place) -> Object:
    place.deployment()
    image(place, place.images.missing, wait=False)
    until(lambda: len(place.pods()) > 2, "a pod of the new revision is there")
    return place.get("Deployment", "web")


def paused(place: Place) -> Object:
    place.deployment()
    place.api.must("PATCH", f"{place.apps}/deployments/web", {"spec": {"paused": True}}, kind=MERGE)
    return place.get("Deployment", "web")


def image(place: Place, name: str, *, wait: bool) -> Object:
    path = f"{place.apps}/deployments/web"
    template = copy.deepcopy(place.get("Deployment", "web")["spec"]["template"])
    template["spec"]["containers"][0]["image"] = name
    place.api.must("PATCH", path, {"spec": {"template": template}}, kind=MERGE)
    return place.rolled_out() if wait else place.get("Deployment", "web")


def autoscaler(place: Place) -> Object:
    """One that stands at its maximum."""
    place.deployment(replicas=3)
    path = f"/apis/autoscaling/v2/namespaces/{place.namespace}/horizontalpodautoscalers"
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    place.api.must("POST", path, {
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 1,
                 "maxReplicas": 2, "metrics": [cpu]},
    })  # fmt: skip

    def at_maximum() -> Object | None:
        found = place.get("HorizontalPodAutoscaler", "web")
        if (found.get("status") or {}).get("desiredReplicas") == 2:
            return found
        status = {"status": {"currentReplicas": 3, "desiredReplicas": 2}}
        place.api.must("PATCH", f"{path}/web/status", status, kind=MERGE)
        return None

    return until(at_maximum, "the autoscaler stands at its maximum")


def config(place: Place) -> Object:
    place.api.must("POST", f"{place.core}/configmaps", {"metadata": {"name": "web"}, "data": OLD})
    place.deployment(envFrom=[{"configMapRef": {"name": "web"}}])
    place.api.must("PATCH", f"{place.core}/configmaps/web", {"data": WRONG}, kind=MERGE)
    return place.get("ConfigMap", "web")


def a_pod(place: Place) -> Object:
    place.deployment()
    return {**place.pods()[0], "kind": "Pod"}


def node(place: Place) -> Object:
    """One that runs a pod of ours."""
    place.deployment()
    return place.get("Node", place.pods()[0]["spec"]["nodeName"])


def cordoned(place: Place) -> Object:
    name = node(place)["metadata"]["name"]
    place.api.must("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}}, kind=MERGE)
    return place.get("Node", name)


VERSIONS = [ConfigVersion(version="1", at=NOW, data=OLD)]
SCALED = {"spec": {"replicas": 1}}
CASES = {
    "scale-out": Case("scale-out", web, {"factor": 1.5, "max_replicas": 4}, meddle=SCALED),
    "roll-back": Case("roll-back", rolled, meddle=SCALED),
    "restart": Case("restart", web, goes_back=False, meddle=SCALED),
    "restart-pod": Case("restart", a_pod, goes_back=False),
    "terminate-pod": Case("terminate-pod", a_pod, {"sibling_delay_s": 0, "now": LATER}, goes_back=False),
    "pause-rollout": Case("pause-rollout", stuck, meddle=SCALED),
    "resume-rollout": Case("resume-rollout", paused, meddle=SCALED),
    "raise-hpa-maximum": Case("raise-hpa-maximum", autoscaler, meddle={"spec": {"maxReplicas": 7}}),
    "restore-config": Case("restore-config", config, {"config_versions": lambda *_: VERSIONS},
                           meddle={"data": {"LATENCY_MS": "5"}}),
    "restart-users": Case("restart-users", config, goes_back=False),
    "cordon": Case("cordon", node, meddle={"spec": {"unschedulable": True}}),
    "uncordon": Case("uncordon", cordoned, meddle={"spec": {"unschedulable": None}}),
    "evict-pods": Case("evict-pods", node, goes_back=False),
}  # fmt: skip


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.real("kubernetes"))])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A namespace of the test's own; on the real cluster its Deployment is on its way."""
    if request.param == "twin":
        with place_in(request.getfixturevalue("twin_kubeconfig"), TWIN) as here:
            yield here
    else:
        with request.getfixturevalue("nursery").place() as here:
            yield here


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = CASES[request.param]
    return found


def test_every_action_is_held_to_this_contract() -> None:
    assert {case.action for case in CASES.values()} == set(ACTIONS)


def prepared(place: Place, case: Case) -> tuple[Object, Step]:
    target = case.make(place)
    step = ACTIONS[case.action].prepare(place.cluster, target, {"namespaces": [place.namespace], **case.parameters})
    return target, step


def now(place: Place, step: Step) -> Object:
    return place.get(step.target.kind, step.target.name)


def state(thing: Object) -> Object:
    """What somebody declared of an object, without what controllers add by themselves."""
    meta = thing["metadata"]
    annotations = {
        key: value
        for key, value in (meta.get("annotations") or {}).items()
        if not key.startswith(NOT_ANYBODYS_DOING) and not key.startswith("volumes.kubernetes.io/")
    }
    spec = {key: value for key, value in (thing.get("spec") or {}).items() if key != "taints"}
    taints = [each for each in (thing.get("spec") or {}).get("taints") or [] if "unschedulable" not in each["key"]]
    return {
        "labels": meta.get("labels") or {},
        "annotations": annotations,
        "spec": spec | ({"taints": taints} if taints else {}),
        "data": thing.get("data") or {},
    }


def plain(thing: Object) -> Object:
    """An object reduced to its state, so that a diff shows nothing else."""
    return {"metadata": {"name": thing["metadata"]["name"], "annotations": state(thing)["annotations"]},
            "spec": state(thing)["spec"], "data": state(thing)["data"]}  # fmt: skip


def go_on(place: Place, step: Step, mark: Mark = MARK) -> Outcome:
    """What the pipeline does with a step that was begun: look first, act only when it was not done."""
    action = ACTIONS[step.action]
    return action.observe(place.cluster, step, mark.action) or action.apply(place.cluster, step, mark)


def test_preparing_changes_nothing_and_its_diff_is_the_effect(place: Place, case: Case) -> None:
    before, step = prepared(place, case)
    if step.target.kind == "Pod":
        assert "deletionTimestamp" not in now(place, step)["metadata"]
        assert ACTIONS[step.action].apply(place.cluster, step, MARK).ok
        return
    if step.target.kind != before["kind"]:
        before = now(place, step)
    assert state(now(place, step)) == state(before)
    assert ACTIONS[step.action].apply(place.cluster, step, MARK).ok
    done = diff(plain(before), plain(now(place, step)))
    assert changed(step.diff) == changed(done)


def changed(text: str) -> list[str]:
    """The lines of a diff that tell of a value; the heading of a part that is empty on one side is none."""
    return [line for line in text.splitlines()[2:] if line[0] in "+-" and line[1:] not in ("spec:", "data:")]


def test_killed_before_the_effect_it_is_seen_as_not_done_and_done_then(place: Place, case: Case) -> None:
    _, step = prepared(place, case)
    assert ACTIONS[step.action].observe(place.cluster, step, MARK.action) is None
    assert go_on(place, step).ok


def test_killed_after_the_effect_it_is_seen_as_done_and_nothing_is_done_twice(place: Place, case: Case) -> None:
    _, step = prepared(place, case)
    action = ACTIONS[step.action]
    first = action.apply(place.cluster, step, MARK)
    if step.action == "evict-pods":
        until(lambda: action.observe(place.cluster, step, MARK.action), "the pods have moved")
    done = action.observe(place.cluster, step, MARK.action)
    assert done is not None
    assert done.ok
    assert done.undo == first.undo
    if step.target.kind in ("Deployment", "ConfigMap", "HorizontalPodAutoscaler"):
        was = state(now(place, step)), now(place, step)["metadata"].get("generation")
        assert go_on(place, step).ok
        assert (state(now(place, step)), now(place, step)["metadata"].get("generation")) == was


@pytest.mark.parametrize("remembered", [True, False], ids=["with the outcome logged", "killed before it was logged"])
def test_undone_it_is_as_before_field_by_field(place: Place, case: Case, remembered: bool) -> None:
    before, step = prepared(place, case)
    action = ACTIONS[step.action]
    outcome = action.apply(place.cluster, step, MARK)
    if not case.goes_back:
        assert action.undo(place.cluster, step, MARK.action, outcome.undo).ok
        return
    assert state(now(place, step)) != state(before)
    if step.target.kind == "Deployment":
        # The controllers have seen it, and given revisions new numbers.
        until(lambda: seen(now(place, step)), "the controller has seen it")
    assert action.undo(place.cluster, step, MARK.action, outcome.undo if remembered else {}).ok
    until(lambda: state(now(place, step)) == state(before), "the state before")
    assert action.observe(place.cluster, step, MARK.action) is None


def seen(thing: Object) -> bool:
    return bool(thing["status"].get("observedGeneration") == thing["metadata"]["generation"])


def test_undoing_twice_does_nothing_more(place: Place, case: Case) -> None:
    before, step = prepared(place, case)
    action = ACTIONS[step.action]
    outcome = action.apply(place.cluster, step, MARK)
    for _ in range(2):
        assert action.undo(place.cluster, step, MARK.action, outcome.undo).ok
    if case.goes_back:
        assert state(now(place, step)) == state(before)


def test_what_somebody_else_has_changed_since_is_not_undone(place: Place, case: Case) -> None:
    if not case.goes_back or case.meddle is None:
        return
    _, step = prepared(place, case)
    action = ACTIONS[step.action]
    outcome = action.apply(place.cluster, step, MARK)
    ours: dict[str, Object] = {
        "roll-back": {"spec": {"paused": True}},
        "pause-rollout": {"spec": {"paused": None}},
        "resume-rollout": {"spec": {"paused": True}},
        "cordon": {"spec": {"unschedulable": None}},
        "uncordon": {"spec": {"unschedulable": True}},
    }
    patch(place, step, ours.get(case.action, case.meddle))
    if case.action == "roll-back":
        # Another field of the object is nobody's reason to leave the template as it is.
        assert action.undo(place.cluster, step, MARK.action, outcome.undo).ok
        assert now(place, step)["spec"]["paused"]
        return
    theirs = state(now(place, step))
    undone = action.undo(place.cluster, step, MARK.action, outcome.undo)
    assert undone.ok
    assert "left as it is" in undone.detail
    assert state(now(place, step)) == theirs


def test_a_target_that_changed_since_the_plan_is_refused(place: Place, case: Case) -> None:
    _, step = prepared(place, case)
    if case.meddle is None:
        step = msgspec.structs.replace(step, target=msgspec.structs.replace(step.target, uid="another"))
    else:
        patch(place, step, case.meddle)
    before = state(now(place, step))
    with pytest.raises(CannotAct):
        ACTIONS[step.action].apply(place.cluster, step, MARK)
    assert state(now(place, step)) == before


def test_a_later_holder_of_the_target_is_not_overruled(place: Place, case: Case) -> None:
    _, step = prepared(place, case)
    patch(place, step, {"metadata": {"annotations": {FENCING: str(MARK.fencing + 1)}}})
    before = state(now(place, step))
    with pytest.raises(CannotAct, match="later holder"):
        ACTIONS[step.action].apply(place.cluster, step, MARK)
    assert state(now(place, step)) == before


def patch(place: Place, step: Step, change: Object) -> None:
    at = step.target
    place.cluster.patch(at.kind, at.name, at.namespace, change)


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
    return "disruptionsAllowed" in found or place.images.pull != "Never"


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
