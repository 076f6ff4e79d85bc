"""Changes an object for a while: what it was before is noted on the object itself, in the same write as the change.

So whoever comes later, in another process and without any memory of the run, can take exactly that back: `restore`.
What somebody else has changed since is left alone, and restoring twice does nothing the second time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from verify.kubernetes import Api, Object, Refused, path_of

NOTE = "kt.io/chaos-undo"
_NOTE_PATH = "/metadata/annotations/kt.io~1chaos-undo"
MOST_TRIES = 5
REMOVED = object()
"""As the new value of a field: take it away."""
_ABSENT = object()


def change(kind: str, namespace: str, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set fields (JSON pointers, RFC 6901) of an object; what was changed. Raises `ActivityFailed`."""
    for _ in range(MOST_TRIES):
        api = _api()
        found = _read(api, kind, namespace, name)
        if found is None:
            raise failed(f"{kind} {namespace}/{name} is not there")
        if NOTE in (found["metadata"].get("annotations") or {}):
            raise failed(f"{kind} {namespace}/{name} is disturbed already (annotation {NOTE}); restore it first")
        now = _patched(api, kind, namespace, name, _changing(found, changes))
        if now is not None:
            _note_as_written(api, kind, namespace, name, now)
            return {"changed": sorted(changes)}
    raise failed(f"{kind} {namespace}/{name} is changed by others all the time")


def restore(kind: str, namespace: str, name: str) -> dict[str, Any]:
    """Take back what `change` did; which fields. Nothing is an answer too. Raises `ActivityFailed`."""
    for _ in range(MOST_TRIES):
        api = _api()
        found = _read(api, kind, namespace, name)
        note = (found["metadata"].get("annotations") or {}).get(NOTE) if found else None
        if found is None or note is None:
            return {"restored": []}
        back = {
            pointer: each.get("had", REMOVED)
            for pointer, each in json.loads(note).items()
            if _covers(_value(found, pointer), each.get("set", _ABSENT))
        }
        operations = [_version(found), *_setting(found, back), {"op": "remove", "path": _NOTE_PATH}]
        if _patched(api, kind, namespace, name, operations) is not None:
            return {"restored": sorted(back)}
    raise failed(f"{kind} {namespace}/{name} is changed by others all the time")


def failed(why: str) -> Exception:
    """An error as Chaos Toolkit expects it of an activity."""
    from chaoslib.exceptions import ActivityFailed  # loads much; only experiments pay for it

    return ActivityFailed(why)  # type: ignore[no-any-return]


def reach(pointer: str, *parts: object) -> str:
    """A JSON pointer further down, with its parts escaped."""
    return "/".join([pointer, *(str(each).replace("~", "~0").replace("/", "~1") for each in parts)])


def _changing(found: Object, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    note = {}
    for pointer, value in changes.items():
        had = _value(found, pointer)
        note[pointer] = ({} if value is REMOVED else {"set": value}) | ({} if had is _ABSENT else {"had": had})
    operations = [_version(found)]
    if not found["metadata"].get("annotations"):
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    operations.append({"op": "add", "path": _NOTE_PATH, "value": json.dumps(note)})
    return [*operations, *_setting(found, changes)]


def _note_as_written(api: Api, kind: str, namespace: str, name: str, now: Object) -> None:
    """The API server writes some values in its own way (a quantity of 0.5 as 500m): note how they are to be found."""
    note = json.loads(now["metadata"]["annotations"][NOTE])
    is_now = {pointer: _value(now, pointer) for pointer, each in note.items() if "set" in each}
    if not all(_covers(value, note[pointer]["set"]) for pointer, value in is_now.items()):
        noted = {
            pointer: {**each, "set": is_now[pointer]} if pointer in is_now else each for pointer, each in note.items()
        }
        _patched(api, kind, namespace, name, [{"op": "add", "path": _NOTE_PATH, "value": json.dumps(noted)}])


def _covers(now: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one, maybe with defaults that the API server has added."""
    if isinstance(wanted, dict) and isinstance(now, dict):
        return all(key in now and _covers(now[key], value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(now, list):
        return len(now) == len(wanted) and all(_covers(*pair) for pair in zip(now, wanted, strict=True))
    return bool(now == wanted)


def _setting(found: Object, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = []
    for pointer, value in changes.items():
        if value is not REMOVED:
            operations.append({"op": "add", "path": pointer, "value": value})
        elif _value(found, pointer) is not _ABSENT:
            operations.append({"op": "remove", "path": pointer})
    return operations


def _version(found: Object) -> dict[str, Any]:
    # Replaced by itself: the API server answers 409 when somebody else was faster.
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]}


def _value(found: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(key)] if key.isdigit() and int(key) < len(found) else _ABSENT
        else:
            found = found.get(key, _ABSENT) if isinstance(found, dict) else _ABSENT
    return found


def _api() -> Api:
    try:
        return Api()
    except Refused as error:
        raise failed(str(error)) from error


def _read(api: Api, kind: str, namespace: str, name: str) -> Object | None:
    try:
        return api.get(kind, namespace, name)
    except Refused as error:
        raise failed(str(error)) from error


def _patched(api: Api, kind: str, namespace: str, name: str, operations: list[dict[str, Any]]) -> Object | None:
    """The object as it is then; None when somebody else was faster."""
    try:
        return api.ask("PATCH", path_of(kind, namespace, name), operations)
    except Refused as error:
        if error.status == 409:
            return None
        raise failed(str(error)) from error
