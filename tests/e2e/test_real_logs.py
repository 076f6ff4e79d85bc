"""Lines that real containers write, through a real kubelet, with the rights that `kt rbac --logs` prints."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from graph_schema.model import Signal
from kt import rbac, sections
from kt.pipeline.evidence import Beside, beside
from kt.processes import follower
from kt.runtime import Runtime
from kt.settings import Settings
from testbed import shop
from testbed.kubernetes import cluster
from tests.conftest import Servers
from tests.e2e.installation import until
from tests.e2e.real import grant

pytestmark = pytest.mark.real("kubernetes", "shop")
FRONT = "Service/shop/front"
ONLY_LOGS = sections.Diagnose(metrics=False, events=False, rules=False, logs="kubernetes")
ROLES = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{shop.NAMESPACE}/rolebindings"
CLUSTER_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


@pytest.fixture
def running(tmp_path: Path, servers: Servers) -> Iterator[Runtime]:
    """It follows the shop, with the rights of watching alone."""
    variables = servers("kubernetes", "shop")
    shop.reset()
    grant()
    settings = Settings(
        data_dir=str(tmp_path),
        broker_url="memory://",
        kubernetes=sections.Kubernetes(kubeconfig=variables["KT_TEST_KUBECONFIG_OF_KT"], cluster="real"),
        diagnose=ONLY_LOGS,
    )
    one, stop = Runtime(settings), threading.Event()
    watching = follower(one)
    thread = threading.Thread(target=watching.run, args=(stop,), daemon=True)
    thread.start()
    try:
        assert watching.synced.wait(60)
        yield one
    finally:
        stop.set()
        thread.join(30)
        one.close()
        with cluster.Api(cluster.kubeconfig("admin")) as api:
            for path, names in ((ROLES, bindings()), (CLUSTER_ROLES, roles())):
                for each in names:
                    if any(found["metadata"]["name"] == each["metadata"]["name"] for found in api.get(path)["items"]):
                        api.delete(f"{path}/{each['metadata']['name']}")
        shop.reset()


def roles() -> list[dict[str, Any]]:
    return [{**each, "metadata": {"name": "tests-kt-read-logs"}} for each in rbac.reading_logs()]


def bindings() -> list[dict[str, Any]]:
    """Those of `kt rbac --logs --namespace shop`, for the user of the tests."""
    [made] = rbac.granted(shop.NAMESPACE, ("kt-read-logs",))
    user = {"kind": "User", "name": "kt", "apiGroup": "rbac.authorization.k8s.io"}
    role = {**made["roleRef"], "name": "tests-kt-read-logs"}
    return [{**made, "metadata": {"name": "tests-kt-read-logs"}, "subjects": [user], "roleRef": role}]


def look(running: Runtime, at: datetime) -> Beside:
    alert = Signal(fingerprint="a", entity=FRONT, symptom="unavailable", name="Told", starts_at=at)
    return beside(running, running.graph.neighbourhood([FRONT], hops=6), [alert])


def test_the_lines_of_a_failing_service_and_of_its_callers_are_evidence(running: Runtime) -> None:
    at = datetime.now(UTC)
    [said] = look(running, at).warnings
    assert f"kt rbac --logs --namespace {shop.NAMESPACE}" in said
    with cluster.Api(cluster.kubeconfig("admin")) as api:
        for path, manifests in ((CLUSTER_ROLES, roles()), (ROLES, bindings())):
            for each in manifests:
                api.apply(f"{path}/{each['metadata']['name']}", each)
        until(lambda: not look(running, datetime.now(UTC)).warnings, "the rights are there")
        env = [{"name": "FAIL_RATIO", "value": "0.6"}]
        spec = {"template": {"spec": {"containers": [{"name": "cart", "env": env}]}}}
        at = datetime.now(UTC) - timedelta(seconds=1)
        api.patch(f"{shop.DEPLOYMENTS}/cart", {"spec": spec}, "strategic-merge-patch")

        def told() -> set[tuple[str, str]]:
            """Without the time that the program writes before each line."""
            return {(each.entity, each.name[each.name.index("ERROR") :]) for each in look(running, at).signals}

        until(
            lambda: {
                ("Deployment/shop/cart", "ERROR GET /: <*> failed"),
                ("Deployment/shop/front", "ERROR GET /: <*> next service answered <*> Internal Server Error"),
            } <= told(),
            "what the containers write is evidence",
        )  # fmt: skip
