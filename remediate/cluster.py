"""The Kubernetes API as remediation needs it: objects as JSON, conflicts and absences as exceptions of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from remediate.granting import hint
from remediate.latency import Latency

Object = dict[str, Any]
Patch = Object | list[Object]
PATHS = {
    "Deployment": ("apis/apps/v1", "deployments"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "DaemonSet": ("apis/apps/v1", "daemonsets"),
    "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "ControllerRevision": ("apis/apps/v1", "controllerrevisions"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Pod": ("api/v1", "pods"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Service": ("api/v1", "services"),
    "Node": ("api/v1", "nodes"),
    "Namespace": ("api/v1", "namespaces"),
    "Event": ("api/v1", "events"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "ResourceQuota": ("api/v1", "resourcequotas"),
    "StorageClass": ("apis/storage.k8s.io/v1", "storageclasses"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodMetrics": ("apis/metrics.k8s.io/v1beta1", "pods"),
    "Job": ("apis/batch/v1", "jobs"),
    "CronJob": ("apis/batch/v1", "cronjobs"),
}
CLUSTER_WIDE = frozenset({"Node", "Namespace", "StorageClass"})
CHUNK = 1 << 20
T = TypeVar("T")


class _Items(msgspec.Struct, Generic[T]):
    items: list[T]


class ClusterError(Exception):
    """The API server did not do it. `code` is its HTTP status, 0 when it did not answer."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code

    @property
    def later(self) -> bool:
        """Whether trying again can help without anybody's doing."""
        return self.code == 0 or self.code in (409, 429) or self.code >= 500


class Cluster:
    """`api_client`: a configured `kubernetes.client.ApiClient` that repeats nothing by itself (`retries` false);
    `timeout_s`: for one request, from the connection to the end of the answer."""

    def __init__(self, api_client: Any, timeout_s: float) -> None:
        self._client, self._timeout_s = api_client, timeout_s
        self.latency = Latency()
        self._granted: dict[tuple[str, str, str, str], float] = {}
        """(verb, group, resource, namespace) that were allowed → when, by the monotonic clock."""

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """The object, or None when there is none. Raises `ClusterError`."""
        try:
            found: Object = self._ask("GET", _path(kind, name, namespace))
        except ClusterError as error:
            if error.code == 404:
                return None
            raise
        return found

    def list(
        self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "", most: int = 0
    ) -> list[Object]:
        """All objects of a kind, of one namespace or of all, or if given at most so many. Raises `ClusterError`."""
        asked = (("labelSelector", labels), ("fieldSelector", fields), ("limit", str(most or "")))
        query = {key: value for key, value in asked if value}
        answer = self._ask("GET", _path(kind, "", namespace), query=query)
        return [{"kind": kind, **each} for each in answer.get("items", [])]

    def list_as(self, kind: str, shape: type[T]) -> Sequence[T]:
        """All objects of a kind, and of each no more than `shape` has: most of what a node weighs is images. Raises
        `ClusterError`."""
        answer: _Items[T] = self._ask("GET", _path(kind, "", ""), into=_Items[shape])  # type: ignore[valid-type]  # no type
        return answer.items

    def written(
        self, pod: str, namespace: str, container: str, *, since: str, most_lines: int, most_bytes: int,
        previous: bool = False,
    ) -> str:  # fmt: skip
        """The last lines that a container wrote since then (RFC 3339), each after its time; `previous`: the run that
        ended before the present one. Raises `ClusterError`, of code 400 when there is no such run."""
        query = {
            "container": container, "sinceTime": since, "timestamps": "true", "tailLines": str(most_lines),
            "limitBytes": str(most_bytes), **({"previous": "true"} if previous else {}),
        }  # fmt: skip
        return self._sent("GET", _path("Pod", pod, namespace) + "/log", query, None).decode(errors="replace")

    def patch(
        self, kind: str, name: str, namespace: str, change: Patch, *, dry: bool = False, subresource: str = ""
    ) -> Object:
        """Patch an object, by merge (a mapping) or by JSON Patch (a list), or a subresource of it, such as `resize`.

        `dry` lets the API server try it without keeping it. Raises `ClusterError`."""
        path = _path(kind, name, namespace) + (f"/{subresource}" if subresource else "")
        after: Object = self._ask("PATCH", path, query=_query(dry), body=change)
        return after

    def create(self, kind: str, namespace: str, thing: Object, *, dry: bool = False) -> Object:
        """Make an object. Raises `ClusterError`, of code 409 when one of its name is there."""
        prefix, _ = PATHS[kind]
        body = {"apiVersion": prefix.partition("/")[2], "kind": kind, **thing}
        made: Object = self._ask("POST", _path(kind, "", namespace), query=_query(dry), body=body)
        return made

    def evict(self, name: str, namespace: str, *, uid: str, dry: bool = False) -> None:
        """Ask for an eviction; 429 (as `ClusterError`) when a disruption budget forbids it now."""
        options: Object = {"preconditions": {"uid": uid}, **({"dryRun": ["All"]} if dry else {})}
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": options,
        }
        self._ask("POST", _path("Pod", name, namespace) + "/eviction", body=body)

    def delete(self, kind: str, name: str, namespace: str, *, uid: str, grace_s: int | None = None) -> None:
        """Delete exactly the object with this uid; no error if it is gone."""
        body: Object = {"preconditions": {"uid": uid}}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            self._ask("DELETE", _path(kind, name, namespace), body=body)
        except ClusterError as error:
            if error.code not in (404, 409):
                raise

    def allowed(
        self, verb: str, group: str, resource: str, namespace: str = "", *, known_s: float = 0.0
    ) -> bool | None:
        """Whether this account may; None when the API server cannot be asked. `resource` may be `pods/eviction`; no
        namespace: in all of them; `known_s`: how old a yes may be, a no is always asked for anew."""
        key, now = (verb, group, resource, namespace), time.monotonic()
        if now - self._granted.get(key, -known_s) < known_s:
            return True
        name, _, subresource = resource.partition("/")
        about = {"verb": verb, "group": group, "resource": name, "subresource": subresource, "namespace": namespace}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in about.items() if value}},
        }
        try:
            answer = self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
        except ClusterError as error:
            if error.code in (403, 404, 405):
                return None
            raise
        allowed = bool(answer.get("status", {}).get("allowed"))
        if allowed:
            self._granted[key] = now
        return allowed

    def _ask(
        self,
        method: Literal["GET", "POST", "PATCH", "DELETE"],
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Patch | None = None,
        into: Any = Object,
    ) -> Any:
        """The answer, decoded as `into`. Raises `ClusterError`."""
        data = self._sent(method, path, query, body)
        try:
            return msgspec.json.decode(data, type=into)
        except msgspec.MsgspecError as error:
            raise ClusterError(f"{method} {path}: what answered is no Kubernetes API ({error})") from error

    def _sent(
        self, method: Literal["GET", "POST", "PATCH", "DELETE"], path: str, query: dict[str, str] | None,
        body: Patch | None,
    ) -> bytes:  # fmt: skip
        """The answer as it came. Raises `ClusterError`."""
        from kubernetes.client.exceptions import ApiException  # slow to import, and only workers need it
        from urllib3.exceptions import HTTPError, NewConnectionError
        from urllib3.exceptions import TimeoutError as TookTooLong

        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = _content_type(method, body)
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        begun = time.perf_counter()
        try:
            status, data = self._answer(method, url, headers, body, begun + self._timeout_s)
        except NewConnectionError as error:  # to urllib3 a kind of timeout
            raise ClusterError(f"{method} {path}: {error}") from error
        except (TookTooLong, TimeoutError) as error:
            why = f"the API server did not answer within {self._timeout_s:g} s"
            raise ClusterError(f"{method} {path}: {why}") from error
        except (ApiException, HTTPError, OSError) as error:
            raise ClusterError(f"{method} {path}: {error}") from error
        finally:
            self.latency.took(time.perf_counter() - begun)
        if status >= 300:
            why = _reason(data)
            how = hint(why) if status == 403 else ""
            raise ClusterError(f"{method} {path}: {why}{how and f'; {how}'}", status)
        return data

    def _answer(
        self, method: str, url: str, headers: dict[str, str], body: Patch | None, until: float
    ) -> tuple[int, bytes]:
        """Status and body. Asked once; what only reads is asked again when the connection was closed before an answer:
        one that was kept from earlier may have been given up by the other side meanwhile."""
        from urllib3.exceptions import ProtocolError

        for again in (method == "GET", False):
            left = until - time.perf_counter()
            if left <= 0:
                break
            try:
                response = self._client.call_api(method, url, headers, body=body, _request_timeout=left)
            except ProtocolError:
                if not again:
                    raise
                continue
            return response.status, _read(response.response, until)
        raise TimeoutError


class OneLook(Cluster):
    """The same cluster for as long as one look at it takes: what is asked for again is not asked again. For gathering
    facts and trying dry; who is about to write looks anew."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster._client, cluster._timeout_s)
        self.latency, self._cluster, self._granted = cluster.latency, cluster, cluster._granted
        self._seen: dict[tuple[str, str, Any], Any] = {}

    def _ask(
        self,
        method: Literal["GET", "POST", "PATCH", "DELETE"],
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Patch | None = None,
        into: Any = Object,
    ) -> Any:
        if method != "GET":
            try:
                return self._cluster._ask(method, path, query=query, body=body, into=into)
            except ClusterError:
                # It may be another world by now: who tries again looks anew.
                self._seen.clear()
                raise
        key = path, urlencode(sorted((query or {}).items())), into
        if key not in self._seen:
            self._seen[key] = self._cluster._ask(method, path, query=query, into=into)
        return self._seen[key]


def _read(response: Any, until: float) -> bytes:
    """All of an answer, as it comes. The client's own limit is for each part of it, so that one which trickles in would
    be read for ever; here what goes on after the time is given up with the next part, or at the client's limit."""
    parts: list[bytes] = []
    while part := response.read1(CHUNK):
        parts.append(part)
        if time.perf_counter() > until:
            response.close()
            raise TimeoutError
    return b"".join(parts)


def match_labels(workload: Object) -> str:
    """The labels of a workload's selector, as a query; its expressions are left out, so more may be found."""
    wanted = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))


def _query(dry: bool) -> dict[str, str]:
    return {"fieldManager": "kt", **({"dryRun": "All"} if dry else {})}


def _content_type(method: str, body: Patch) -> str:
    if method != "PATCH":
        return "application/json"
    return f"application/{'json' if isinstance(body, list) else 'merge'}-patch+json"


def _path(kind: str, name: str, namespace: str) -> str:
    prefix, plural = PATHS[kind]
    parts = ["", prefix]
    if namespace and kind not in CLUSTER_WIDE:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural)
    if name:
        parts.append(quote(name, safe=""))
    return "/".join(parts)


def _reason(data: bytes) -> str:
    try:
        return str(msgspec.json.decode(data).get("message") or "no reason given")
    except (msgspec.DecodeError, AttributeError):
        return data[:200].decode(errors="replace")
