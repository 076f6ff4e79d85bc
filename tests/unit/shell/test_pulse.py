"""A process is well as long as it does its work, and `kt health` tells it by its exit code."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from click.testing import CliRunner

from kt.cli import cli
from kt.pulse import Pulse
from kt.telemetry import Telemetry


@pytest.fixture
def pulses() -> Iterator[tuple[str, str]]:
    """The addresses of a worker that does its work and of one that does nothing."""
    servers = [Pulse("worker", Telemetry(), after).listen("127.0.0.1", 0) for after in (60.0, -1.0)]
    well, stalled = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    yield well, stalled
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_works_is_well_and_what_does_nothing_is_not(pulses: tuple[str, str]) -> None:
    well, stalled = (httpx.get(f"{address}/healthz") for address in pulses)
    assert (well.status_code, well.json()["status"]) == (200, "alive")
    assert (stalled.status_code, stalled.json()["status"]) == (503, "stalled")
    assert "does the beat run" in stalled.json()["why"]


def test_it_tells_its_metrics_and_nothing_else(pulses: tuple[str, str]) -> None:
    metrics = httpx.get(f"{pulses[0]}/metrics").text
    assert 'kt_pulse_timestamp_seconds{process="worker"}' in metrics
    assert "kt_stage_seconds" in metrics
    assert httpx.get(f"{pulses[0]}/").status_code == 404


def test_work_that_is_done_brings_it_back() -> None:
    pulse = Pulse("beat", Telemetry(), 60.0)
    pulse._last -= 61
    assert pulse.answer("/healthz")[0] == 503
    pulse.beat(sender="a signal of Celery")
    assert pulse.answer("/healthz")[0] == 200


def test_the_exit_code_of_kt_health_says_it(pulses: tuple[str, str]) -> None:
    well, stalled = (CliRunner().invoke(cli, ["health", f"{address}/healthz"]) for address in pulses)
    assert (well.exit_code, "alive" in well.output) == (0, True)
    assert (stalled.exit_code, "503" in stalled.output) == (1, True)


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [("http://127.0.0.1:1/healthz", 1, "does not answer"), ("file:///etc/passwd", 2, "not the address")],
)
def test_what_cannot_be_asked_is_told(url: str, code: int, says: str) -> None:
    answer = CliRunner().invoke(cli, ["health", url])
    assert (answer.exit_code, says in answer.output) == (code, True)


@pytest.mark.parametrize("where", ["8651", ":8651", "127.0.0.1:http"])
def test_where_to_listen_needs_host_and_port(where: str) -> None:
    answer = CliRunner().invoke(cli, ["beat", "--listen", where])
    assert (answer.exit_code, "is not HOST:PORT" in answer.output) == (2, True)
