"""The Starlette app: who may ask, which handler answers, and errors as Status bodies."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from twin import errors
from twin.api import asked, discovery, resources, rights, subresources, usage, watching
from twin.api.asked import Asked
from twin.api.backend import Backend

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_NOT_ALLOWED = "the server does not allow this method on the requested resource"


def create_app(backend: Backend) -> Starlette:
    """The API of one cluster. Every path but /healthz, /livez, /readyz and /version asks for the bearer token."""
    api = _Api(backend)
    routes = [Route(f"/{path}", _healthy) for path in ("healthz", "livez", "readyz")]
    routes.append(Route("/version", _version))
    routes += [Route(f"/{root}{{path:path}}", api.handle, methods=_METHODS) for root in ("apis", "api")]
    routes.append(Route("/{path:path}", _nothing, methods=_METHODS))
    return Starlette(routes=routes)


def _json(code: int, body: Any) -> Response:
    return Response(msgspec.json.encode(body), code, media_type="application/json")


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _version(_: Request) -> Response:
    return _json(200, discovery.VERSION)


async def _nothing(_: Request) -> Response:
    return _json(404, errors.no_such_path().body())


class _Api:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def handle(self, request: Request) -> Response:
        try:
            self._authenticate(request)
            parts = [part for part in request.url.path.split("/") if part]
            if parts == rights.REVIEWS and request.method == "POST":
                return _json(201, rights.review(self._backend, await asked.body(request)))
            if parts[:3] == usage.GROUP and len(parts) > 3 and request.method == "GET":
                return _json(200, usage.answer(self._backend, parts))
            if len(parts) <= (2 if parts[0] == "api" else 3):
                return _json(200, discovery.answer(parts, request.url.netloc))
            return await self._resource(request, asked.read(parts))
        except errors.ApiError as error:
            headers = {"Retry-After": "1"} if error.code == 429 else {}
            response = _json(error.code, error.body())
            response.headers.update(headers)
            return response

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._backend.token.encode()):
            raise errors.unauthorized()

    async def _resource(self, request: Request, what: Asked) -> Response:
        rights.check(self._backend, request.method, what, watch=asked.flag(request, "watch"))
        if what.subresource == "proxy":
            return await self._proxy(what)
        if request.method == "GET" and not what.subresource and (not what.name or asked.flag(request, "watch")):
            return self._list(request, what)
        if request.method == "GET" and what.subresource == "log":
            with self._backend.lock:
                return PlainTextResponse(subresources.logs(self._backend, request, what))
        body = None if request.method == "GET" else await asked.body(request)
        with self._backend.lock:
            code, answer = self._verb(request, what, body)
            return _json(code, answer)

    def _list(self, request: Request, what: Asked) -> Response:
        if asked.flag(request, "watch"):
            watch = watching.Watch(self._backend, request, what)
            return StreamingResponse(watch.lines(), media_type="application/json;stream=watch")
        with self._backend.lock:
            return _json(200, watching.list_page(self._backend, request, what))

    def _verb(self, request: Request, what: Asked, body: Any) -> resources.Answer:
        backend = self._backend
        if what.subresource == "scale":
            return subresources.scale(backend, request, what, body)
        if what.subresource == "resize":
            return subresources.resize(backend, request, what, body)
        match request.method, bool(what.name), what.subresource:
            case "GET", True, "" | "status":
                return 200, resources.find(backend, what)
            case "POST", False, "":
                return resources.create(backend, request, what, body)
            case "POST", True, "eviction":
                return subresources.evict(backend, request, what, body)
            case "PUT", True, "" | "status":
                return resources.update(backend, request, what, body)
            case "PATCH", True, "" | "status":
                return resources.patch(backend, request, what, body)
            case "DELETE", True, "":
                return resources.remove(backend, request, what, body)
            case "DELETE", False, "":
                return resources.remove_all(backend, request, what, body)
        raise errors.ApiError(405, "MethodNotAllowed", _NOT_ALLOWED)

    async def _proxy(self, what: Asked) -> Response:
        """`services/[scheme:]name[:port]/proxy/path`: one request into the service."""
        parts = what.name.split(":")
        name, port = (parts[1], parts[2]) if len(parts) == 3 else (parts[0], parts[1] if len(parts) == 2 else "")
        with self._backend.lock:
            self._backend.store.get("Service", name, what.namespace or "")
            waiting = self._backend.request(what.namespace or "", name, port, "/" + what.rest)
        answer = await waiting
        return Response(answer.body, answer.code, media_type=answer.content_type)
