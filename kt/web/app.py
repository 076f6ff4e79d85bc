"""Starlette app: `POST /webhook/alertmanager`, `/healthz`, `/readyz`, `/metrics`.

4xx only for what can never be right, with a body that says why; 503 with Retry-After when it cannot be kept now, which
makes Alertmanager send it again.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kt.incident.log import IncidentLog, LogUnavailable
from kt.telemetry import Telemetry
from kt.web.intake import Intake, NotKept
from sense.alertmanager import BadPayload, parse


class _Refused(Exception):
    def __init__(self, status: int, outcome: str, why: str) -> None:
        super().__init__(why)
        self.status, self.outcome = status, outcome


def create_app(
    log: IncidentLog, *, token: str, max_body_bytes: int, on_received: Callable[[], None], telemetry: Telemetry
) -> Starlette:
    """The app. `on_received` runs after each commit, in another thread; it must not raise."""
    face = _Face(log, token, max_body_bytes, on_received, telemetry)
    return Starlette(
        routes=[
            Route("/webhook/alertmanager", face.webhook, methods=["POST"]),
            Route("/healthz", face.healthy),
            Route("/readyz", face.ready),
            Route("/metrics", face.metrics),
        ],
        lifespan=face.lifespan,
    )


class _Face:
    def __init__(
        self, log: IncidentLog, token: str, max_body_bytes: int, on_received: Callable[[], None], telemetry: Telemetry
    ) -> None:
        self._log, self._token, self._max = log, token.encode(), max_body_bytes
        self._on_received, self._telemetry = on_received, telemetry
        self._intake: Intake | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._intake = Intake(self._log, self._on_received)
        try:
            yield
        finally:
            await run_in_threadpool(self._intake.close)

    async def webhook(self, request: Request) -> Response:
        try:
            self._authenticate(request)
            body = await self._body(request)
            try:
                batch = parse(body)
            except BadPayload as error:
                raise _Refused(400, "refused", str(error)) from error
            if self._intake is None:
                raise _Refused(503, "not kept", "KT is still starting; send it again")
            kept = await self._intake.keep(body)
        except _Refused as refused:
            return self._refuse(refused)
        except NotKept as error:
            return self._refuse(_Refused(503, "not kept", f"could not be made durable, send it again: {error}"))
        except ClientDisconnect:
            return self._refuse(_Refused(400, "gone", "the sender went away before its body was complete"))
        self._telemetry.notifications.labels("kept").inc()
        return _json(200, {"id": kept, "alerts": len(batch.alerts)})

    async def healthy(self, request: Request) -> Response:
        return _json(200, {"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Ready to take alerts in: the log answers."""
        try:
            received, unsettled = await run_in_threadpool(self._log.counts)
        except LogUnavailable as error:
            return _json(503, {"status": "not ready", "log": str(error)})
        return _json(200, {"status": "ready", "received": received, "unsettled": unsettled})

    async def metrics(self, request: Request) -> Response:
        try:
            await run_in_threadpool(self._telemetry.observe, self._log)
        except LogUnavailable:
            # The gauges stay as they were; the counters of this process are still true.
            self._telemetry.notifications.labels("log away").inc(0)
        return Response(self._telemetry.render(), media_type="text/plain; version=0.0.4")

    def _authenticate(self, request: Request) -> None:
        if not self._token:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() != "bearer" or not right:
            raise _Refused(401, "unauthorized", "a bearer token is required: Authorization: Bearer <web.token>")

    async def _body(self, request: Request) -> bytes:
        """The body, given up as soon as it is known to be too large."""
        limit = self._max
        too_large = (
            f"the body is larger than {limit} bytes; raise web.max_body_bytes or lower max_alerts in Alertmanager"
        )
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _Refused(413, "refused", too_large)
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _Refused(413, "refused", too_large)
            parts.append(part)
        return b"".join(parts)

    def _refuse(self, refused: _Refused) -> Response:
        self._telemetry.notifications.labels(refused.outcome).inc()
        response = _json(refused.status, {"error": str(refused)})
        if refused.status == 503:
            response.headers["Retry-After"] = "1"
        if refused.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response


def _json(status: int, content: object) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
