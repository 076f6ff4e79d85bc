"""What runs in the twin by itself: Jobs to their end, CronJobs on time, volumes that grow, pods that nobody reaches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from twin.api import defaults
from twin.cluster import Cluster
from twin.objects import Object

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
CONTAINER = {"name": "a", "image": "shop:v1"}
RUNS: Object = {"containers": [CONTAINER], "restartPolicy": "Never"}


@pytest.fixture
def cluster() -> Cluster:
    one = Cluster(seed=1, start=MIDNIGHT.replace(day=1, hour=23, minute=58), token="t", speed=1.0)
    one.settle(20)
    return one


def put(cluster: Cluster, kind: str, name: str, namespace: str = "shop", **rest: Any) -> None:
    made: Object = {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **rest}
    defaults.fill(cluster.store, kind, made)
    cluster.store.create(kind, made)


def conditions(job: Object) -> list[str]:
    return [f"{each['type']}: {each['reason']}" for each in (job.get("status") or {}).get("conditions") or []]


@pytest.mark.parametrize(
    ("env", "spec", "ended"),
    [
        ({}, {}, "Complete: CompletionsReached"),
        ({"EXIT_CODE": "1"}, {"backoffLimit": 0}, "Failed: BackoffLimitExceeded"),
        ({"RUN_S": "500"}, {"activeDeadlineSeconds": 5}, "Failed: DeadlineExceeded"),
    ],
)
def test_a_job_runs_to_its_end(cluster: Cluster, env: dict[str, str], spec: Object, ended: str) -> None:
    containers = [{**CONTAINER, "env": [{"name": key, "value": value} for key, value in env.items()]}]
    put(cluster, "Job", "own", spec={**spec, "template": {"spec": {**RUNS, "containers": containers}}})
    cluster.settle(30)
    job = cluster.store.get("Job", "own", "shop")
    assert conditions(job) == [ended]
    assert job["status"]["active"] == 0


def test_what_has_ended_is_forgotten_after_its_time_to_live(cluster: Cluster) -> None:
    put(cluster, "Job", "own", spec={"ttlSecondsAfterFinished": 10, "template": {"spec": dict(RUNS)}})
    cluster.settle(40)
    assert cluster.store.find("Job", "own", "shop") is None


@pytest.mark.parametrize("suspend", [False, True])
def test_a_cron_job_makes_a_job_when_it_is_due_and_none_while_it_is_suspended(cluster: Cluster, suspend: bool) -> None:
    template = {"spec": {"template": {"spec": dict(RUNS)}}}
    put(cluster, "CronJob", "nightly", spec={"schedule": "0 0 * * *", "suspend": suspend, "jobTemplate": template})
    cluster.settle(60)
    assert not list(cluster.store.all("Job"))
    cluster.settle(90)
    jobs = list(cluster.store.all("Job"))
    assert len(jobs) == (0 if suspend else 1)
    assert all(each["metadata"]["ownerReferences"][0]["name"] == "nightly" for each in jobs)


def test_a_claim_is_bound_and_grows_only_where_its_class_lets_it(cluster: Cluster) -> None:
    for name, grows in (("fast", True), ("slow", False)):
        put(cluster, "StorageClass", name, "", allowVolumeExpansion=grows)
        put(cluster, "PersistentVolume", name, "", spec={"capacity": {"storage": "1Gi"}, "storageClassName": name})
        wanted = {"resources": {"requests": {"storage": "1Gi"}}, "storageClassName": name}
        put(cluster, "PersistentVolumeClaim", name, spec=wanted)
    cluster.settle(1)
    for name, then in (("fast", "2Gi"), ("slow", "1Gi")):
        claim = cluster.store.get("PersistentVolumeClaim", name, "shop")
        assert (claim["status"]["phase"], claim["spec"]["volumeName"]) == ("Bound", name)
        cluster.store.edit("PersistentVolumeClaim", name, "shop", ask_for_more)
        cluster.settle(1)
        assert cluster.store.get("PersistentVolumeClaim", name, "shop")["status"]["capacity"] == {"storage": then}


def ask_for_more(draft: Object) -> None:
    draft["spec"]["resources"]["requests"]["storage"] = "2Gi"


def test_nobody_reaches_a_pod_that_a_policy_cuts_off(cluster: Cluster) -> None:
    before = cluster.traffic.flows[("shop", "store")]
    assert before.error_ratio == 0
    policy = {"podSelector": {"matchLabels": {"app": "store"}}, "policyTypes": ["Ingress"]}
    put(cluster, "NetworkPolicy", "deny", spec=policy)
    cluster.settle(1)
    assert cluster.traffic.flows[("shop", "store")].error_ratio == 1


def test_a_pod_that_asks_for_more_than_any_node_has_waits(cluster: Cluster) -> None:
    asks = {"name": "a", "image": "shop:v1", "resources": {"requests": {"cpu": "5"}}}
    put(cluster, "Pod", "large", spec={"containers": [asks]})
    cluster.settle(5)
    assert "nodeName" not in cluster.store.get("Pod", "large", "shop")["spec"]
