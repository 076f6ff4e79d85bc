"""`/healthz` and `/metrics` of the processes that take no alerts in: workers and beats (`metrics.port`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kt.telemetry import Telemetry
from kt.web.listen import listen

Condition = Callable[[], dict[str, Any]]
"""What a process knows of its own health: `ok` (a bool), and what else a person wants to see."""


def exposition(telemetry: Telemetry) -> Response:
    return Response(telemetry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def create_app(telemetry: Telemetry, condition: Condition) -> Starlette:
    async def healthy(_: Request) -> Response:
        found = condition()
        return Response(msgspec.json.encode(found), 200 if found["ok"] else 503, media_type="application/json")

    async def metrics(_: Request) -> Response:
        return exposition(telemetry)

    return Starlette(routes=[Route("/healthz", healthy), Route("/metrics", metrics)])


def serve(host: str, port: int, telemetry: Telemetry, condition: Condition) -> None:
    """Answer from a thread for as long as the process lives; `port` 0: not at all."""
    if not port:
        return
    listening = listen(host, port, "metrics.port")
    server = uvicorn.Server(uvicorn.Config(create_app(telemetry, condition), log_level="warning", access_log=False))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="metrics", daemon=True).start()
