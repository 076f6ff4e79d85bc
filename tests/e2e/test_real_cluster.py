"""The main job on real servers: a rule of a real Prometheus fires, a real Alertmanager posts, KT with Neo4j and Redis
finds the cause, repairs a real Kubernetes cluster, and a real Chaos Toolkit experiment confirms that the fix holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from kt.incident.events import ActionStarted
from kt.pipeline.journey import Journey
from testbed import prometheus, shop
from testbed.kubernetes import cluster
from testbed.shop.faults import FAULTS
from tests.conftest import Place, in_neo4j
from tests.e2e.installation import Installation, until

TOKEN = "only-for-this-test"
HEALED_S = 240.0


@pytest.fixture
def api(kubeconfig: str) -> Iterator[cluster.Api]:
    with cluster.Api(Path(kubeconfig)) as one:
        yield one


@pytest.fixture
def kt(
    tmp_path: Path,
    empty_neo4j: Place,
    redis_url: str,
    kubeconfig: str,
    alertmanager_url: str,
    prometheus_url: str,
    shop_url: str,
) -> Iterator[Installation]:
    """Everything runs, the cluster is known, the shop is well and no alert fires."""
    redis.Redis.from_url(redis_url).flushall()
    shop.reset()
    prometheus.wait_until_quiet()
    settings = {
        "KT_BROKER_URL": redis_url,
        "KT_KUBERNETES__KUBECONFIG": kubeconfig,
        "KT_PROMETHEUS__URL": prometheus_url,
        "KT_WEB__TOKEN": TOKEN,
        "KT_GUARD__ENABLED": "true",
        "KT_APPROVAL__MEDIUM": "0",
        "KT_PIPELINE__SETTLE_S": "1",
    }
    one = Installation(tmp_path, settings | in_neo4j(empty_neo4j))
    prometheus.send_to(one.serve(), TOKEN)
    one.start("beat")
    one.start("worker")
    until(lambda: one.knows("Deployment/shop/cart"), "the beat follows the cluster")
    yield one
    prometheus.send_to("")
    print(one.output())
    one.end()
    shop.reset()


def healed(kt: Installation, entity: str, fault: str) -> Journey:
    """The incident with that cause, once all incidents have ended; it was healed after an experiment held."""
    until(kt.ended, "every incident ends", seconds=HEALED_S)
    told = [f"{each.state.phase}: {each.state.ended_why}" for each in kt.journeys()]
    for journey in kt.journeys():
        causes = list(journey.state.diagnosis.selected()) if journey.state.diagnosis else []
        if causes and causes[0].entity == entity:
            assert causes[0].fault == fault
            assert journey.state.phase == "healed", told
            assert journey.state.verdict is not None
            assert journey.state.verdict.outcome == "held"
            return journey
    pytest.fail(f"nobody named {entity}: {told}")


def actions(journey: Journey) -> list[str]:
    return [
        journey.state.actions[0].plan.steps[record.event.step].action
        for record in journey.records
        if isinstance(record.event, ActionStarted)
    ]


def deployment(api: cluster.Api, name: str) -> Any:
    return api.get(f"{shop.DEPLOYMENTS}/{name}")


def test_a_bad_image_is_rolled_back(kt: Installation, api: cluster.Api) -> None:
    FAULTS["bad-rollout"]()
    journey = healed(kt, "Deployment/shop/cart", "Workload.BadRevision")
    assert actions(journey) == ["roll-back"]
    assert deployment(api, "cart")["spec"]["template"]["spec"]["containers"][0]["image"].endswith("shop:v1")


def test_an_overloaded_service_is_scaled_out(kt: Installation, api: cluster.Api) -> None:
    FAULTS["overload"]()
    journey = healed(kt, "Deployment/shop/catalogue", "Workload.Overload")
    assert actions(journey) == ["scale-out"]
    assert deployment(api, "catalogue")["spec"]["replicas"] == 5


def test_a_node_whose_kubelet_stands_still_is_cordoned_and_its_pods_move(kt: Installation, api: cluster.Api) -> None:
    FAULTS["node-down"]()
    journey = healed(kt, "Node/kt-node-2", "Node.NotReady")
    assert actions(journey) == ["cordon", "evict-pods"]
    assert api.get("/api/v1/nodes/kt-node-2")["spec"]["unschedulable"] is True
    pods = api.get(f"/api/v1/namespaces/{shop.NAMESPACE}/pods")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"kt-node-1"}
