"""What a plan would lead to: pods find a place or not, and the twin's own scheduler sees it the same way."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from remediate.cluster import ClusterError, Object
from remediate.placement import Rooms
from remediate.plan import Step, Target
from remediate.whatif import FEW, Lately, look_ahead
from twin.api import defaults
from twin.objects import Store
from twin.simulation import placing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE = "topology.kubernetes.io/zone"


def node(
    name: str, cpu: str = "4", zone: str = "a", *, taint: str = "", closed: bool = False, well: bool = True
) -> Object:
    spec: Object = {"unschedulable": True} if closed else {}
    if taint:
        spec["taints"] = [{"key": taint, "effect": "NoSchedule"}]
    return {
        "metadata": {"name": name, "labels": {ZONE: zone}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "40"},
            "conditions": [{"type": "Ready", "status": "True" if well else "False"}],
        },
    }


def spec(cpu: str = "", **more: Any) -> Object:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    return {"containers": [{"name": "a", "image": "x", "resources": resources}], **more}


def pod(name: str, on: str, cpu: str = "") -> Object:
    meta = {"name": name, "namespace": "shop", "labels": {"app": "web"}}
    return {"metadata": meta, "spec": {**spec(cpu), "nodeName": on}, "status": {"phase": "Running"}}


class Known:
    """A cluster of which these objects are known."""

    def __init__(
        self, workload: Object, *, nodes: list[Object], pods: list[Object], quota: Object | None = None
    ) -> None:
        self.workload = workload
        self.lists = {"Node": nodes, "Pod": pods, "ResourceQuota": [quota] if quota else []}
        self.forbidden: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        """(kind, fields) of each list that was asked for."""

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        return next((each for each in self.lists.get(kind, []) if each["metadata"]["name"] == name), self.workload)

    def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        self.asked.append((kind, fields))
        if kind in self.forbidden:
            raise ClusterError("forbidden", 403)
        if not fields:
            return self.lists[kind]
        path, _, wanted = fields.partition("=")
        part, _, field = path.partition(".")
        return [each for each in self.lists[kind] if each[part].get(field) == wanted]


def web(template: Object) -> Object:
    meta = {"name": "web", "namespace": "shop"}
    return {"metadata": meta, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"spec": template}}}


def look(
    cluster: Any, action: str = "scale-out", kind: str = "Deployment", lately: Lately | None = None, **parameters: Any
) -> Any:
    at = Target(kind=kind, name="n1" if kind == "Node" else "web", namespace="" if kind == "Node" else "shop")
    return look_ahead(cluster, [Step(action=action, target=at, parameters=parameters)], (), lately)


def test_new_pods_that_fit_are_forecast_with_the_fullest_node() -> None:
    found = look(Known(web(spec("1")), nodes=[node("n1"), node("n2")], pods=[pod("p", "n1", "3")]), was=1, to=3)
    assert found.lines == ("all 2 new pods fit; the fullest node (n1) then has 75% asked for",)
    assert not found.short


def test_what_fits_nowhere_is_not_worth_proposing_and_says_why() -> None:
    nodes = [node("n1", "1"), node("n2", closed=True), node("n3", taint="gpu"), node("n4", well=False)]
    found = look(Known(web(spec("2")), nodes=nodes, pods=[]), was=1, to=2)
    assert found.short == found.lines[0]
    for why in ("too little cpu left", "closed to new pods", "tainted gpu", "not ready"):
        assert why in found.short


def test_what_fits_in_part_is_told_and_proposed() -> None:
    found = look(Known(web(spec("2")), nodes=[node("n1")], pods=[]), was=1, to=4)
    assert found.lines[0].startswith("2 of 3 new pods fit")
    assert not found.short


def test_a_quota_that_lets_no_more_in_is_told() -> None:
    quota = {
        "metadata": {"name": "shop"}, "spec": {},
        "status": {"hard": {"requests.cpu": "4", "pods": "10"}, "used": {"requests.cpu": "3", "pods": "3"}},
    }  # fmt: skip
    found = look(Known(web(spec("1")), nodes=[node("n1")], pods=[], quota=quota), was=1, to=3)
    assert found.short == "quota shop lets in requests.cpu 4, 5 would be needed"
    assert not look(Known(web(spec("1")), nodes=[node("n1")], pods=[], quota=quota), was=1, to=2).short


def test_quotas_that_may_not_be_read_are_left_out() -> None:
    cluster = Known(web(spec()), nodes=[node("n1")], pods=[])
    cluster.forbidden = {"ResourceQuota"}
    assert not look(cluster, was=1, to=2).short


def test_pods_of_a_closed_node_must_find_a_place_elsewhere_and_those_of_a_dead_one_need_not() -> None:
    moved = [pod("p1", "n1", "2"), pod("p2", "n1", "2")]
    for well, proposed in ((True, False), (False, True)):
        nodes = [node("n1", well=well), node("n2", "1")]
        found = look(Known({}, nodes=nodes, pods=moved), "evict-pods", "Node", pods=["shop/p1", "shop/p2"])
        assert found.lines[0].startswith("0 of 2 pods elsewhere fit")
        assert (not found.short) is proposed


def test_larger_pods_may_use_the_room_of_the_old_ones() -> None:
    amounts = {"a": {"requests": {"cpu": "3"}, "limits": {}}}
    known = Known(web(spec("2")), nodes=[node("n1")], pods=[pod("p", "n1", "2")])
    assert not look(known, "scale-up", to=amounts).short
    more = {"a": {"requests": {"cpu": "5"}, "limits": {}}}
    assert "too little cpu left" in look(known, "scale-up", to=more).short


def test_a_workload_that_leaves_a_zone_needs_room_in_another() -> None:
    pods = [pod("p", "n1", "2")]
    roomy = Known(web(spec("2")), nodes=[node("n1"), node("n2", zone="b")], pods=pods)
    assert not look(roomy, "leave-zone", zone="a").short
    tight = Known(web(spec("2")), nodes=[node("n1"), node("n2", "1", zone="b")], pods=pods)
    assert "too little cpu left" in look(tight, "leave-zone", zone="a").short


def test_a_step_that_places_nothing_asks_for_nothing() -> None:
    assert look(Known({}, nodes=[], pods=[]), "cordon", "Node").lines == ()


def test_pods_that_have_ended_leave_no_room_to_larger_ones() -> None:
    ended = pod("p2", "n1", "2") | {"status": {"phase": "Failed"}}
    known = Known(web(spec("2")), nodes=[node("n1")], pods=[pod("p", "n1", "2"), ended])
    found = look(known, "scale-up", to={"a": {"requests": {"cpu": "3"}}})
    assert found.lines[0].startswith("all 1 pods of the new size fit")


class TestLately:
    """What was seen before tells where to look first; what is there now decides."""

    def cluster(self) -> Known:
        nodes = [node(f"n{number}") for number in range(9)]
        return Known(web(spec("1")), nodes=nodes, pods=[pod(f"p{number}", f"n{number}", "2") for number in range(8)])

    def test_the_second_look_asks_about_the_emptiest_node_alone(self) -> None:
        cluster, lately = self.cluster(), Lately()
        first = look(cluster, lately=lately, was=1, to=3)
        assert cluster.asked[:2] == [("Node", ""), ("Pod", "")]
        cluster.asked.clear()
        again = look(cluster, lately=lately, was=1, to=3)
        assert cluster.asked[:2] == [("Node", "metadata.name=n8"), ("Pod", "spec.nodeName=n8")]
        assert not {("Node", ""), ("Pod", "")} & set(cluster.asked)
        assert first.lines == ("all 2 new pods fit; the fullest node (n8) then has 50% asked for",)
        assert again.lines == ("all 2 new pods fit; the fullest node that was looked at (n8) then has 50% asked for",)

    def test_pods_that_one_node_does_not_take_are_spread_over_a_few(self) -> None:
        cluster, lately = self.cluster(), Lately()
        look(cluster, lately=lately, was=1, to=2)
        cluster.asked.clear()
        assert look(cluster, lately=lately, was=1, to=7).lines[0].startswith("all 6 new pods fit")
        assert ("Pod", "") not in cluster.asked

    def test_nodes_that_are_full_closed_or_gone_by_now_are_not_believed(self) -> None:
        cluster, lately = self.cluster(), Lately()
        look(cluster, lately=lately, was=1, to=2)
        cluster.lists["Node"] = [node("n7", well=False), node("n6", closed=True), node("n5", taint="gpu")]
        cluster.lists["Pod"] = []
        cluster.asked.clear()
        found = look(cluster, lately=lately, was=1, to=2)
        assert "0 of 1 new pods fit" in found.short
        assert [each for each in cluster.asked if each == ("Node", "")] == [("Node", "")]
        assert sum(1 for kind, fields in cluster.asked if kind == "Node" and fields) <= FEW


sizes = st.sampled_from(["", "500m", "1", "1500m", "3"])
nodes = st.lists(
    st.builds(
        node, st.just(""), st.sampled_from(["1", "2", "4"]), st.sampled_from("ab"), taint=st.sampled_from(["", "gpu"]),
        closed=st.booleans(),
    ),
    min_size=1, max_size=5,
)  # fmt: skip
wishes = st.fixed_dictionaries(
    {},
    optional={
        "nodeSelector": st.just({ZONE: "a"}),
        "tolerations": st.just([{"key": "gpu", "operator": "Exists"}]),
        "affinity": st.just({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": ZONE, "operator": "NotIn", "values": ["b"]}]}]}}}),
    },
)  # fmt: skip


@given(nodes, st.lists(st.tuples(st.integers(0, 4), sizes), max_size=8), sizes, wishes)
def test_the_twins_scheduler_takes_a_pod_where_the_forecast_says_so(
    given_nodes: list[Object], there: list[tuple[int, str]], cpu: str, wish: Object
) -> None:
    store = Store(lambda: NOW, random.Random(1))
    store.create("Namespace", {"metadata": {"name": "shop"}})
    for number, each in enumerate(given_nodes):
        each["metadata"]["name"] = f"n{number}"
        store.create("Node", each)
    pods = [pod(f"p{number}", f"n{place % len(given_nodes)}", size) for number, (place, size) in enumerate(there)]
    for each in pods:
        store.create("Pod", each)
    one: Object = {"metadata": {"name": "new", "namespace": "shop"}, "spec": spec(cpu, **wish)}
    defaults.fill(store, "Pod", one)
    fitting = [each["metadata"]["name"] for each in placing.fitting(store, one)]
    chosen = Rooms(given_nodes, pods).take(spec(cpu, **wish))
    assert bool(chosen) == bool(fitting)
    assert not chosen or chosen in fitting


clusters = st.tuples(nodes, st.lists(st.tuples(st.integers(0, 4), sizes), max_size=8))


def known(made: tuple[list[Object], list[tuple[int, str]]], template: Object) -> Known:
    given_nodes, there = made
    named = [{**each, "metadata": {**each["metadata"], "name": f"n{place}"}} for place, each in enumerate(given_nodes)]
    pods = [pod(f"p{number}", f"n{place % len(named)}", size) for number, (place, size) in enumerate(there)]
    return Known(web(template), nodes=named, pods=pods)


@given(clusters, clusters, sizes, wishes, st.integers(1, 5))
def test_what_was_seen_before_never_makes_a_plan_worth_proposing_or_not(
    before: Any, now: Any, cpu: str, wish: Object, more: int
) -> None:
    lately, template = Lately(), spec(cpu, **wish)
    look(known(before, template), lately=lately, was=1, to=1 + more)
    with_memory = look(known(now, template), lately=lately, was=1, to=1 + more)
    assert bool(with_memory.short) == bool(look(known(now, template), was=1, to=1 + more).short)
