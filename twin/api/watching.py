"""List with limit and continue, and the stream of a watch."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.requests import Request

from twin import errors
from twin.api import asked
from twin.api.asked import Asked
from twin.api.backend import Backend
from twin.api.selectors import Test, field_test, label_test
from twin.objects import Change, Object, clone

_BOOKMARK_EVERY_S = 10.0
_LONGEST_S = 1800.0


def wanted(request: Request, what: Asked) -> Test:
    """The test of namespace, name, labels and fields that a list or watch asks for."""
    tests: list[Test] = []
    if what.namespace is not None:
        tests.append(lambda given: given["metadata"].get("namespace") == what.namespace)
    if what.name:
        tests.append(lambda given: given["metadata"]["name"] == what.name)
    if request.query_params.get("labelSelector"):
        tests.append(label_test(request.query_params["labelSelector"]))
    if request.query_params.get("fieldSelector"):
        tests.append(field_test(what.kind.kind, request.query_params["fieldSelector"]))
    return lambda given: all(test(given) for test in tests)


def list_page(backend: Backend, request: Request, what: Asked) -> dict[str, Any]:
    """One page of a list, each item without kind and apiVersion as in the real API."""
    test = wanted(request, what)
    version, begin = backend.store.version, 0
    if token := request.query_params.get("continue"):
        version, begin = _resume(backend, token)
    found = [each for each in _as_of(backend, what, version, _one_node(request, what)) if test(each)]
    meta: dict[str, Any] = {"resourceVersion": str(version)}
    limit = asked.number(request, "limit")
    page = found[begin:]
    if limit and len(page) > limit:
        meta["continue"] = base64.urlsafe_b64encode(f"{version}:{begin + limit}".encode()).decode()
        if not request.query_params.get("labelSelector") and not request.query_params.get("fieldSelector"):
            meta["remainingItemCount"] = len(page) - limit
        page = page[:limit]
    if _partial(request):
        return {**_META, "kind": f"{_META['kind']}List", "metadata": meta, "items": [_metadata(each) for each in page]}
    items = [{key: value for key, value in each.items() if key not in ("kind", "apiVersion")} for each in page]
    return {
        "kind": f"{what.kind.kind}List", "apiVersion": what.kind.api_version, "metadata": meta, "items": items,
    }  # fmt: skip


_META = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


def _partial(request: Request) -> bool:
    """Whether only metadata are asked for."""
    return "as=PartialObjectMetadata" in request.headers.get("accept", "")


def _metadata(given: Object) -> dict[str, Any]:
    return {**_META, "metadata": given["metadata"]}


def _one_node(request: Request, what: Asked) -> str:
    """The node whose pods are asked for, if those of one are."""
    match = re.fullmatch(r"spec\.nodeName==?([^,=!]+)", request.query_params.get("fieldSelector", ""))
    return match[1] if match and what.kind.kind == "Pod" else ""


def _as_of(backend: Backend, what: Asked, version: int, node: str) -> list[Object]:
    """The objects as they were at a version: what has happened since is taken back. Raises 410 for too old a one.
    `node`: only pods on it are wanted, as far as an index helps."""
    changes = backend.store.since(what.kind.kind, version)
    if not changes and node:
        return list(backend.store.bound(node))
    if not changes:
        return list(backend.store.all(what.kind.kind, what.namespace))
    there = {_place(each): each for each in backend.store.all(what.kind.kind)}
    for change in reversed(changes):
        there.pop(_place(change.object), None)
        if change.before is not None:
            there[_place(change.before)] = change.before
    return [there[place] for place in sorted(there) if what.namespace in (None, place[0])]


def _place(given: Object) -> tuple[str, str]:
    return given["metadata"].get("namespace", ""), given["metadata"]["name"]


def _resume(backend: Backend, token: str) -> tuple[int, int]:
    try:
        version, begin = base64.urlsafe_b64decode(token).decode().split(":")
        at = int(version), int(begin)
    except ValueError:
        raise errors.bad_request("continue key is not valid") from None
    return at


class Watch:
    """One watch: the events since a version, for as long as the client (or timeoutSeconds) wants."""

    def __init__(self, backend: Backend, request: Request, what: Asked) -> None:
        self._backend, self._kind = backend, what.kind
        self._shape: Callable[[Object], dict[str, Any]] = _metadata if _partial(request) else dict
        self._test = wanted(request, what)
        self._bookmarks = asked.flag(request, "allowWatchBookmarks")
        self._timeout_s = float(asked.number(request, "timeoutSeconds") or _LONGEST_S)
        self._initial_end = asked.flag(request, "sendInitialEvents")
        given = request.query_params.get("resourceVersion", "")
        self._from = None if self._initial_end or given in ("", "0") else _version(given)
        self._bell = asyncio.Event()

    async def lines(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()

        def ring() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._bell.set)

        with self._backend.lock:
            self._backend.store.watchers.append(ring)
            seen = self._backend.store.version if self._from is None else self._from
            first = self._initial() if self._from is None else []
        try:
            for line in first:
                yield line
            async for line in self._follow(seen):
                yield line
        finally:
            with self._backend.lock:
                self._backend.store.watchers.remove(ring)

    def _initial(self) -> list[bytes]:
        lines = [
            _line("ADDED", self._shape(each)) for each in self._backend.store.all(self._kind.kind) if self._test(each)
        ]
        if self._initial_end:
            lines.append(self._bookmark(self._backend.store.version, {"k8s.io/initial-events-end": "true"}))
        return lines

    async def _follow(self, seen: int) -> AsyncIterator[bytes]:
        deadline = time.monotonic() + self._timeout_s
        bookmark_at = time.monotonic() + _BOOKMARK_EVERY_S
        while not self._backend.closing.is_set():
            self._bell.clear()
            try:
                with self._backend.lock:
                    changes = self._backend.store.since(self._kind.kind, seen)
                    seen = max(seen, self._backend.store.version)
            except errors.ApiError as expired:
                yield _line("ERROR", expired.body())
                return
            for change in changes:
                if line := self._event(change):
                    yield line
            left = deadline - time.monotonic()
            if self._bookmarks and (left <= 0 or time.monotonic() >= bookmark_at):
                yield self._bookmark(seen)
                bookmark_at = time.monotonic() + _BOOKMARK_EVERY_S
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._bell.wait(), min(left, 1.0))
            except TimeoutError:
                continue

    def _event(self, change: Change) -> bytes:
        """An object that begins to match is ADDED for this watch, one that stops to match is DELETED."""
        now = change.type != "DELETED" and self._test(change.object)
        before = change.before is not None and self._test(change.before)
        if now:
            return _line("MODIFIED" if before else "ADDED", self._shape(change.object))
        if not before:
            return b""
        gone: Object = clone(change.before)
        gone["metadata"]["resourceVersion"] = str(change.version)
        return _line("DELETED", self._shape(change.object if change.type == "DELETED" else gone))

    def _bookmark(self, version: int, annotations: dict[str, str] | None = None) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        return _line("BOOKMARK", {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": meta})


def _version(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.ApiError(500, "", message) from None


def _line(type_: str, given: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": type_, "object": given}) + b"\n"
