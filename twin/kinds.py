"""The kinds that the twin serves: where each stands in the API, its short names and its subresources."""

from __future__ import annotations

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """One resource of the API. `group` is empty for v1."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ("status",)
    returns_deleted: bool = False
    """The real API answers a DELETE of these with the object, of all others with a Status."""
    generation: bool = False
    """Counts changes of the spec in metadata.generation."""
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()


_ALL = ("all",)
_SCALED = ("status", "scale")


def _core() -> tuple[Kind, ...]:
    return (
        Kind("Namespace", "namespaces", namespaced=False, short=("ns",), returns_deleted=True),
        Kind("Node", "nodes", namespaced=False, short=("no",)),
        Kind("PersistentVolume", "persistentvolumes", namespaced=False, short=("pv",), returns_deleted=True),
        Kind("Pod", "pods", short=("po",), subresources=("status", "eviction", "log", "resize"),
             returns_deleted=True, generation=True, categories=_ALL),
        Kind("Service", "services", short=("svc",), subresources=("status", "proxy"), returns_deleted=True,
             categories=_ALL),
        Kind("ConfigMap", "configmaps", short=("cm",), subresources=()),
        Kind("Secret", "secrets", subresources=()),
        Kind("Event", "events", short=("ev",), subresources=()),
        Kind("Endpoints", "endpoints", short=("ep",), subresources=()),
        Kind("ServiceAccount", "serviceaccounts", short=("sa",), subresources=(), returns_deleted=True),
        Kind("PersistentVolumeClaim", "persistentvolumeclaims", short=("pvc",), returns_deleted=True),
        Kind("ResourceQuota", "resourcequotas", short=("quota",), returns_deleted=True),
        Kind("LimitRange", "limitranges", short=("limits",), subresources=()),
        Kind("ReplicationController", "replicationcontrollers", short=("rc",), subresources=_SCALED, generation=True,
             categories=_ALL),
    )  # fmt: skip


def _apps() -> tuple[Kind, ...]:
    return (
        Kind("Deployment", "deployments", "apps", short=("deploy",), subresources=_SCALED, generation=True,
             categories=_ALL),
        Kind("ReplicaSet", "replicasets", "apps", short=("rs",), subresources=_SCALED, generation=True,
             categories=_ALL),
        Kind("StatefulSet", "statefulsets", "apps", short=("sts",), subresources=_SCALED, generation=True,
             categories=_ALL),
        Kind("DaemonSet", "daemonsets", "apps", short=("ds",), generation=True, categories=_ALL),
        Kind("ControllerRevision", "controllerrevisions", "apps", subresources=()),
    )  # fmt: skip


def _others() -> tuple[Kind, ...]:
    return (
        Kind("Job", "jobs", "batch", generation=True, categories=_ALL),
        Kind("CronJob", "cronjobs", "batch", short=("cj",), generation=True, categories=_ALL),
        Kind("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2", short=("hpa",),
             categories=_ALL),
        Kind("PodDisruptionBudget", "poddisruptionbudgets", "policy", short=("pdb",), generation=True),
        Kind("Ingress", "ingresses", "networking.k8s.io", short=("ing",), generation=True),
        Kind("NetworkPolicy", "networkpolicies", "networking.k8s.io", short=("netpol",), subresources=(),
             generation=True),
        Kind("EndpointSlice", "endpointslices", "discovery.k8s.io", subresources=(), generation=True),
        Kind("Lease", "leases", "coordination.k8s.io", subresources=()),
        Kind("StorageClass", "storageclasses", "storage.k8s.io", namespaced=False, short=("sc",), subresources=(),
             returns_deleted=True),
    )  # fmt: skip


KINDS: tuple[Kind, ...] = (*_core(), *_apps(), *_others())
BY_KIND: dict[str, Kind] = {kind.kind: kind for kind in KINDS}
BY_PATH: dict[tuple[str, str, str], Kind] = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
