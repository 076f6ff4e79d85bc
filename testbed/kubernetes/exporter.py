"""The state of the cluster for Prometheus, under the names that kube-state-metrics uses, and whom to scrape.

kube-state-metrics itself is in no package registry, and Debian's Prometheus is built without its discovery of
Kubernetes. This answers the few series that KT's rules read (`/metrics`) and, for Prometheus' discovery over HTTP,
every pod behind a Service annotated `prometheus.io/scrape: "true"` (`/targets`), computed anew from the API server
each time: `python -m testbed.kubernetes.exporter KUBECONFIG PORT`.
"""

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from testbed.errors import TestbedError
from testbed.kubernetes.cluster import Api

WORKLOADS = {"deployment": "deployments", "statefulset": "statefulsets"}
Labels = dict[str, str]


def series(api: Api) -> Iterator[tuple[str, Labels, float]]:
    """(name, labels, value) of everything there is now."""
    for node in api.get("/api/v1/nodes")["items"]:
        yield from _node(node)
    for kind, plural in WORKLOADS.items():
        for each in api.get(f"/apis/apps/v1/{plural}")["items"]:
            yield from _workload(kind, each)
    for pod in api.get("/api/v1/pods")["items"]:
        yield from _pod(pod)


def _node(node: dict[str, Any]) -> Iterator[tuple[str, Labels, float]]:
    name = node["metadata"]["name"]
    yield "kube_node_spec_unschedulable", {"node": name}, float(bool(node["spec"].get("unschedulable")))
    for condition in node["status"].get("conditions", []):
        for status in ("true", "false", "unknown"):
            labels = {"node": name, "condition": condition["type"], "status": status}
            yield "kube_node_status_condition", labels, float(condition["status"].lower() == status)


def _workload(kind: str, thing: dict[str, Any]) -> Iterator[tuple[str, Labels, float]]:
    meta, status = thing["metadata"], thing.get("status", {})
    labels = {"namespace": meta["namespace"], kind: meta["name"]}
    spec_name = "kube_deployment_spec_replicas" if kind == "deployment" else "kube_statefulset_replicas"
    yield spec_name, labels, float(thing["spec"].get("replicas", 1))
    yield f"kube_{kind}_status_replicas_ready", labels, float(status.get("readyReplicas", 0))


def _pod(pod: dict[str, Any]) -> Iterator[tuple[str, Labels, float]]:
    meta, status = pod["metadata"], pod.get("status", {})
    labels = {"namespace": meta["namespace"], "pod": meta["name"], "uid": meta["uid"]}
    yield "kube_pod_info", {**labels, "node": pod["spec"].get("nodeName", "")}, 1.0
    phase = status.get("phase", "Unknown")
    for each in ("Pending", "Running", "Succeeded", "Failed", "Unknown"):
        yield "kube_pod_status_phase", {**labels, "phase": each}, float(phase == each)
    for container in status.get("containerStatuses", []):
        inside = {**labels, "container": container["name"]}
        yield "kube_pod_container_status_restarts_total", inside, float(container["restartCount"])
        yield "kube_pod_container_status_ready", inside, float(container["ready"])
        waiting = container.get("state", {}).get("waiting", {}).get("reason")
        if waiting:
            yield "kube_pod_container_status_waiting_reason", {**inside, "reason": waiting}, 1.0
        ended = container.get("lastState", {}).get("terminated", {}).get("reason")
        if ended:
            yield "kube_pod_container_status_last_terminated_reason", {**inside, "reason": ended}, 1.0


def text(found: Iterator[tuple[str, Labels, float]]) -> str:
    """Prometheus' text format."""
    lines = []
    for name, labels, value in found:
        inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
        lines.append(f"{name}{{{inside}}} {value:g}")
    return "\n".join(lines) + "\n"


def targets(api: Api) -> list[dict[str, Any]]:
    """What Prometheus' HTTP discovery expects: an entry for each pod, with the labels that its series get."""
    services = {
        (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in api.get("/api/v1/services")["items"]
        if (each["metadata"].get("annotations") or {}).get("prometheus.io/scrape") == "true"
    }
    found = []
    for piece in api.get("/apis/discovery.k8s.io/v1/endpointslices")["items"]:
        namespace = piece["metadata"]["namespace"]
        service = (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
        if (namespace, service) not in services:
            continue
        for endpoint in piece.get("endpoints") or []:
            pod = (endpoint.get("targetRef") or {}).get("name", "")
            labels = {"namespace": namespace, "service": service, "pod": pod, "node": endpoint.get("nodeName", "")}
            found += [
                {"targets": [f"{endpoint['addresses'][0]}:{port['port']}"], "labels": labels}
                for port in piece.get("ports") or []
            ]
    return found


class _Handler(BaseHTTPRequestHandler):
    api: Api

    def do_GET(self) -> None:
        try:
            asked = json.dumps(targets(self.api)) if self.path == "/targets" else text(series(self.api))
            body, code = asked.encode(), 200
        except (TestbedError, httpx.HTTPError) as problem:
            body, code = f"{problem}\n".encode(), 503
        self.send_response(code)
        self.send_header("Content-Type", "application/json" if self.path == "/targets" else "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Scrapes are not worth a line."""


def main() -> None:
    _Handler.api = Api(Path(sys.argv[1]))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), _Handler).serve_forever()


if __name__ == "__main__":
    main()
