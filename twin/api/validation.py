"""What the API server refuses, as far as a client of KT's could get it wrong."""

from __future__ import annotations

import re
from typing import Any

from twin import errors
from twin.api.selectors import selects
from twin.kinds import Kind
from twin.objects import Object

Cause = tuple[str, str, str]

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_SELECTING = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
_REQUIRED, _INVALID = "FieldValueRequired", "FieldValueInvalid"

_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def check(kind: Kind, given: Object, before: Object | None = None) -> None:
    """Raises 422 with every cause; `before` when the object is changed, not created."""
    causes = _metadata(given["metadata"])
    spec = given.get("spec")
    if kind.kind in (*_SELECTING, "ReplicationController", "Job"):
        causes += _workload(kind, spec or {})
    elif kind.kind == "Pod":
        causes += _pod_spec(spec or {}, "spec")
    elif kind.kind == "Service":
        causes += _service(spec or {})
    if before is not None:
        causes += _immutable(kind, before, given)
    if causes:
        raise errors.invalid(kind.kind, kind.group, given["metadata"].get("name", ""), causes)


def _metadata(meta: dict[str, Any]) -> list[Cause]:
    name = meta.get("name") or meta.get("generateName")
    if not name:
        return [(_REQUIRED, "metadata.name", "Required value: name or generateName is required")]
    if meta.get("name") and not _NAME.match(name):
        return [(_INVALID, "metadata.name", f'Invalid value: "{name}": {_NAME_RULE}')]
    return []


def _workload(kind: Kind, spec: dict[str, Any]) -> list[Cause]:
    causes: list[Cause] = []
    replicas = spec.get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise errors.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            "json: cannot unmarshal string into Go struct field spec.replicas of type int32"
        )
    if replicas < 0:
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        causes.append((_INVALID, "spec.replicas", text))
    template = spec.get("template") or {}
    if kind.kind in _SELECTING:
        selector = spec.get("selector")
        if not selector:
            causes.append((_REQUIRED, "spec.selector", "Required value"))
        elif not selects(selector, (template.get("metadata") or {}).get("labels") or {}):
            labels = (template.get("metadata") or {}).get("labels")
            text = f"Invalid value: {labels}: `selector` does not match template `labels`"
            causes.append((_INVALID, "spec.template.metadata.labels", text))
    return causes + _pod_spec(template.get("spec") or {}, "spec.template.spec")


def _pod_spec(spec: dict[str, Any], path: str) -> list[Cause]:
    containers = spec.get("containers")
    if not containers:
        return [(_REQUIRED, f"{path}.containers", "Required value")]
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        name = container.get("name", "")
        if not name:
            causes.append((_REQUIRED, f"{where}.name", "Required value"))
        elif name in seen:
            causes.append(("FieldValueDuplicate", f"{where}.name", f'Duplicate value: "{name}"'))
        seen.add(name)
        if not container.get("image"):
            causes.append((_REQUIRED, f"{where}.image", "Required value"))
    return causes


def _service(spec: dict[str, Any]) -> list[Cause]:
    if not spec.get("ports") and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        return [(_REQUIRED, "spec.ports", "Required value")]
    return []


def _immutable(kind: Kind, before: Object, after: Object) -> list[Cause]:
    old, new = before.get("spec") or {}, after.get("spec") or {}
    if kind.kind in _SELECTING and old.get("selector") != new.get("selector"):
        text = f"Invalid value: {new.get('selector')}: field is immutable"
        return [(_INVALID, "spec.selector", text)]
    if kind.kind == "Pod" and _frozen(old) != _frozen(new):
        text = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        )
        return [("FieldValueForbidden", "spec", text)]
    return []


def _frozen(spec: dict[str, Any]) -> dict[str, Any]:
    """What of a pod's spec cannot be changed."""
    kept = {key: value for key, value in spec.items() if key not in ("tolerations", "activeDeadlineSeconds")}
    for field in ("containers", "initContainers"):
        if field in kept:
            kept[field] = [{k: v for k, v in each.items() if k != "image"} for each in kept[field]]
    return kept
