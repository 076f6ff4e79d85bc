"""Each action on each kind of target that it is made for, and how a cluster comes to where it fits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from _pytest.mark import ParameterSet

from graph_schema.config_versions import ConfigVersion
from remediate.actions import Mark
from remediate.actions.base import NOT_ANYBODYS_DOING
from remediate.actions.hibernate import HIBERNATED
from remediate.actions.pods import serving
from remediate.actions.zone import ZONE
from remediate.cluster import Object
from tests.contract.clusters import MERGE, Place, deployment, until
from tests.contract.webhooks import hook

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARK = Mark(action="a1", fencing=5, at=NOW.isoformat())
LATER = datetime.now(UTC).replace(year=2100).isoformat()
"""The twin's clock runs ahead of the wall's: late enough for every pod to be old."""
OLD = {"LATENCY_MS": "1"}
WRONG = {"LATENCY_MS": "9000"}


class Case(msgspec.Struct, frozen=True):
    """One action on one kind of target. `make` brings the cluster to where the action fits and gives the target."""

    action: str
    make: Callable[[Place], Object]
    parameters: dict[str, Any] = {}
    of_place: Callable[[Place], dict[str, Any]] | None = None
    """Parameters that depend on where it is done."""
    goes_back: bool = True
    elsewhere: bool = False
    """What it does is not done to its target."""
    seen: bool = True
    """Whether it can be told afterwards that it was done."""
    of_nodes: bool = False
    """Nodes are changed for it or by it."""
    meddle: dict[str, Any] | None = None
    """A merge patch by which somebody else changes the target; None: the target is replaced by another one."""


def web(place: Place) -> Object:
    return place.deployment()


def rolled(place: Place) -> Object:
    place.deployment()
    return image(place, place.images.v2, wait=True)


def stuck(place: Place) -> Object:
    place.deployment()
    image(place, place.images.missing, wait=False)
    until(lambda: len(place.pods()) > 2, "a pod of the new revision is there")
    return place.get("Deployment", "web")


def failing(place: Place) -> Object:
    """A Deployment one of whose pods waits for an image that is not there."""
    stuck(place)

    def waits() -> Object | None:
        for pod in place.pods():
            for each in pod["status"].get("containerStatuses") or []:
                reason = (each["state"].get("waiting") or {}).get("reason", "")
                if reason.startswith("Err") and "startTime" in pod["status"]:
                    return place.get("Deployment", "web")
        return None

    return until(waits, "a pod waits for its image")


def paused(place: Place) -> Object:
    place.deployment()
    place.api.must("PATCH", f"{place.apps}/deployments/web", {"spec": {"paused": True}}, kind=MERGE)
    return place.get("Deployment", "web")


def image(place: Place, name: str, *, wait: bool) -> Object:
    path = f"{place.apps}/deployments/web"
    template = copy.deepcopy(place.get("Deployment", "web")["spec"]["template"])
    template["spec"]["containers"][0]["image"] = name
    place.api.must("PATCH", path, {"spec": {"template": template}}, kind=MERGE)
    return place.rolled_out() if wait else place.get("Deployment", "web")


def autoscaler(place: Place) -> Object:
    """One that stands at its maximum."""
    place.deployment(replicas=3)
    path = f"/apis/autoscaling/v2/namespaces/{place.namespace}/horizontalpodautoscalers"
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    place.api.must("POST", path, {
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 1,
                 "maxReplicas": 2, "metrics": [cpu]},
    })  # fmt: skip

    def at_maximum() -> Object | None:
        found = place.get("HorizontalPodAutoscaler", "web")
        if (found.get("status") or {}).get("desiredReplicas") == 2:
            return found
        status = {"status": {"currentReplicas": 3, "desiredReplicas": 2}}
        place.api.must("PATCH", f"{path}/web/status", status, kind=MERGE)
        return None

    return until(at_maximum, "the autoscaler stands at its maximum")


def config(place: Place) -> Object:
    place.api.must("POST", f"{place.core}/configmaps", {"metadata": {"name": "web"}, "data": OLD})
    place.deployment(envFrom=[{"configMapRef": {"name": "web"}}])
    place.api.must("PATCH", f"{place.core}/configmaps/web", {"data": WRONG}, kind=MERGE)
    return place.get("ConfigMap", "web")


def a_pod(place: Place) -> Object:
    place.deployment()
    return {**place.pods()[0], "kind": "Pod"}


def node(place: Place) -> Object:
    """One that runs a pod of ours."""
    place.deployment()
    return place.get("Node", place.pods()[0]["spec"]["nodeName"])


def cordoned(place: Place) -> Object:
    name = node(place)["metadata"]["name"]
    place.api.must("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}}, kind=MERGE)
    return place.get("Node", name)


def sized(place: Place) -> Object:
    amounts = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
    return place.deployment(resources=amounts)


def sized_pod(place: Place) -> Object:
    sized(place)
    return {**place.pods()[0], "kind": "Pod"}


def asleep(place: Place) -> Object:
    """A Deployment that was sent to sleep with three replicas."""
    place.deployment(replicas=3)
    change = {"metadata": {"annotations": {HIBERNATED: "3"}}, "spec": {"replicas": 0}}
    place.api.must("PATCH", f"{place.apps}/deployments/web", change, kind=MERGE)
    return place.rolled_out()


def of_revisions(place: Place, kind: str) -> Object:
    """A StatefulSet or DaemonSet in its second revision."""
    made = deployment(place, "set", 2)
    if kind == "DaemonSet":
        del made["spec"]["replicas"]
    else:
        made["spec"]["serviceName"] = "set"
    path = f"{place.apps}/{kind.lower()}s"
    place.api.must("POST", path, {**made, "kind": kind})
    place.rolled_out("set", kind)
    template = copy.deepcopy(made["spec"]["template"])
    template["spec"]["containers"][0]["image"] = place.images.v2
    place.api.must("PATCH", f"{path}/set", {"spec": {"template": template}}, kind=MERGE)
    return place.rolled_out("set", kind)


def zoned(place: Place) -> Object:
    """A Deployment on nodes of two zones."""
    first, *others = sorted(each["metadata"]["name"] for each in place.cluster.list("Node"))
    for name in (first, *others):
        labels = {"metadata": {"labels": {ZONE: "kt-a" if name == first else "kt-b"}}}
        place.api.must("PATCH", f"/api/v1/nodes/{name}", labels, kind=MERGE)
    return place.deployment()


def lone_pod(place: Place) -> Object:
    """A pod that serves and that nobody would make anew."""
    made = deployment(place, "web", 1)["spec"]["template"]
    place.api.must(
        "POST", f"{place.core}/pods", {"metadata": {"name": "web", **made["metadata"]}, "spec": made["spec"]}
    )
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    place.api.must("POST", f"{place.core}/services", service)
    return until(lambda: found if serving(found := place.get("Pod", "web")) else None, "the pod serves")


def with_ended_pods(place: Place) -> Object:
    """A namespace with two pods that have ended and one that runs; no node took the two, so no kubelet speaks up."""
    place.deployment(replicas=1)
    spec = deployment(place, "web", 1)["spec"]["template"]["spec"] | {"nodeSelector": {"kt.io/none": "such"}}
    for name, reason in (("gone-1", "Evicted"), ("gone-2", "Completed")):
        place.api.must("POST", f"{place.core}/pods", {"metadata": {"name": name}, "spec": spec})
        status = {"status": {"phase": "Failed" if reason == "Evicted" else "Succeeded", "reason": reason}}
        place.api.must("PATCH", f"{place.core}/pods/{name}/status", status, kind=MERGE)
    return place.get("Namespace", place.namespace)


def claim(place: Place) -> Object:
    """A claim that is bound to a volume of a class whose volumes may grow."""
    name = place.namespace
    place.api.must("POST", "/apis/storage.k8s.io/v1/storageclasses", {
        "metadata": {"name": name}, "provisioner": "kubernetes.io/no-provisioner", "allowVolumeExpansion": True,
    })  # fmt: skip
    usual = {"accessModes": ["ReadWriteOnce"], "storageClassName": name}
    volume = {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/nonesuch"}, **usual}
    place.api.must("POST", "/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": volume})
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, **usual}
    place.api.must("POST", f"{place.core}/persistentvolumeclaims", {"metadata": {"name": "web"}, "spec": wanted})

    def bound() -> Object | None:
        found = place.get("PersistentVolumeClaim", "web")
        return found if found["status"].get("phase") == "Bound" else None

    return until(bound, "the claim is bound")


def cron_job(place: Place, *, suspend: bool = False) -> Object:
    template = deployment(place, "web", 1)["spec"]["template"]
    template["spec"]["restartPolicy"] = "Never"
    spec = {"schedule": "0 0 1 1 *", "suspend": suspend, "jobTemplate": {"spec": {"template": template}}}
    path = f"/apis/batch/v1/namespaces/{place.namespace}/cronjobs"
    place.api.must("POST", path, {"metadata": {"name": "web"}, "spec": spec})
    return place.get("CronJob", "web")


def of_a_job(place: Place) -> dict[str, Any]:
    container = {"name": "own", "image": place.images.v1, "imagePullPolicy": place.images.pull}
    return {"job": {"template": {"spec": {"containers": [container]}}}}


def to_the_hook(place: Place) -> dict[str, Any]:
    return {"url": f"{hook().url}/do", "undo_url": f"{hook().url}/undo", "webhooks": [hook().url]}


VERSIONS = [ConfigVersion(version="1", at=NOW, data=OLD)]
BUSY = {"utilisation": -1.0, "imbalance": -1.0, "move": -1.0}
"""A policy by which whatever runs is busy, and every node fuller than others: not every cluster has metrics."""
SCALED = {"spec": {"replicas": 1}}
OLDER = {"spec": {"revisionHistoryLimit": 9}}
ANOTHER_FIELD = ("roll-back", "scale-up", "leave-zone")
"""Actions whose case is meddled with in another field than theirs."""
CASES = {
    "scale-out": Case("scale-out", web, {"factor": 1.5, "max_replicas": 4}, meddle=SCALED),
    "roll-back": Case("roll-back", rolled, meddle=SCALED),
    "restart": Case("restart", web, goes_back=False, meddle=SCALED),
    "restart-pod": Case("restart", a_pod, goes_back=False),
    "terminate-pod": Case("terminate-pod", a_pod, {"sibling_delay_s": 0, "now": LATER}, goes_back=False),
    "pause-rollout": Case("pause-rollout", stuck, meddle=SCALED),
    "resume-rollout": Case("resume-rollout", paused, meddle=SCALED),
    "raise-hpa-maximum": Case("raise-hpa-maximum", autoscaler, meddle={"spec": {"maxReplicas": 7}}),
    "restore-config": Case("restore-config", config, {"config_versions": lambda *_: VERSIONS},
                           meddle={"data": {"LATENCY_MS": "5"}}),
    "restart-users": Case("restart-users", config, goes_back=False),
    "cordon": Case("cordon", node, of_nodes=True, meddle={"spec": {"unschedulable": True}}),
    "uncordon": Case("uncordon", cordoned, of_nodes=True, meddle={"spec": {"unschedulable": None}}),
    "evict-pods": Case("evict-pods", node, goes_back=False, of_nodes=True),
    "scale-up": Case("scale-up", sized, meddle=SCALED),
    "scale-up-pod": Case("scale-up", sized_pod, {"resources": ["cpu"]}),
    "roll-back-stateful": Case("roll-back", lambda place: of_revisions(place, "StatefulSet"), meddle=SCALED),
    "roll-back-daemon": Case("roll-back", lambda place: of_revisions(place, "DaemonSet"), meddle=OLDER),
    "leave-zone": Case("leave-zone", zoned, {"zone": "kt-a"}, of_nodes=True, meddle=SCALED),
    "quarantine": Case("quarantine", lone_pod, meddle={"metadata": {"labels": {"theirs": "1"}}}),
    "clean-up-pods": Case("clean-up-pods", with_ended_pods, {"min_age_s": 0, "now": LATER}, goes_back=False,
                          elsewhere=True),
    "expand-volume": Case("expand-volume", claim, goes_back=False,
                          meddle={"spec": {"resources": {"requests": {"storage": "3Gi"}}}}),
    "hibernate": Case("hibernate", web, meddle=SCALED),
    "wake": Case("wake", asleep, meddle=SCALED),
    "pause-cronjob": Case("pause-cronjob", cron_job, meddle={"spec": {"schedule": "5 0 1 1 *"}}),
    "resume-cronjob": Case("resume-cronjob", lambda place: cron_job(place, suspend=True),
                           meddle={"spec": {"schedule": "5 0 1 1 *"}}),
    "terminate-invalid": Case("terminate-invalid", failing, {"policy": {"patience_s": 0.0}}, goes_back=False,
                              elsewhere=True, meddle=None),
    "move-busy": Case("move-busy", web, {"policy": BUSY}, goes_back=False, elsewhere=True),
    "run-job": Case("run-job", web, of_place=of_a_job, goes_back=False, elsewhere=True),
    "call-webhook": Case("call-webhook", web, of_place=to_the_hook, goes_back=False, elsewhere=True, seen=False),
}  # fmt: skip


def marked(cases: Mapping[str, str]) -> list[ParameterSet]:
    """Parameters by name, of which each is about the case that it is mapped to; those that change nodes say so."""
    return [
        pytest.param(name, marks=[pytest.mark.whole_cluster] if CASES[case].of_nodes else [])
        for name, case in sorted(cases.items())
    ]


def state(thing: Object) -> Object:
    """What somebody declared of an object, without what controllers add by themselves."""
    meta = thing["metadata"]
    annotations = {
        key: value
        for key, value in (meta.get("annotations") or {}).items()
        if not key.startswith(NOT_ANYBODYS_DOING) and not key.startswith("volumes.kubernetes.io/")
    }
    spec = {key: value for key, value in (thing.get("spec") or {}).items() if key != "taints"}
    taints = [each for each in (thing.get("spec") or {}).get("taints") or [] if "unschedulable" not in each["key"]]
    return {
        "labels": meta.get("labels") or {},
        "annotations": annotations,
        "spec": spec | ({"taints": taints} if taints else {}),
        "data": thing.get("data") or {},
    }


def plain(thing: Object) -> Object:
    """An object reduced to its state, so that a diff shows nothing else."""
    meta = {"name": thing["metadata"]["name"], "labels": state(thing)["labels"]}
    shown = state(thing)
    return {"metadata": {**meta, "annotations": shown["annotations"]}, "spec": shown["spec"], "data": shown["data"]}


def changed(text: str) -> list[str]:
    """The lines of a diff that tell of a value; the heading of a part that is empty on one side is none."""
    return [line for line in text.splitlines()[2:] if line[0] in "+-" and line[1:] not in ("spec:", "data:")]


def seen(thing: Object) -> bool:
    return bool(thing["status"].get("observedGeneration") == thing["metadata"]["generation"])
