"""What the API server fills into an object that is created or changed, as far as anybody here looks at it."""

from __future__ import annotations

from typing import Any

from twin.objects import Object, Store

_UNREACHABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def fill(store: Store, kind: str, given: Object) -> None:
    """Complete an object in place; harmless when repeated."""
    spec = given.get("spec")
    if kind == "Pod":
        spec = given.setdefault("spec", {})
        _pod_spec(spec)
        _pod_admission(spec)
        given.setdefault("status", {}).setdefault("phase", "Pending")
        given["status"].setdefault("qosClass", quality(spec))
    elif kind in _WORKLOADS and isinstance(spec, dict):
        _workload(kind, spec)
    elif kind == "Service" and isinstance(spec, dict):
        _service(store, spec)
    elif kind == "Namespace":
        given.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        given.setdefault("status", {}).setdefault("phase", "Active")
        labels = given["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = given["metadata"]["name"]
    elif kind == "Secret":
        given.setdefault("type", "Opaque")
    elif kind in ("PersistentVolumeClaim", "PersistentVolume"):
        given.setdefault("status", {}).setdefault("phase", "Pending" if kind.endswith("Claim") else "Available")
        given.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    elif kind == "CronJob" and isinstance(spec, dict):
        for field, value in _CRON.items():
            spec.setdefault(field, value)
        _workload("Job", spec.setdefault("jobTemplate", {}).setdefault("spec", {}), asked=False)
    elif kind == "HorizontalPodAutoscaler" and isinstance(spec, dict):
        spec.setdefault("minReplicas", 1)
    elif kind == "PodDisruptionBudget":
        given.setdefault("spec", {})


_WORKLOADS = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job"})


_CRON: dict[str, Any] = {
    "concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
}  # fmt: skip


def _workload(kind: str, spec: dict[str, Any], *, asked: bool = True) -> None:
    """`asked`: whether it is one that is to run, not the template of one."""
    if kind not in ("DaemonSet", "Job"):
        spec.setdefault("replicas", 1)
    if kind == "Deployment":
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.get("rollingUpdate") or {}
            strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%"} | rolling
    elif kind == "StatefulSet":
        spec.setdefault("podManagementPolicy", "OrderedReady")
        strategy = spec.setdefault("updateStrategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
        spec.setdefault("revisionHistoryLimit", 10)
    elif kind == "DaemonSet":
        spec.setdefault("updateStrategy", {}).setdefault("type", "RollingUpdate")
        spec.setdefault("revisionHistoryLimit", 10)
    elif kind == "Job" and asked:
        for field, value in (("parallelism", 1), ("completions", 1), ("backoffLimit", 6)):
            spec.setdefault(field, value)
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        _pod_spec(template.setdefault("spec", {}))


def _pod_spec(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in spec.get("containers") or []:
        _container(container)
    for container in spec.get("initContainers") or []:
        _container(container)


def _container(container: dict[str, Any]) -> None:
    image = str(container.get("image", ""))
    newest = image.endswith(":latest") or ":" not in image.rpartition("/")[2]
    container.setdefault("imagePullPolicy", "Always" if newest else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    resources = container.setdefault("resources", {})
    for name, amount in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, amount)
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        if probe in container:
            container[probe] = {
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            } | container[probe]  # fmt: skip
            if "httpGet" in container[probe]:
                container[probe]["httpGet"] = {"path": "/", "scheme": "HTTP"} | container[probe]["httpGet"]


def _pod_admission(spec: dict[str, Any]) -> None:
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    tolerations = spec.setdefault("tolerations", [])
    for key in _UNREACHABLE:
        if not any(each.get("key") in (key, None) and each.get("effect") in ("NoExecute", None)
                   for each in tolerations):  # fmt: skip
            toleration = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            tolerations.append(toleration)


def quality(spec: dict[str, Any]) -> str:
    """The QoS class of a pod."""
    resources = [container.get("resources") or {} for container in spec.get("containers") or []]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    whole = all({"cpu", "memory"} <= set(each.get("limits") or {}) for each in resources)
    return "Guaranteed" if whole and all(e["requests"] == e["limits"] for e in resources) else "Burstable"


def _service(store: Store, spec: dict[str, Any]) -> None:
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] != "ExternalName":
        if not spec.get("clusterIP"):
            spec["clusterIP"] = _free_address(store)
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def _free_address(store: Store) -> str:
    taken = {each["spec"].get("clusterIP") for each in store.all("Service")}
    number = next(n for n in range(10, 65_000) if f"10.96.{n // 250}.{n % 250 + 1}" not in taken)
    return f"10.96.{number // 250}.{number % 250 + 1}"
