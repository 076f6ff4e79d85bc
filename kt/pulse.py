"""Whether a process that takes no webhooks is well: not that it exists, but that it did its work a moment ago.

`/healthz` answers 503 once nothing was done for too long, `/metrics` what the process counts.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import Gauge

from kt.telemetry import Telemetry

STALLED_AFTER_S = 30.0
"""The beat asks for a sweep every second or so: a worker that took nothing for this long is cut off, or the beat is."""


class Pulse:
    """`process`: worker or beat. Counts as alive from its start: what has just begun gets the same time as all."""

    def __init__(self, process: str, telemetry: Telemetry, stalled_after_s: float = STALLED_AFTER_S) -> None:
        self._process, self._telemetry, self._stalled_after_s = process, telemetry, stalled_after_s
        self._gauge = Gauge(
            "kt_pulse_timestamp_seconds",
            "When this process last did its work: a worker took a task, the beat asked for what is due",
            ["process"],
            registry=telemetry.registry,
        )
        self.beat()

    def beat(self, *_: object, **__: object) -> None:
        """The work was done now. Takes and ignores what Celery's signals hand over."""
        self._last = time.monotonic()
        self._gauge.labels(self._process).set_to_current_time()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4", self._telemetry.render()
        if path != "/healthz":
            return 404, "application/json", b'{"error":"there are /healthz and /metrics"}'
        idle = time.monotonic() - self._last
        found: dict[str, Any] = {"status": "alive", "idle_s": round(idle, 1)}
        if idle <= self._stalled_after_s:
            return 200, "application/json", json.dumps(found).encode()
        why = "no task came: is the broker there, does the beat run?" if self._process == "worker" else "it is stuck"
        return 503, "application/json", json.dumps(found | {"status": "stalled", "why": why}).encode()

    def listen(self, host: str, port: int) -> ThreadingHTTPServer:
        """Answer there from a thread of its own, for as long as the process lives. Raises `OSError`."""
        server = ThreadingHTTPServer((host, port), _handler(self))
        threading.Thread(target=server.serve_forever, name="pulse", daemon=True).start()
        return server


def _handler(pulse: Pulse) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        """Seconds for a client to say what it wants."""

        def do_GET(self) -> None:  # the name that http.server calls
            status, kind, body = pulse.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Being asked for health is no news."""

    return Handler
