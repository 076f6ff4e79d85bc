"""A cluster behind a kubeconfig, as tests of contracts need it: plain requests, a namespace of their own, waiting."""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from remediate.cluster import Cluster, Object

T = TypeVar("T")
DEADLINE_S = 60.0
USUAL, USUAL_REPLICAS = "web", 2
AHEAD = 3
"""Namespaces that a nursery has under way."""
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Answer(NamedTuple):
    code: int
    body: Any


class Images(NamedTuple):
    v1: str
    v2: str
    missing: str
    pull: str


TWIN = Images("shop:v1", "shop:v2", "shop:missing", "IfNotPresent")
REAL = Images("docker.io/library/shop:v1", "docker.io/library/shop:v2", "docker.io/library/shop:missing", "Never")


class Api:
    """Plain requests with the credentials of a kubeconfig; answers whatever the code."""

    def __init__(self, kubeconfig: Path | str) -> None:
        from kubernetes import client, config

        self.kubeconfig = str(kubeconfig)
        configuration = client.Configuration()
        load: Any = config.load_kube_config
        load(str(kubeconfig), client_configuration=configuration)
        self.client = client.ApiClient(configuration)
        self.host: str = configuration.host

    def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **query: Any) -> Answer:
        response = self._send(method, path, body, kind, query, stream=False)
        try:
            return Answer(response.status, json.loads(response.data))
        except ValueError:
            return Answer(response.status, response.data.decode())

    def watch(self, path: str, seconds: int = 1, **query: Any) -> list[Object]:
        """The events of a watch that ends after so many seconds."""
        query = {"watch": "true", "timeoutSeconds": seconds, **query}
        response = self._send("GET", path, None, "application/json", query, stream=False)
        return [json.loads(line) for line in response.data.decode().splitlines() if line.strip()]

    def _send(self, method: str, path: str, body: Any, kind: str, query: dict[str, Any], *, stream: bool) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = kind
        self.client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        pool = self.client.rest_client.pool_manager
        return pool.request(
            method, url, body=data, headers=headers, preload_content=not stream, timeout=30, retries=False
        )

    def must(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = self.ask(method, path, body, **more)
        assert answer.code < 300, answer
        return answer.body


class Place(NamedTuple):
    """A namespace of the test's own in a cluster."""

    api: Api
    cluster: Cluster
    namespace: str
    images: Images
    planted: bool = False
    """Whether the usual Deployment is there already, or on its way."""

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    @property
    def apps(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}"

    def get(self, kind: str, name: str) -> Object:
        namespace = "" if kind in ("Node", "Namespace") else self.namespace
        found = self.cluster.get(kind, name, namespace)
        assert found is not None, f"{kind} {name} is not there"
        return {**found, "kind": kind}

    def pods(self, app: str = "web") -> list[Object]:
        found = self.cluster.list("Pod", self.namespace, labels=f"app={app}")
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    def deployment(self, name: str = USUAL, replicas: int = USUAL_REPLICAS, **spec: Any) -> Object:
        """Create a Deployment and wait until it serves."""
        if self.planted and name == USUAL and (spec or replicas != USUAL_REPLICAS):
            self.api.must("DELETE", f"{self.apps}/deployments/{name}", propagationPolicy="Foreground")
            until(lambda: self.cluster.get("Deployment", name, self.namespace) is None, "the planted one is gone")
        elif self.planted and name == USUAL:
            return self.rolled_out(name)
        self.plant(name, replicas, **spec)
        return self.rolled_out(name)

    def plant(self, name: str, replicas: int, **spec: Any) -> None:
        """Create a Deployment."""
        self.api.must("POST", f"{self.apps}/deployments", deployment(self, name, replicas, **spec))

    def rolled_out(self, name: str = "web", kind: str = "Deployment") -> Object:
        from remediate.actions.base import rolled_out

        def done() -> Object | None:
            found = self.get(kind, name)
            wanted = found["spec"].get("replicas", len(self.pods(name)))
            return None if rolled_out(found) or len(self.pods(name)) != wanted else found

        return until(done, f"{kind} {name} is rolled out")


def deployment(place: Place, name: str, replicas: int, image: str = "", **container: Any) -> Object:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [
                        {
                            "name": "shop",
                            "image": image or place.images.v1,
                            "imagePullPolicy": place.images.pull,
                            "ports": [{"containerPort": 8080}],
                            **container,
                        }
                    ],
                },
            },
        },
    }


class Nursery:
    """Namespaces in which the usual Deployment is on its way before a test asks for it: starting pods takes seconds."""

    def __init__(self, kubeconfig: Path | str, images: Images) -> None:
        self._api, self._images = Api(kubeconfig), images
        self._coming = deque(self._planted() for _ in range(AHEAD))

    def _planted(self) -> Place:
        place = made(self._api, self._images)
        place.plant(USUAL, USUAL_REPLICAS)
        return place._replace(planted=True)

    @contextmanager
    def place(self, *, nodes: bool = False) -> Iterator[Place]:
        """The one that is under way the longest; deleted after. `nodes`: as `kept`."""
        self._coming.append(self._planted())
        # Those may be gone that were under way when a test needed the cluster for itself.
        while not _there(self._coming[0]):
            self._coming.popleft()
        with kept(self._coming.popleft(), nodes=nodes) as here:
            yield here

    def close(self) -> None:
        for each in self._coming:
            with kept(each):
                pass


def made(api: Api, images: Images) -> Place:
    """A fresh namespace."""
    name = f"kt-contract-{secrets.token_hex(4)}"
    api.must("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"kt.io/remediate": "enabled"}}})
    return Place(api, Cluster(api.client, 10.0), name, images)


def _there(place: Place) -> bool:
    found = place.api.ask("GET", f"/api/v1/namespaces/{place.namespace}")
    return found.code == 200 and "deletionTimestamp" not in found.body["metadata"]


@contextmanager
def kept(place: Place, *, nodes: bool = False) -> Iterator[Place]:
    """The namespace is deleted after; `nodes`: nodes are left as they were found, whoever changed them."""
    before = {node["metadata"]["name"]: node for node in place.api.must("GET", "/api/v1/nodes")["items"]}
    try:
        yield place
    finally:
        for node in place.api.must("GET", "/api/v1/nodes")["items"] if nodes else ():
            _as_before(place.api, node, before)
        with suppress(AssertionError):
            place.api.must("DELETE", f"/api/v1/namespaces/{place.namespace}")
        for path in ("/api/v1/persistentvolumes", "/apis/storage.k8s.io/v1/storageclasses"):
            # Of the cluster, named after the namespace where a test needed them.
            place.api.ask("DELETE", f"{path}/{place.namespace}")


@contextmanager
def place_in(kubeconfig: Path | str, images: Images, *, nodes: bool = False) -> Iterator[Place]:
    """A fresh namespace, deleted after. `nodes`: as `kept`."""
    with kept(made(Api(kubeconfig), images), nodes=nodes) as place:
        yield place


def _as_before(api: Api, node: Object, before: dict[str, Object]) -> None:
    name = node["metadata"]["name"]
    was = before.get(name, node)
    marks = {key: None for key in node["metadata"].get("annotations") or {} if key.startswith("kt.io/")}
    labels = {key: was["metadata"]["labels"].get(key) for key in node["metadata"]["labels"]}
    change = {
        "metadata": {"annotations": marks, "labels": labels},
        "spec": {"unschedulable": was["spec"].get("unschedulable")},
    }
    api.must("PATCH", f"/api/v1/nodes/{name}", change, kind=MERGE)


def until(condition: Callable[[], T | None], what: str, deadline_s: float = DEADLINE_S) -> T:
    """What the condition gives as soon as it is neither None nor false."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}"
        time.sleep(0.05)
