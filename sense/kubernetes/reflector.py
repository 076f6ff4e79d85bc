"""List and watch of one kind of object, for ever: what was missed while away is found by listing again.

Objects stay JSON: turning each event into the client's classes and back would cost more than everything else here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlencode

import structlog

from sense.kubernetes.bearing import metadata_only
from sense.kubernetes.objects import Object

WATCH_S = 240
"""A watch ends after this and is asked for again: a connection that died silently is noticed."""
READ_TIMEOUT_S = WATCH_S + 30
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
ABSENT_S = 300.0
"""How often a kind is looked for that the cluster does not have, or does not show."""
PLAIN = "application/json"
LISTED = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
WATCHED = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""What asks for metadata and nothing else; a server that cannot do that has to refuse (406)."""
_log = structlog.get_logger(__name__)


class Receiver(Protocol):
    """Where a reflector brings what it saw. Called from the reflector's thread."""

    def replace(self, kind: str, objects: list[Object]) -> None:
        """These are all objects of the kind."""
        ...

    def changed(self, kind: str, thing: Object) -> None: ...

    def deleted(self, kind: str, thing: Object) -> None: ...


class Stale(Exception):
    """The server no longer knows the version to go on from."""


class Absent(Exception):
    """The cluster does not have this kind, or this account may not see it."""


class Reflector:
    """`path`: of the collection, such as /api/v1/pods. `run` returns when `stop` is set.

    `beside`: the graph is whole without it; a cluster that does not have the kind or does not show it is none the
    worse. `metadata_only`: contents are neither asked for nor kept.
    """

    def __init__(
        self,
        api_client: Any,
        kind: str,
        path: str,
        receiver: Receiver,
        on_listed: Callable[[], None],
        *,
        beside: bool = False,
        metadata_only: bool = False,
    ) -> None:
        self._client, self._kind, self._path = api_client, kind, path
        self._receiver, self._on_listed = receiver, on_listed
        self._beside, self._metadata_only = beside, metadata_only

    def run(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                version = self._list()
                failures = 0
                while not stop.is_set():
                    version = self._watch(version, stop)
            except Stale:
                continue
            except Absent as error:
                _log.info("not followed", kind=self._kind, why=str(error)[:200], again_in_s=ABSENT_S)
                self._on_listed()
                stop.wait(ABSENT_S)
            except Exception as error:
                # Whatever ended it, the only way on is to list again; the operator sees that it goes on failing.
                delay = RETRY_S[min(failures, len(RETRY_S) - 1)]
                failures += 1
                _log.warning("watch ended", kind=self._kind, error=str(error)[:200], again_in_s=delay)
                stop.wait(delay)

    def _list(self) -> str:
        objects: list[Object] = []
        token = ""
        while True:
            query = {"limit": "500", **({"continue": token} if token else {})}
            answer = json.loads(self._get(query, timeout=30).data)
            objects += [self._kept(each) for each in answer.get("items") or []]
            token = answer["metadata"].get("continue", "")
            if not token:
                break
        self._receiver.replace(self._kind, objects)
        self._on_listed()
        return str(answer["metadata"]["resourceVersion"])

    def _watch(self, version: str, stop: threading.Event) -> str:
        """Bring events until the watch ends; the version to go on from."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_S),
        }
        response = self._get(query, timeout=READ_TIMEOUT_S, stream=True)
        try:
            for line in _lines(response):
                event = json.loads(line)
                thing = event["object"]
                if event["type"] == "ERROR":
                    raise Stale(thing.get("message", ""))
                version = thing["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self._receiver.deleted(self._kind, self._kept(thing))
                elif event["type"] != "BOOKMARK":
                    self._receiver.changed(self._kind, self._kept(thing))
                if stop.is_set():
                    break
        finally:
            response.close()
        return version

    def _kept(self, thing: Object) -> Object:
        # A list leaves the kind out; metadata alone come under the kind PartialObjectMetadata.
        named = {**thing, "kind": self._kind}
        return metadata_only(named) if self._metadata_only else named

    def _get(self, query: dict[str, str], *, timeout: float, stream: bool = False) -> Any:
        headers = {"Accept": (WATCHED if stream else LISTED) if self._metadata_only else PLAIN}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], self._path, "GET", None)
        url = f"{self._client.configuration.host}{self._path}?{urlencode(query)}"
        response = self._client.rest_client.pool_manager.request(
            "GET", url, headers=headers, timeout=timeout, preload_content=not stream, retries=False
        )
        if response.status == 410:
            raise Stale(self._kind)
        if self._beside and response.status in (403, 404):
            raise Absent(f"{response.status} for {self._path}")
        if response.status >= 400:
            raise OSError(f"{response.status} for {self._path}: {response.data[:200].decode(errors='replace')}")
        return response


def _lines(response: Any) -> Any:
    """Whole lines of a chunked answer as they come."""
    rest = b""
    for chunk in response.stream(65536, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
