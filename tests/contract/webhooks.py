"""A server of somebody's own that takes what `call-webhook` sends."""

from __future__ import annotations

import functools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hook:
    """`asked`: the bodies that were sent, the oldest first. A path that ends in `/busy` is answered 503, `/no` 400."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append({**body, "path": self.path, "key": self.headers["Idempotency-Key"]})
                code = 503 if self.path.endswith("/busy") else 400 if self.path.endswith("/no") else 200
                self.send_response(code)
                self.end_headers()
                self.wfile.write(b"done\n")

            def log_message(self, *_: Any) -> None:
                """Nothing: the test looks at what was asked."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="hook", daemon=True).start()


@functools.cache
def hook() -> Hook:
    """The one server of a test run."""
    return Hook()
