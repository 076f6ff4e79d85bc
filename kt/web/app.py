"""Starlette app: `POST /webhook/alertmanager`, `/healthz`, `/readyz`, `/metrics`.

4xx only for what can never be right, with a body that says why; 503 with Retry-After when it cannot be kept now, which
makes Alertmanager send it again.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kt.incident.log import DEAD_S, SWEEP, IncidentLog, LogUnavailable, Pulses
from kt.telemetry import Telemetry
from kt.web.intake import Intake, NotKept
from remediate.brakes import Brakes
from sense.alertmanager import BadPayload, parse


class _Refused(Exception):
    """`reason` is one of a few words, for the metrics."""

    def __init__(self, status: int, reason: str, why: str) -> None:
        super().__init__(why)
        self.status, self.reason = status, reason


def create_app(
    log: IncidentLog,
    pulses: Pulses,
    *,
    token: str,
    max_body_bytes: int,
    on_received: Callable[[], object],
    telemetry: Telemetry,
    brakes: Brakes | None = None,
) -> Starlette:
    """The app. `on_received` runs after each commit, in another thread; it must not raise."""
    face = _Face(log, pulses, token, max_body_bytes, on_received, telemetry, brakes)
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
        self,
        log: IncidentLog,
        pulses: Pulses,
        token: str,
        max_body_bytes: int,
        on_received: Callable[[], object],
        telemetry: Telemetry,
        brakes: Brakes | None,
    ) -> None:
        self._log, self._pulses, self._token, self._max = log, pulses, token.encode(), max_body_bytes
        self._on_received, self._telemetry, self._brakes = on_received, telemetry, brakes
        self._intake: Intake | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._intake = Intake(self._log, self._on_received)
        # What was taken in before a stop may still wait; and the first alert must not wait for the broker's client.
        threading.Thread(target=self._on_received, name="first look", daemon=True).start()
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
                raise _Refused(400, "bad payload", str(error)) from error
            if self._intake is None:
                raise _Refused(503, "starting", "KT is still starting; send it again")
            kept = await self._intake.keep(body)
        except _Refused as refused:
            return self._refuse(refused)
        except NotKept as error:
            return self._refuse(_Refused(503, "store away", f"could not be made durable, send it again: {error}"))
        except ClientDisconnect:
            return self._refuse(_Refused(400, "sender gone", "the sender went away before its body was complete"))
        self._telemetry.kept()
        return _json(200, {"id": kept, "alerts": len(batch.alerts)})

    async def healthy(self, request: Request) -> Response:
        return _json(200, {"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Ready to take alerts in: the log answers. Whether anybody works on them is told, and is no reason to refuse:
        what is taken in now is worked on once a worker is back."""
        try:
            received, unsettled = await run_in_threadpool(self._log.counts)
            swept = await run_in_threadpool(self._pulses.last, SWEEP)
        except LogUnavailable as error:
            return _json(503, {"status": "not ready", "log": str(error)})
        age = (datetime.now(UTC) - swept).total_seconds() if swept else None
        pipeline = {"alive": age is not None and age < DEAD_S, "last_sweep_s": age and round(age, 1)}
        answer = {"status": "ready", "received": received, "unsettled": unsettled, "pipeline": pipeline}
        return _json(200, answer | await run_in_threadpool(self._held))

    def _held(self) -> dict[str, object]:
        """What keeps KT from acting now, in words; empty texts when nothing does."""
        if self._brakes is None:
            return {}
        try:
            stop, trip = self._brakes.stopped(), self._brakes.tripped()
        except LogUnavailable as error:
            return {"held": {"unknown": str(error)}}
        open_ = trip is not None and trip.until > datetime.now(UTC)
        stopped = f"by {stop.by}{': ' + stop.why if stop.why else ''}" if stop else ""
        return {"held": {"stopped": stopped, "breaker": trip.why if trip and open_ else ""}}

    async def metrics(self, request: Request) -> Response:
        try:
            await run_in_threadpool(self._observe)
        except LogUnavailable:
            self._telemetry.store_away()
        return Response(self._telemetry.render(), media_type="text/plain; version=0.0.4")

    def _observe(self) -> None:
        self._telemetry.observe(self._log, self._pulses.last(SWEEP), datetime.now(UTC))

    def _authenticate(self, request: Request) -> None:
        if not self._token:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() != "bearer" or not right:
            raise _Refused(401, "token", "a bearer token is required: Authorization: Bearer <web.token>")

    async def _body(self, request: Request) -> bytes:
        """The body, given up as soon as it is known to be too large."""
        limit = self._max
        too_large = (
            f"the body is larger than {limit} bytes; raise web.max_body_bytes or lower max_alerts in Alertmanager"
        )
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _Refused(413, "too large", too_large)
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _Refused(413, "too large", too_large)
            parts.append(part)
        return b"".join(parts)

    def _refuse(self, refused: _Refused) -> Response:
        self._telemetry.refused(refused.reason)
        response = _json(refused.status, {"error": str(refused)})
        if refused.status == 503:
            response.headers["Retry-After"] = "1"
        if refused.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response


def _json(status: int, content: object) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
