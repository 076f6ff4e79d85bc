"""What an action changes beside its target: told in its step, so that it is reserved, and left to a later holder."""

from __future__ import annotations

import pytest

from remediate.actions import ACTIONS, CannotAct, Mark
from remediate.actions.base import FENCING, marks_of
from remediate.actions.pods import belongs_to, serving, workload_of
from remediate.plan import lease_of
from tests.contract.action_cases import LATER, autoscaler, config, node, of_revisions, with_ended_pods
from tests.contract.clusters import MERGE, Place


@pytest.fixture
def place(planted: Place) -> Place:
    return planted


def under(place: Place, token: int) -> Mark:
    """Somebody who has the right to the target and, under this token, to the Deployment."""
    return Mark(action="a1", fencing=1, at=LATER, rights={lease_of(web(place)): token})


def web(place: Place) -> str:
    return f"Deployment/{place.namespace}/web"


def acted_on(place: Place, token: int) -> None:
    """Somebody with that right to the Deployment has acted on it."""
    change = {"metadata": {"annotations": {FENCING: str(token)}}}
    place.api.must("PATCH", f"{place.apps}/deployments/web", change, kind=MERGE)


def test_a_drain_touches_the_workloads_whose_pods_it_moves(place: Place) -> None:
    step = ACTIONS["evict-pods"].prepare(place.cluster, node(place), {"namespaces": [place.namespace]})
    assert step.touches == (web(place),)
    assert step.leases == {step.target.lease, f"target/{web(place)}"}


@pytest.mark.few_real
def test_a_restart_of_users_touches_the_users(place: Place) -> None:
    assert ACTIONS["restart-users"].prepare(place.cluster, config(place), {}).touches == (web(place),)


@pytest.mark.few_real
def test_a_higher_maximum_touches_what_is_scaled(place: Place) -> None:
    step = ACTIONS["raise-hpa-maximum"].prepare(place.cluster, autoscaler(place), {})
    assert (step.target.kind, step.touches) == ("HorizontalPodAutoscaler", (web(place),))


@pytest.mark.few_real
def test_cleaning_up_touches_pods_that_nobody_keeps_by_themselves(place: Place) -> None:
    step = ACTIONS["clean-up-pods"].prepare(place.cluster, with_ended_pods(place), {"min_age_s": 0, "now": LATER})
    assert step.touches == tuple(f"Pod/{place.namespace}/gone-{number}" for number in (1, 2))


@pytest.mark.few_real("Deployment")
@pytest.mark.parametrize("case", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_pod_tells_by_itself_what_its_owners_say(place: Place, case: str) -> None:
    if case == "Deployment":
        place.deployment()
    else:
        of_revisions(place, case)
    pods = place.pods("web" if case == "Deployment" else "set")
    assert pods
    for pod in pods:
        owner = workload_of(place.cluster, pod)
        assert owner is not None
        assert belongs_to(pod) == f"{owner['kind']}/{place.namespace}/{owner['metadata']['name']}"
        assert belongs_to(pod).startswith(case)


def test_a_drain_stands_back_where_a_later_holder_has_acted_on_one_of_the_workloads(place: Place) -> None:
    evict = ACTIONS["evict-pods"]
    step = evict.prepare(place.cluster, node(place), {"namespaces": [place.namespace], "share": 0.5})
    acted_on(place, 4)
    with pytest.raises(CannotAct, match="a later holder"):
        evict.apply(place.cluster, step, under(place, 3))
    assert all(serving(pod) for pod in place.pods()), "no pod was moved"
    assert "moved web-" in evict.apply(place.cluster, step, under(place, 4)).detail.replace(f"{place.namespace}/", "")


@pytest.mark.few_real
def test_what_a_drain_may_not_move_any_more_keeps_it_from_nothing_else(place: Place) -> None:
    """A workload none of whose pods is left on the node is nobody's business here."""
    evict = ACTIONS["evict-pods"]
    step = evict.prepare(place.cluster, node(place), {"namespaces": [place.namespace]})
    acted_on(place, 4)
    for pod in step.parameters["pods"]:
        name = pod.partition("/")[2]
        place.api.must("DELETE", f"{place.core}/pods/{name}", gracePeriodSeconds=0)
    assert evict.apply(place.cluster, step, under(place, 3)).ok


def test_users_are_restarted_under_the_right_to_them_not_to_their_config(place: Place) -> None:
    users = ACTIONS["restart-users"]
    step = users.prepare(place.cluster, config(place), {})
    acted_on(place, 6)
    with pytest.raises(CannotAct, match="a later holder"):
        users.apply(place.cluster, step, under(place, 5))
    assert users.apply(place.cluster, step, under(place, 7)).ok
    assert marks_of(place.get("Deployment", "web"))[FENCING] == "7"
