"""One HTTP client for what this process asks of Prometheus."""

from __future__ import annotations

from functools import cache

import httpx


@cache
def client() -> httpx.Client:
    """Kept, and safe to be used by several threads: making one takes 30 ms of processor time, for the certificates of
    all authorities are read, and a new connection for each of a diagnosis's questions is not needed either."""
    return httpx.Client()
