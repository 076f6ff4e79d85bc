"""Scale, eviction and the logs of a pod."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request

from twin import errors
from twin.api import asked, budgets, defaults, patching
from twin.api.asked import Asked
from twin.api.backend import Backend
from twin.api.deletion import delete
from twin.api.resources import Answer, find, write
from twin.objects import Object, clone

_NOT_ALLOWED = "the server does not allow this method on the requested resource"


def scale(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    """GET, PUT and PATCH of autoscaling/v1 Scale."""
    before = find(backend, what)
    current = scale_of(before)
    if request.method == "GET":
        return 200, current
    if request.method == "PUT":
        wanted = body if isinstance(body, dict) else {}
    elif request.method == "PATCH":
        wanted = patching.apply(asked.media_type(request), current, body)
    else:
        raise errors.ApiError(405, "MethodNotAllowed", _NOT_ALLOWED)
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise errors.invalid("Scale", "autoscaling", what.name, [("FieldValueInvalid", "spec.replicas", text)])
    draft = clone(before)
    draft["spec"]["replicas"] = replicas
    if asked_version := (wanted.get("metadata") or {}).get("resourceVersion"):
        draft["metadata"]["resourceVersion"] = asked_version
    whole = asked.Asked(kind=what.kind, namespace=what.namespace, name=what.name)
    return 200, scale_of(write(backend, whole, before, draft, dry=asked.dry(request)))


def scale_of(given: Object) -> dict[str, Any]:
    meta, selector = given["metadata"], given["spec"].get("selector") or {}
    kept = {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    labels = selector if given["kind"] == "ReplicationController" else selector.get("matchLabels") or {}
    status: dict[str, Any] = {"replicas": (given.get("status") or {}).get("replicas", 0)}
    if labels:
        status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    replicas = given["spec"].get("replicas", 1)
    spec = {"replicas": replicas} if replicas else {}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept, "spec": spec, "status": status}


def resize(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    """GET, PUT and PATCH of a pod's amounts, in place; whatever else the body says is left out, as by the real one."""
    before = find(backend, what)
    if request.method == "GET":
        return 200, before
    if request.method not in ("PUT", "PATCH"):
        raise errors.ApiError(405, "MethodNotAllowed", _NOT_ALLOWED)
    wanted = body if request.method == "PUT" else patching.apply(asked.media_type(request), before, body)
    amounts = {each["name"]: each.get("resources") or {} for each in wanted["spec"]["containers"]}
    draft = clone(before)
    for container in draft["spec"]["containers"]:
        container["resources"] = amounts.get(container["name"], container.get("resources") or {})
    if version := (wanted.get("metadata") or {}).get("resourceVersion"):
        draft["metadata"]["resourceVersion"] = version
    if defaults.quality(draft["spec"]) != before["status"].get("qosClass"):
        text = "Invalid value: pod QoS is immutable"
        raise errors.invalid("Pod", "", what.name, [("FieldValueInvalid", "metadata", text)])
    store = backend.store
    return 200, store.merged("Pod", before, draft) if asked.dry(request) else store.update("Pod", draft)


def evict(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    """POST of policy/v1 Eviction. Raises 429 when a disruption budget forbids it."""
    given = body if isinstance(body, dict) else {}
    name = (given.get("metadata") or {}).get("name")
    if name != what.name:
        raise errors.bad_request(f"name in URL does not match name in Eviction object: {what.name} {name}")
    pod = find(backend, what)
    budgets.check_eviction(backend.store, pod)
    options = given.get("deleteOptions") or {}
    if not asked.dry(request, options):
        delete(backend.store, what.kind, pod, options)
    return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def logs(backend: Backend, request: Request, what: Asked) -> str:
    """The last `tailLines` of what the pod's container wrote since `sinceTime`."""
    pod = find(backend, what)
    name = pod["metadata"]["name"]
    container = request.query_params.get("container")
    if container and all(each["name"] != container for each in pod["spec"]["containers"]):
        raise errors.bad_request(f"container {container} is not valid for pod {name}")
    started = (pod.get("status") or {}).get("containerStatuses")
    if not started:
        first = container or pod["spec"]["containers"][0]["name"]
        raise errors.bad_request(f'container "{first}" in pod "{name}" is waiting to start: ContainerCreating')
    lines = backend.log_lines(pod, previous=asked.flag(request, "previous"))
    if lines is None:
        first = container or pod["spec"]["containers"][0]["name"]
        raise errors.bad_request(f'previous terminated container "{first}" in pod "{name}" not found')
    if since := request.query_params.get("sinceTime"):
        begin = _moment(since)
        lines = [line for line in lines if line[0] >= begin]
    tail = asked.number(request, "tailLines")
    if tail is not None:
        lines = lines[max(0, len(lines) - tail) :]
    timed = asked.flag(request, "timestamps")
    text = "".join(f"{at.isoformat()} {said}\n" if timed else f"{said}\n" for at, said in lines)
    most = asked.number(request, "limitBytes")
    return text if most is None else text.encode()[:most].decode(errors="ignore")


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise errors.bad_request(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse') from None
