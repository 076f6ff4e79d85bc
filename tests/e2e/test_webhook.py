"""The webhook as a process of its own: what it answers, and that nothing acknowledged is lost when it is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kt.stores.sqlite_log import SqliteIncidentLog

TOKEN = "a-token-of-the-tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Serving:
    """`kt serve` on a free port."""

    def __init__(self, folder: Path) -> None:
        environment = {
            **os.environ,
            "KT_DATA_DIR": str(folder),
            "KT_BROKER_URL": "memory://",
            "KT_WEB__PORT": "0",
            "KT_WEB__TOKEN": TOKEN,
            "KT_WEB__MAX_BODY_BYTES": "20000",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from kt.cli import main; main()", "serve"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        found = None
        while found is None:
            line = self.process.stderr.readline()
            assert line, f"it ended with {self.process.wait()}"
            found = re.search(r"(http://\S+?)/webhook", line)
        self.url = found[1]

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(20)
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    one = Serving(tmp_path)
    yield one
    one.end()


def payload(number: int) -> dict[str, Any]:
    alert = {
        "status": "firing",
        "labels": {"alertname": "KtErrorRatioHigh", "namespace": "shop", "service": "cart"},
        "annotations": {},
        "startsAt": "2026-03-01T12:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"{number:016x}",
    }
    return {"version": "4", "groupKey": "g", "status": "firing", "alerts": [alert]}


def test_what_is_right_is_kept_and_what_is_wrong_is_told_why(serving: Serving, tmp_path: Path) -> None:
    url = f"{serving.url}/webhook/alertmanager"
    with httpx.Client(headers=HEADERS) as client:
        kept = client.post(url, json=payload(1))
        assert (kept.status_code, kept.json()["alerts"]) == (200, 1)
        broken = client.post(url, content=b"{")
        assert (broken.status_code, "not JSON" in broken.json()["error"]) == (400, True)
        old = client.post(url, json={**payload(1), "version": "3"})
        assert (old.status_code, 'version "3"' in old.json()["error"]) == (400, True)
        large = client.post(url, content=b" " * 20001)
        assert (large.status_code, "max_body_bytes" in large.json()["error"]) == (413, True)
        streamed = client.post(url, content=iter([b" " * 15000, b" " * 15000]))
        assert streamed.status_code == 413
        assert client.get(f"{serving.url}/readyz").json()["received"] == 1
        assert "kt_notifications_received 1.0" in client.get(f"{serving.url}/metrics").text
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        refused = httpx.post(url, json=payload(2), headers=headers)
        assert (refused.status_code, "bearer" in refused.json()["error"]) == (401, True)
    log = SqliteIncidentLog(tmp_path / "kt.db")
    assert log.counts() == (1, 1)
    log.close()


def test_what_was_acknowledged_before_a_sigkill_is_in_the_log(serving: Serving, tmp_path: Path) -> None:
    url, acknowledged, enough = f"{serving.url}/webhook/alertmanager", [], threading.Event()

    def send(sender: int) -> None:
        with httpx.Client(headers=HEADERS) as client:
            for number in range(10_000):
                try:
                    answer = client.post(url, json=payload(sender * 10_000 + number))
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                acknowledged.append(answer.json()["id"])
                if len(acknowledged) >= 300:
                    enough.set()

    senders = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for sender in senders:
        sender.start()
    assert enough.wait(60)
    serving.end(signal.SIGKILL)
    for sender in senders:
        sender.join()
    log = SqliteIncidentLog(tmp_path / "kt.db")
    kept = {each.id for each in log.unsettled(1_000_000)}
    log.close()
    assert set(acknowledged) <= kept
    assert all(json.loads(each.body)["version"] == "4" for each in log.unsettled(5))


def test_a_port_that_is_taken_is_told(serving: Serving, tmp_path: Path) -> None:
    port = serving.url.rsplit(":", 1)[1]
    environment = {**os.environ, "KT_DATA_DIR": str(tmp_path), "KT_BROKER_URL": "memory://", "KT_WEB__PORT": port}
    second = subprocess.run(
        [sys.executable, "-c", "from kt.cli import main; main()", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "web.port" in second.stderr
    assert "Traceback" not in second.stderr
