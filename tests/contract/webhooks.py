"""A server of somebody's own that takes what `call-webhook` sends."""

from __future__ import annotations

import functools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CODES = {"busy": 503, "no": 400, "on": 307}


class Hook:
    """`asked`: the bodies that were sent, with path, key and host, the oldest first. A path that ends in `/busy` is
    answered 503, `/no` 400, `/on` by a redirect to `elsewhere`."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.elsewhere = ""
        asked, hook = self.asked, self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told = {"path": self.path, "key": self.headers["Idempotency-Key"], "host": self.headers["Host"]}
                asked.append({**body, **told})
                self.send_response(CODES.get(self.path.rpartition("/")[2], 200))
                if self.path.endswith("/on"):
                    self.send_header("Location", hook.elsewhere)
                self.end_headers()
                self.wfile.write(b"done\n")

            def log_message(self, *_: Any) -> None:
                """Nothing: the test looks at what was asked."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, name="hook", daemon=True).start()


@functools.cache
def hook() -> Hook:
    """The one server of a test run."""
    return Hook()
