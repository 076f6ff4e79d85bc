"""The three ways to patch an object: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch."""

from __future__ import annotations

from typing import Any

from twin import errors
from twin.objects import clone

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "addresses": ("type",),
    "secrets": ("name",),
    "hostAliases": ("ip",),
}
"""By field name. Lists that are not here (args, command, tolerations, taints as client-go patches them) are replaced,
but for `ports`, whose key depends on where it stands, and `finalizers`, a set."""


def apply(content_type: str, before: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The patched object. Raises 400, 415 and 422 as the real API does."""
    if content_type == JSON_PATCH:
        if not isinstance(patch, list):
            raise errors.bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
        result = _json_patch(before, patch)
    elif not isinstance(patch, dict):
        raise errors.bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    elif content_type == MERGE_PATCH:
        result = merge(before, patch)
    elif content_type == STRATEGIC_PATCH:
        result = strategic(before, patch)
    else:
        raise errors.ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    if not isinstance(result, dict):
        raise errors.bad_request("the patched object is no longer an object")
    return result


def merge(before: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return clone(patch)
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(before: Any, patch: dict[str, Any]) -> Any:
    """Kubernetes' own: lists of named things are merged by name; `$patch: delete|replace` and `$setElementOrder`."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: clone(value) for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            result[field] = [each for each in result.get(field, []) if each not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, list):
            result[key] = _strategic_list(key, result.get(key) or [], value)
        elif isinstance(value, dict):
            result[key] = strategic(result.get(key), value)
        else:
            result[key] = value
    return result


def _strategic_list(field: str, before: list[Any], patch: list[Any]) -> list[Any]:
    if field == "finalizers":
        return before + [each for each in patch if each not in before]
    keys = keys_of(field, [*before, *patch])
    if not keys:
        return [clone(each) for each in patch]
    if any(each.get("$patch") == "replace" for each in patch):
        return [clone(each) for each in patch if each.get("$patch") != "replace"]
    result = list(before)
    added: list[Any] = []
    for each in patch:
        at = next((i for i, old in enumerate(result) if all(old.get(k) == each.get(k) for k in keys)), None)
        if each.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            added.append(clone(each))
        else:
            result[at] = strategic(result[at], each)
    return result + added


def keys_of(field: str, items: list[Any]) -> tuple[str, ...]:
    """By which keys the things of a list are told apart; none when the list is one value."""
    keys = _MERGE_KEYS.get(field, ())
    if field == "ports":
        keys = (
            ("containerPort",)
            if any(isinstance(each, dict) and "containerPort" in each for each in items)
            else ("port",)
        )
    return keys if all(isinstance(each, dict) for each in items) else ()


def _json_patch(before: dict[str, Any], patch: list[Any]) -> Any:
    """A failed operation is 422, without telling which, as in the real API server."""
    document: Any = clone(before)
    for operation in patch:
        try:
            document = _operation(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            message = "the server rejected our request due to an error in our request"
            raise errors.ApiError(422, "Invalid", message) from error
    return document


def _operation(document: Any, operation: dict[str, Any]) -> Any:
    op, path = operation["op"], _pointer(operation["path"])
    match op:
        case "test":
            if _at(document, path) != operation.get("value"):
                raise ValueError(f"testing value {operation['path']} failed: test failed")
            return document
        case "add":
            return _put(document, path, clone(operation["value"]), insert=True)
        case "replace":
            # The library behind the real API server does not mind a member that is not there.
            _at(document, path[:-1])
            return _put(document, path, clone(operation["value"]), insert=False)
        case "remove":
            return _take(document, path)
        case "move":
            source = _pointer(operation["from"])
            value = _at(document, source)
            return _put(_take(document, source), path, value, insert=True)
        case "copy":
            return _put(document, path, clone(_at(document, _pointer(operation["from"]))), insert=True)
    raise ValueError(f"unexpected kind of operation: {op}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"not a JSON pointer: {text}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, list):
            document = document[_index(part, len(document) - 1)]
        elif part in document:
            document = document[part]
        else:
            raise KeyError(f"path not found: {'/'.join(path)}")
    return document


def _index(part: str, last: int) -> int:
    index = int(part)
    if not 0 <= index <= last:
        raise IndexError(f"index out of bounds: {part}")
    return index


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    parent, last = _at(document, path[:-1]), path[-1]
    if not isinstance(parent, list):
        parent[last] = value
    elif insert:
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
    else:
        parent[_index(last, len(parent) - 1)] = value
    return document


def _take(document: Any, path: list[str]) -> Any:
    _at(document, path)
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(last, len(parent) - 1)]
    else:
        del parent[last]
    return document
