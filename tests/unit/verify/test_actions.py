"""Actions and probes that need no cluster: the TCP proxy, percentiles over HTTP, what KT itself says."""

from __future__ import annotations

import http.server
import json
import math
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaoslib.exceptions import ActivityFailed

from verify import actions, probes


class Shop(http.server.BaseHTTPRequestHandler):
    """Answers 200, and 500 to every fourth request when `failing`."""

    failing = False
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(500 if self.failing and self.asked % 4 == 0 else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class calls it
        """Silent."""


@pytest.fixture
def shop() -> Iterator[tuple[type[Shop], int]]:
    handler = type("OneShop", (Shop,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_proxy_passes_on_late_and_is_gone_when_it_is_stopped(shop: tuple[type[Shop], int]) -> None:
    _, port = shop
    through = actions.start_proxy(0, "127.0.0.1", port, delay_ms=60)["port"]
    url = f"http://127.0.0.1:{through}/"
    assert probes.http_percentile(url, 1, requests=3, per_second=1000) >= 60
    assert actions.stop_proxy(through)
    assert not actions.stop_proxy(through)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", through)):
        pass


def test_a_proxy_that_drops_everything_lets_no_request_through(shop: tuple[type[Shop], int]) -> None:
    handler, port = shop
    through = actions.start_proxy(0, "127.0.0.1", port, drop=1.0)["port"]
    assert probes.http_percentile(f"http://127.0.0.1:{through}/", 50, requests=3, per_second=1000) == math.inf
    assert handler.asked == 0
    with pytest.raises(ActivityFailed, match=f"port {through} cannot be listened on"):
        actions.start_proxy(through, "127.0.0.1", port)
    actions.stop_proxy(through)


def test_requests_that_fail_count_as_never_answered(shop: tuple[type[Shop], int]) -> None:
    handler, port = shop
    handler.failing = True
    url = f"http://127.0.0.1:{port}/"
    assert probes.http_percentile(url, 75, requests=8, per_second=1000) < math.inf
    assert probes.http_percentile(url, 76, requests=8, per_second=1000) == math.inf
    with pytest.raises(ActivityFailed, match="must be in"):
        probes.http_percentile(url, 0)


def test_kt_is_asked_what_became_of_what_was_disturbed(tmp_path: Path) -> None:
    config = tmp_path / "kt.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n')
    answer = probes.kt_incident(str(config), entity="shop/cart", within_s=0)
    assert (answer["reached"], answer["phase"]) == (False, "none")
    config.write_text("nonsense = 1\n")
    with pytest.raises(ActivityFailed, match="KT does not tell"):
        probes.kt_incident(str(config), within_s=0)


def test_a_value_that_is_not_measured_is_not_fine() -> None:
    with pytest.raises(ActivityFailed, match=r"127\.0\.0\.1:9"):
        probes.worst_value("http://127.0.0.1:9", "up")


def test_actions_are_found_by_the_names_that_experiments_use() -> None:
    assert json.dumps(sorted(actions.__all__)) == json.dumps(actions.__all__)
    assert all(callable(getattr(actions, name)) for name in actions.__all__)
    assert all(callable(getattr(probes, name)) for name in probes.__all__)


def test_a_proxy_cuts_or_fails_connections_and_after_its_time_passes_all(shop: tuple[type[Shop], int]) -> None:
    handler, port = shop
    through = actions.start_proxy(0, "127.0.0.1", port, error=1.0)["port"]
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://127.0.0.1:{through}/")
    actions.stop_proxy(through)
    through = actions.start_proxy(0, "127.0.0.1", port, reset=1.0)["port"]
    with socket.create_connection(("127.0.0.1", through)) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    actions.stop_proxy(through)
    assert handler.asked == 0
    through = actions.start_proxy(0, "127.0.0.1", port, drop=1.0, seconds=1e-9)["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{through}/") as answer:
        assert answer.status == 200
    actions.stop_proxy(through)
    with pytest.raises(ActivityFailed, match="shares"):
        actions.start_proxy(0, "127.0.0.1", port, drop=0.6, reset=0.6)
