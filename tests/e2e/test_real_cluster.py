"""The main job on real servers: a rule of a real Prometheus fires, a real Alertmanager posts, KT with Neo4j and Redis
finds the cause, repairs a real Kubernetes cluster, and a real Chaos Toolkit experiment confirms that the fix holds.

All of it happens under one KT, one fault after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.campaign.faults import Injection, named, take_back
from graph_schema.model import Relation
from graph_schema.ontology import load_ontology
from kt.pipeline.journey import Journey
from kt.stores.places import open_graph
from testbed import processes, prometheus, shop
from testbed.kubernetes import cluster
from testbed.shop.faults import FAULTS
from tests.conftest import STORY, Servers, emptied, in_neo4j
from tests.e2e.installation import until
from tests.e2e.real import (
    HEALED_S,
    SERVERS,
    OnRealCluster,
    actions,
    attacked,
    beside_the_cluster,
    healed,
    only_the_shop_opted_in,
)
from verify.actions import freeze_process, restore_here

pytestmark = pytest.mark.real(*SERVERS)
# Faults follow each other within minutes here, and hit the same things again.
PATIENT = {"KT_GUARD__COOLDOWN_S": "0", "KT_GUARD__MAX_ACTIONS_PER_HOUR_PER_TARGET": "20"}
CALM_SATURATION = 0.3
"""Of five replicas; three have two thirds more."""
REPLICAS = {name: replicas for name, replicas, *_ in shop.SERVICES}
KINDS = {
    "pod-stands-still-catalogue": ["restart"],
    "missing-image-front": ["roll-back"],
    "probe-wrong-cart": ["roll-back"],
    "slow-revision-front": ["roll-back"],
    "scaled-to-zero-cart": ["scale-out"],
    "scaled-down-catalogue": ["scale-out"],
    "wrong-command-store": ["roll-back"],
}
"""Seven more ways to break the shop, and what KT has to do about each. What has to be taken back after a test is a
change, too, and changes are suspects: so two that hit the same thing are far from each other. The store comes last: it
has one pod, and while that is attacked all before it wait and fail, which the next test would find."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[OnRealCluster]:
    folder, variables = tmp_path_factory.mktemp("kt"), servers(*SERVERS)
    memory = in_neo4j(emptied(variables["KT_TEST_NEO4J_URI"]))
    with beside_the_cluster(folder, variables, memory | PATIENT) as one:
        one.start("worker")
        until(one.swept, "a worker works")
        yield one


@pytest.fixture
def kt(running: OnRealCluster, api: cluster.Api, request: pytest.FixtureRequest) -> OnRealCluster:
    """KT beside the shop as it was made: what the test before left of it is taken back."""
    take_back(api)
    shop.reset()
    running.turn_the_page()
    request.node.stash[STORY] = running.story
    return running


@pytest.fixture
def api(kubeconfig: str) -> Iterator[cluster.Api]:
    with cluster.Api(Path(kubeconfig)) as one:
        yield one


@pytest.fixture
def freeze(tmp_path: Path) -> Iterator[Callable[[], object]]:
    """Stops a kubelet, as an experiment does it."""
    only_the_shop_opted_in()
    kubelet = processes.find("kubelet-2")
    assert kubelet
    (tmp_path / "kubelet").write_text(str(kubelet.pid))
    yield partial(freeze_process, "kubelet-2", pid_file=str(tmp_path / "kubelet"), seconds=HEALED_S)
    assert restore_here("kubelet-2") == {"restored": [f"process {kubelet.pid}"]}


def deployment(api: cluster.Api, name: str) -> Any:
    return api.get(f"{shop.DEPLOYMENTS}/{name}")


def test_a_call_that_no_annotation_tells_of_is_learned_from_metrics(kt: OnRealCluster) -> None:
    def known() -> bool:
        graph = open_graph(kt.settings, load_ontology())
        try:
            piece = graph.neighbourhood(["Service/shop/catalogue"], hops=1)
        finally:
            graph.close()
        return Relation("Service/shop/catalogue", "Service/shop/store", "CALLS") in piece.relations

    until(known, "the catalogue is known to call the store")


def test_a_bad_image_is_rolled_back(kt: OnRealCluster, api: cluster.Api) -> None:
    FAULTS["bad-rollout"]()
    journey = healed(kt, "Deployment/shop/cart", "Workload.BadRevision")
    assert_repaired(journey, ["roll-back"])
    assert deployment(api, "cart")["spec"]["template"]["spec"]["containers"][0]["image"].endswith("shop:v1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_of_any_kind_is_named_repaired_and_attacked(kt: OnRealCluster, api: cluster.Api, kind: str) -> None:
    fault = named(kind)
    prepare(fault, kt, api)
    fault.do(api)
    # Which of the pods stood still nobody knew before.
    cause = "Pod/shop/catalogue-" if fault.kind == "pod-stands-still" else fault.truth.entities[0]
    journey = healed(kt, cause, *fault.truth.modes)
    assert_repaired(journey, KINDS[kind])
    assert shop.ready(api)
    if kind.startswith("scaled-"):
        assert deployment(api, fault.target)["spec"]["replicas"] == REPLICAS[fault.target]


def test_an_overloaded_service_is_scaled_out(kt: OnRealCluster, api: cluster.Api) -> None:
    FAULTS["overload"]()
    journey = healed(kt, "Deployment/shop/catalogue", "Workload.Overload")
    assert_repaired(journey, ["scale-out"])
    assert deployment(api, "catalogue")["spec"]["replicas"] == 5
    # Fewer replicas while the surge is not yet over would be a fault of its own.
    shop.load(shop.RATE)
    until(lambda: prometheus.value("max(kt:saturation)") < CALM_SATURATION, "the surge is over")


@pytest.mark.alone_in_cluster
def test_a_node_whose_kubelet_stands_still_is_cordoned_and_its_pods_move(
    kt: OnRealCluster, api: cluster.Api, freeze: Callable[[], object]
) -> None:
    freeze()
    # From outside a kubelet that stands still is one that cannot be reached.
    journey = healed(kt, "Node/kt-node-2", "Node.NotReady", "Node.Unreachable")
    assert_repaired(journey, ["cordon", "evict-pods"])
    assert api.get("/api/v1/nodes/kt-node-2")["spec"]["unschedulable"] is True
    pods = api.get(f"/api/v1/namespaces/{shop.NAMESPACE}/pods")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"kt-node-1"}


def prepare(fault: Injection, kt: OnRealCluster, api: cluster.Api) -> None:
    """What has to be there to be broken, known to KT."""
    if fault.prepare:
        fault.prepare(api)
        until(lambda: shop.ready(api), "the shop is ready")
        # A rollout in the very second of the fault would be as good a suspect.
        prometheus.wait_until_quiet(firing=True)
        until(lambda: all(kt.knows(entity) for entity in fault.truth.entities), "KT knows what is there")
        kt.turn_the_page()


def assert_repaired(journey: Journey, wanted: list[str]) -> None:
    """By these actions, which were attacked, not only watched."""
    assert actions(journey) == wanted
    assert attacked(journey)
