"""Server-side apply: who declared which field, conflicts between appliers, and what goes when its last owner lets go.

As the documentation of Kubernetes has it, for the kinds that the twin serves. Only appliers are in `managedFields`;
what other writes set belongs to nobody here, and an applier whose field another write changes loses it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from twin import errors
from twin.api.patching import keys_of
from twin.objects import Object, clone, stamp

Path = tuple[str, ...]
_NOT_MANAGED = ("apiVersion", "kind", "status")
_OF_THE_SYSTEM = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
                  "generateName", "deletionTimestamp")  # fmt: skip


def apply(before: Object | None, given: Object, manager: str, *, force: bool, now: datetime) -> Object:
    """The object after `manager` applied `given`; `before` is None when it is made. Raises 409 with every conflict."""
    old: Object = clone(before or {})
    declared = {path: value for path, value in _leaves(given).items() if _managed(path)}
    there, owners = _leaves(old), owners_of(old)
    mine = owners.pop(manager, set())
    conflicts = [
        (owner, path)
        for owner, owned in sorted(owners.items())
        for path in sorted(owned)
        if path in declared and there.get(path) != declared[path]
    ]
    if conflicts and not force:
        raise _conflict(conflicts)
    for owner, path in conflicts:
        owners[owner].discard(path)
    result = _merged(old, given)
    kept = set(declared).union(*owners.values())
    for path in sorted(mine - kept, key=len, reverse=True):
        _drop(result, _item(path, kept) or path)
    owners[manager] = set(declared)
    return _with_owners(result, owners, old, now)


def written_by_others(before: Object, after: Object) -> None:
    """Take from appliers what another write has changed, in place."""
    owners = owners_of(before)
    if not owners:
        return
    old, new = _leaves(before), _leaves(after)
    kept = {owner: {path for path in owned if old.get(path) == new.get(path)} for owner, owned in owners.items()}
    if kept != owners:
        _with_owners(after, kept, before, None)


def owners_of(given: Object) -> dict[str, set[Path]]:
    entries = given.get("metadata", {}).get("managedFields") or []
    return {entry["manager"]: set(_paths(entry["fieldsV1"])) for entry in entries if entry["operation"] == "Apply"}


def _with_owners(result: Object, owners: dict[str, set[Path]], before: Object, now: datetime | None) -> Object:
    was = {entry["manager"]: entry for entry in before.get("metadata", {}).get("managedFields") or []}
    entries = []
    for owner in sorted(owners):
        fields: Object = {}
        for path in sorted(owners[owner]):
            _put_field(fields, path)
        entry = was.get(owner, {})
        same = entry.get("fieldsV1") == fields
        time = entry["time"] if same or now is None else stamp(now)
        entries.append({
            "manager": owner, "operation": "Apply", "apiVersion": result.get("apiVersion", "v1"), "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })  # fmt: skip
    result.setdefault("metadata", {})["managedFields"] = entries
    return result


def _managed(path: Path) -> bool:
    if path[0] == "f:metadata" and len(path) > 1:
        return path[1].removeprefix("f:") not in _OF_THE_SYSTEM
    return path[0].removeprefix("f:") not in _NOT_MANAGED


def _leaves(given: Any, path: Path = ()) -> dict[Path, Any]:
    """Path → value of every leaf. Lists of named things are taken apart by their keys, other lists are one value."""
    found: dict[Path, Any] = {}
    if isinstance(given, dict) and (given or not path):
        for key, value in given.items():
            found |= _leaves(value, (*path, f"f:{key}"))
        return found
    keys = keys_of(path[-1].removeprefix("f:"), given) if isinstance(given, list) and path else ()
    if not keys:
        return {path: given}
    for each in given:
        name = json.dumps({key: each.get(key) for key in keys}, separators=(",", ":"))
        found |= _leaves(each, (*path, f"k:{name}"))
    return found


def _merged(before: Any, given: Any, field: str = "") -> Any:
    if isinstance(before, dict) and isinstance(given, dict):
        return before | {key: _merged(before.get(key), value, key) for key, value in given.items()}
    keys = keys_of(field, [*before, *given]) if isinstance(before, list) and isinstance(given, list) else ()
    if not keys:
        return clone(given)
    result = list(before)
    for each in given:
        at = next((i for i, old in enumerate(result) if all(old.get(k) == each.get(k) for k in keys)), None)
        if at is None:
            result.append(clone(each))
        else:
            result[at] = _merged(result[at], each)
    return result


def _drop(given: Any, path: Path) -> None:
    """Take a leaf away, and what is empty without it."""
    head, *rest = path
    at = _index(given, head)
    if at is None:
        return
    if rest:
        _drop(given[at], tuple(rest))
        keys = json.loads(head[2:]) if head.startswith("k:") else {}
        if given[at] in ({}, []) or (keys and given[at] == keys):
            del given[at]
    else:
        del given[at]


def _item(path: Path, kept: set[Path]) -> Path | None:
    """The named thing of a list that a path is part of, when nobody declares anything of it any more: it goes whole."""
    for length in range(1, len(path)):
        item = path[:length]
        if item[-1].startswith("k:") and not any(other[:length] == item for other in kept):
            return item
    return None


def _index(given: Any, head: str) -> Any:
    if head.startswith("f:"):
        key = head[2:]
        return key if isinstance(given, dict) and key in given else None
    wanted = json.loads(head[2:])
    if not isinstance(given, list):
        return None
    return next((i for i, each in enumerate(given) if all(each.get(k) == v for k, v in wanted.items())), None)


def _put_field(fields: Object, path: Path) -> None:
    for part in path:
        fields = fields.setdefault(part, {})


def _paths(fields: Object, path: Path = ()) -> list[Path]:
    if not fields:
        return [path] if path else []
    return [found for key, inner in fields.items() for found in _paths(inner, (*path, key))]


def _conflict(conflicts: list[tuple[str, Path]]) -> errors.ApiError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{owner}"', "field": _dotted(path)}
        for owner, path in conflicts
    ]
    many = "conflict" if len(causes) == 1 else "conflicts"
    told = "; ".join(f"{each['message']}: {each['field']}" for each in causes)
    message = f"Apply failed with {len(causes)} {many}: {told}"
    return errors.ApiError(409, "Conflict", message, {"causes": causes})


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        else:
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(part[2:]).items()) + "]"
    return text
