"""The Kubernetes API as actions and probes of experiments need it: a few verbs on any kind, by path.

Finds the cluster as chaostoolkit-kubernetes does: KUBECONFIG and KUBERNETES_CONTEXT, else the pod's own account.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]
TIMEOUT_S = 10.0
USUAL = Path("~/.kube/config")
PLACES = {
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{namespace}/statefulsets",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "CronJob": "/apis/batch/v1/namespaces/{namespace}/cronjobs",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "PersistentVolumeClaim": "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "ResourceQuota": "/api/v1/namespaces/{namespace}/resourcequotas",
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
}


class Refused(Exception):
    """The API server said no, or did not answer (`status` 0)."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status = status


class Api:
    """Connected at once. Raises `Refused` when no configuration is found."""

    def __init__(self) -> None:
        from kubernetes import client, config  # slow to import; experiments run in a process of their own
        from kubernetes.config import ConfigException

        configuration = client.Configuration()
        # Read now: the client itself reads the variable when it is imported.
        given = os.environ.get("KUBECONFIG") or (str(USUAL) if USUAL.expanduser().exists() else "")
        context = os.environ.get("KUBERNETES_CONTEXT") or None
        load: Any = config.load_kube_config if given else config.load_incluster_config
        options = {"config_file": given, "context": context} if given else {}
        try:
            load(client_configuration=configuration, **options)
        except (ConfigException, OSError) as error:
            raise Refused(f"no way to Kubernetes: {error}") from error
        self._client: Any = client.ApiClient(configuration)
        self._host = configuration.host

    def ask(self, method: str, path: str, body: object = None) -> Object:
        """A list as body of a PATCH is a JSON patch (RFC 6902). Raises `Refused`."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        kind = "application/json-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            answer = self._client.call_api(
                method, f"{self._host}{path}", headers, body=body, _request_timeout=TIMEOUT_S
            )
            content = answer.read()
        except (ApiException, HTTPError, OSError) as error:
            raise Refused(f"{method} {path}: {error}") from error
        try:
            said: Any = json.loads(content)
        except ValueError:
            said = content.decode(errors="replace")
        if answer.status >= 400:
            reason = said.get("message", said) if isinstance(said, dict) else said
            raise Refused(f"{method} {path}: {answer.status} {reason}", answer.status)
        return said if isinstance(said, dict) else {"body": said}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """None when it is not there. Raises `Refused`."""
        try:
            return self.ask("GET", path_of(kind, namespace, name))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def delete(self, kind: str, namespace: str, name: str) -> bool:
        """False when it was not there. Raises `Refused`."""
        try:
            self.ask("DELETE", path_of(kind, namespace, name))
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True


def path_of(kind: str, namespace: str, name: str = "") -> str:
    """Where an object, or without a name its collection, is. Raises `Refused` for a kind that is not known."""
    place = PLACES.get(kind)
    if place is None:
        raise Refused(f"“{kind}” is no kind that is known here; {', '.join(PLACES)} are")
    path = place.format(namespace=quote(namespace, safe=""))
    return f"{path}/{quote(name, safe='')}" if name else path
