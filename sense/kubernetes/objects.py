"""From a Kubernetes object to what the graph keeps of it: an entity, the relations that leave it, changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from graph_schema.model import Change, Entity, Relation, entity_id
from graph_schema.quantities import parse
from graph_schema.remedied import REMEDY, Did, detail_of

Object = dict[str, Any]
CALLS = "kt.io/calls"
"""Annotation of a Service: the services it calls, `name` or `namespace/name`, separated by commas."""
ACTION, UNDONE = "kt.io/action", "kt.io/undone"
"""Annotations that KT leaves on what it changes: the id of the action that it did last, or took back."""
DID: tuple[tuple[str, Did], ...] = ((ACTION, "done"), (UNDONE, "taken back"))
REVISION = "deployment.kubernetes.io/revision"
REVISIONS_BEFORE = "deployment.kubernetes.io/revision-history"
"""The revisions that a ReplicaSet was before it was gone back to."""
OUTGOING = ("OWNS", "RUNS_ON", "SELECTS", "CALLS", "MOUNTS", "USES", "SCALES", "APPLIES_TO", "ROUTES_TO", "IN")
ZONE = "topology.kubernetes.io/zone"
EVERY_POD = frozenset({
    "pods", "count/pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
})  # fmt: skip
"""Amounts of a quota that every pod takes of; others forbid kinds of things by a bound of zero."""


def id_of(thing: Object) -> str:
    meta = thing["metadata"]
    return entity_id(thing["kind"], meta["name"], meta.get("namespace", ""))


def entity(thing: Object) -> Entity:
    """What is kept: identity, labels and the states that the ontology declares."""
    meta = thing["metadata"]
    return Entity(
        id=id_of(thing),
        kind=thing["kind"],
        name=meta["name"],
        namespace=meta.get("namespace", ""),
        labels=meta.get("labels") or {},
        properties={key: value for key, value in _states(thing).items() if value is not None},
    )


def _states(thing: Object) -> dict[str, Any]:
    spec, status, meta = thing.get("spec") or {}, thing.get("status") or {}, thing["metadata"]
    match thing["kind"]:
        case "Deployment" | "StatefulSet" | "ReplicaSet":
            return {
                "replicas": spec.get("replicas", 1),
                "ready": status.get("readyReplicas", 0),
                "revision": (meta.get("annotations") or {}).get(REVISION),
                "images": images(spec),
            }
        case "DaemonSet":
            wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
            return {"replicas": wanted, "ready": ready, "images": images(spec)}
        case "Pod":
            return _pod(spec, status, meta)
        case "Node":
            conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
            addresses = {each["type"]: each["address"] for each in status.get("addresses", [])}
            return {
                "ready": conditions.get("Ready") == "True",
                "unschedulable": bool(spec.get("unschedulable")),
                "pressure": sorted(name for name, value in conditions.items() if name != "Ready" and value == "True"),
                "address": addresses.get("InternalIP"),
            }
        case "Certificate":
            conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
            return {"ready": conditions["Ready"] == "True" if "Ready" in conditions else None}
        case "ResourceQuota":
            return {"full": _used_up(status)}
        case "PersistentVolumeClaim":
            return {"phase": status.get("phase")}
        case "HorizontalPodAutoscaler":
            return {"maximum": spec.get("maxReplicas"), "replicas": status.get("currentReplicas")}
    return {}


def _used_up(status: Object) -> bool | None:
    """Whether a quota has nothing left of what every pod takes; None: it bounds none of it, or nobody has counted."""
    used, hard = status.get("used") or {}, status.get("hard") or {}
    both = used.keys() & hard.keys() & EVERY_POD
    return any(parse(used[each]) >= parse(hard[each]) for each in both) if both else None


def _pod(spec: Object, status: Object, meta: Object) -> dict[str, Any]:
    containers, before = status.get("containerStatuses") or [], status.get("initContainerStatuses") or []
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    return {
        "phase": status.get("phase"),
        "ready": is_ready(status),
        "waiting": _first(containers, "waiting"),
        "terminated": _first(containers, "terminated"),
        "init_failed": True if any(failed(each) for each in before) else None,
        "unschedulable": True if conditions.get("PodScheduled", {}).get("reason") == "Unschedulable" else None,
        "reason": status.get("reason"),
        "node": spec.get("nodeName"),
        "terminating": True if "deletionTimestamp" in meta else None,
    }


def is_ready(status: Object) -> bool:
    """Whether a pod's status says that it takes traffic."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))


def _first(containers: list[Object], state: str) -> str | None:
    """The first reason for which a container is in this state, or was the last time; ending in peace is none."""
    told = [each.get(when, {}).get(state, {}) for each in containers for when in ("state", "lastState")]
    return next((each["reason"] for each in told if each.get("reason") and each["reason"] != "Completed"), None)


def failed(container: Object) -> bool:
    """Whether a container, by its status, ended with an error, now or the last time."""
    ended = [container.get(when, {}).get("terminated", {}) for when in ("state", "lastState")]
    return any(each.get("exitCode", 0) != 0 for each in ended)


def behind(service: Object, pods: Iterable[Object]) -> dict[str, Any]:
    """The states of a Service that follow from the pods that it selects; nothing where it selects by no labels."""
    spec = service.get("spec") or {}
    if not spec.get("selector"):
        return {}
    selected = [pod for pod in pods if selects(service, pod)]
    ready = sum(is_ready(pod.get("status") or {}) for pod in selected)
    declared = [
        {port.get("containerPort"), port.get("name")}
        for pod in selected
        for container in pod["spec"].get("containers", [])
        for port in container.get("ports") or []
    ]
    wanted = [port.get("targetPort", port.get("port")) for port in spec.get("ports") or []]
    # A container need not declare its ports; where it does, and not the one that is asked for, that says much.
    unknown = bool(declared) and any(not any(port in ports for ports in declared) for port in wanted)
    return {
        "selected_pods": len(selected),
        "ready_endpoints": ready,
        "not_ready_endpoints": len(selected) - ready,
        "port_declared": not unknown if declared else None,
    }


def images(spec: Object) -> list[str]:
    template = spec.get("template", {}).get("spec", {})
    return [container.get("image", "") for container in template.get("containers", [])]


def relations(thing: Object) -> list[Relation]:
    """The relations that leave this object and are written in it, and the ones of its owners to it."""
    me, namespace, spec = id_of(thing), thing["metadata"].get("namespace", ""), thing.get("spec") or {}
    found: list[Relation] = []
    match thing["kind"]:
        case "Pod":
            if spec.get("nodeName"):
                found.append(Relation(me, entity_id("Node", spec["nodeName"]), "RUNS_ON"))
            found += [Relation(me, entity_id(kind, name, namespace), "MOUNTS") for kind, name in _mounted(spec)]
        case "Service":
            calls = (thing["metadata"].get("annotations") or {}).get(CALLS, "")
            for callee in filter(None, (part.strip() for part in calls.split(","))):
                space, _, name = callee.rpartition("/")
                found.append(Relation(me, entity_id("Service", name, space or namespace), "CALLS"))
        case "HorizontalPodAutoscaler":
            scaled = spec.get("scaleTargetRef", {})
            if scaled:
                found.append(Relation(me, entity_id(scaled["kind"], scaled["name"], namespace), "SCALES"))
        case "Ingress":
            found += [Relation(me, entity_id("Service", name, namespace), "ROUTES_TO") for name in _backends(spec)]
        case "Node":
            zone = (thing["metadata"].get("labels") or {}).get(ZONE)
            if zone:
                found.append(Relation(me, entity_id("Zone", zone), "IN"))
    return sorted(set(found), key=lambda each: (each.kind, each.target))


def owners(thing: Object) -> list[Relation]:
    """Owner OWNS this, as the owner references say."""
    namespace = thing["metadata"].get("namespace", "")
    return [
        Relation(
            entity_id(owner["kind"], owner["name"], "" if owner["kind"] == "Node" else namespace), id_of(thing), "OWNS"
        )
        for owner in thing["metadata"].get("ownerReferences") or []
    ]


def _mounted(spec: Object) -> Iterator[tuple[str, str]]:
    for volume in spec.get("volumes") or []:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"].get("name", "")
        elif "secret" in volume:
            yield "Secret", volume["secret"].get("secretName", "")
        elif "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"].get("claimName", "")
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        for source in container.get("envFrom") or []:
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if key in source:
                    yield kind, source[key].get("name", "")
        for variable in container.get("env") or []:
            for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if key in (variable.get("valueFrom") or {}):
                    yield kind, variable["valueFrom"][key].get("name", "")


def _backends(spec: Object) -> set[str]:
    paths = [path for rule in spec.get("rules") or [] for path in (rule.get("http") or {}).get("paths") or []]
    named = [path.get("backend", {}) for path in paths] + [spec.get("defaultBackend") or {}]
    return {backend["service"]["name"] for backend in named if "service" in backend}


def selects(service: Object, pod: Object) -> bool:
    """Whether a Service sends traffic to a pod when it is ready."""
    wanted = (service.get("spec") or {}).get("selector") or {}
    labels = pod["metadata"].get("labels") or {}
    same_space = service["metadata"].get("namespace") == pod["metadata"].get("namespace")
    return same_space and bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def template(workload: Object) -> Object:
    """What a workload makes its pods of, as an object of its namespace."""
    made = (workload.get("spec") or {}).get("template") or {}
    labels = (made.get("metadata") or {}).get("labels") or {}
    return {"metadata": {"namespace": workload["metadata"].get("namespace", ""), "labels": labels}}


def changes(before: Object, after: Object, at: datetime) -> list[Change]:
    """What was altered on purpose between two versions of an object."""
    old, new = before.get("spec") or {}, after.get("spec") or {}
    kind, me = after["kind"], id_of(after)
    version = after["metadata"].get("resourceVersion", "")

    remedy = of_kt(before, after)

    def change(what: str, detail: str) -> Change:
        told = detail_of(remedy, what, detail) if remedy else detail
        return Change(entity=me, at=at, kind=REMEDY if remedy else what, detail=told, id=f"{me}@{version}:{what}")

    found: list[Change] = []
    if kind in ("Deployment", "StatefulSet", "DaemonSet"):
        if old.get("template") != new.get("template"):
            was, now = ", ".join(images(old)), ", ".join(images(new))
            restarted = bool(remedy) and _unmarked(old) == _unmarked(new)
            detail = f"{was} → {now}" if was != now else "pod template changed"
            found.append(change("restart", "new pods") if restarted else change("rollout", detail))
        if old.get("replicas") != new.get("replicas"):
            found.append(change("scale", f"{old.get('replicas')} → {new.get('replicas')} replicas"))
    elif kind == "Secret":
        if written(before) != written(after):
            found.append(change("config", "contents were written"))
    elif kind == "Certificate":
        if (before.get("status") or {}).get("revision") != (after.get("status") or {}).get("revision") or old != new:
            found.append(change("certificate", "issued anew" if old == new else "spec changed"))
    elif kind == "ConfigMap":
        if before.get("data") != after.get("data") or before.get("binaryData") != after.get("binaryData"):
            keys = {**(before.get("data") or {}), **(after.get("data") or {})}
            touched = [
                key for key in sorted(keys) if (before.get("data") or {}).get(key) != (after.get("data") or {}).get(key)
            ]
            found.append(change("config", f"keys {', '.join(touched)}"))
    elif kind == "Node" and bool(old.get("unschedulable")) != bool(new.get("unschedulable")):
        found.append(change("node", "cordoned" if new.get("unschedulable") else "uncordoned"))
    elif kind in ("Service", "HorizontalPodAutoscaler", "Ingress") and old != new:
        found.append(change("config", "spec changed"))
    elif kind in ("NetworkPolicy", "ResourceQuota") and old != new:
        found.append(change("policy", "spec changed"))
    return found


def made(thing: Object, at: datetime) -> list[Change]:
    """That something is there which was not: a change where it limits others from the moment on."""
    if thing["kind"] not in ("NetworkPolicy", "ResourceQuota"):
        return []
    version = thing["metadata"].get("resourceVersion", "")
    return [Change(entity=id_of(thing), at=at, kind="policy", detail="created", id=f"{id_of(thing)}@{version}:policy")]


def _unmarked(spec: Object) -> Object:
    """A pod template without its annotations, by which a restart makes new pods of the same."""
    made = dict(spec.get("template") or {})
    meta = {key: value for key, value in (made.get("metadata") or {}).items() if key != "annotations"}
    return {**made, "metadata": meta}


def written(thing: Object) -> list[tuple[str, str]]:
    """Who wrote the contents when: managedFields name the keys that were written, never what stands there."""
    return sorted(
        (str(each.get("manager", "")), str(each.get("time", "")))
        for each in thing["metadata"].get("managedFields") or []
        if "f:data" in (each.get("fieldsV1") or {})
    )


def of_kt(before: Object, after: Object) -> Did | None:
    """What KT did in the very write that made one of the other; empty when it was somebody else's.

    KT's marks stay on an object that others change after it, so only a mark that came with this write counts."""
    old, new = marks_of(before), marks_of(after)
    return next((did for mark, did in DID if new.get(mark) and new[mark] != old.get(mark)), None)


def marks_of(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("annotations") or {}


def _remedy_of(replica_set: Object, others: Iterable[Object]) -> Did | None:
    """The same of the write that brought a ReplicaSet about. It got the marks of its Deployment, as every one after it
    does: the first that carries a mark is the one that came of it."""
    for mark, did in DID:
        mine = marks_of(replica_set).get(mark)
        if mine and all(marks_of(each).get(mark) != mine for each in others):
            return did
    return None


def newest_rollouts(things: Iterable[Object], known: Iterable[Object] = ()) -> list[Change]:
    """The rollouts that ReplicaSets tell of, known even when nobody watched them: of each owner the newest, if it is
    above revision 1. Older ones are over; one that was gone back to (it has a history of revisions) does not tell
    when that was. `known`: the ReplicaSets that were there before; what came of KT's own change is told as a remedy."""
    things = list(things)
    there = {id_of(each): each for each in (*known, *things) if each["kind"] == "ReplicaSet"}
    newest: dict[str, tuple[int, Object]] = {}
    for thing in things:
        marks = thing["metadata"].get("annotations") or {}
        owner = next(iter(thing["metadata"].get("ownerReferences") or []), None)
        if thing["kind"] != "ReplicaSet" or owner is None or not marks.get(REVISION, "").isdigit():
            continue
        deployment = entity_id(owner["kind"], owner["name"], thing["metadata"].get("namespace", ""))
        number = int(marks[REVISION])
        if number > newest.get(deployment, (0, {}))[0]:
            newest[deployment] = (number, thing)
    return [
        _rollout(deployment, number, thing, _remedy_of(thing, _siblings(thing, there)))
        for deployment, (number, thing) in newest.items()
        if number > 1 and REVISIONS_BEFORE not in thing["metadata"]["annotations"]
    ]


def _siblings(replica_set: Object, there: Mapping[str, Object]) -> list[Object]:
    mine, me = replica_set["metadata"], id_of(replica_set)
    return [
        each
        for key, each in there.items()
        if key != me
        and each["metadata"].get("namespace") == mine.get("namespace")
        and each["metadata"].get("ownerReferences") == mine["ownerReferences"]
    ]


def _rollout(deployment: str, number: int, replica_set: Object, remedy: Did | None) -> Change:
    detail = f"revision {number}: {', '.join(images(replica_set.get('spec') or {}))}"
    return Change(
        entity=deployment,
        at=datetime.fromisoformat(replica_set["metadata"]["creationTimestamp"]).astimezone(UTC),
        kind=REMEDY if remedy else "rollout",
        detail=detail_of(remedy, "template", detail) if remedy else detail,
        id=f"{deployment}#{replica_set['metadata']['name']}",
    )
