"""The twin as a running server: the Kubernetes API, Prometheus' API, time that passes, alerts that are posted."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from starlette.applications import Starlette

from twin.api.app import create_app
from twin.cluster import FAULTS, STEP_S, Cluster
from twin.metrics import Alert
from twin.objects import stamp
from twin.prometheus import create_app as create_prometheus

__all__ = ["FAULTS", "Twin"]
GROUP_WAIT_S = 0.2
SETTLE_S = 60.0
RETRY_S = 0.3


class Twin:
    """`speed`: simulated seconds per second. Listens on free ports of the loopback interface between start and stop."""

    def __init__(self, *, seed: int = 0, speed: float = 10.0, nodes: int = 3) -> None:
        self._speed = speed
        self._folder = tempfile.TemporaryDirectory(prefix="kt-twin-")
        # Its clock shows the wall clock's time when the shop has come up, and runs at its own speed from there.
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=SETTLE_S)
        self.token = secrets.token_urlsafe(24)
        self.cluster = Cluster(seed=seed, start=start, token=self.token, speed=speed, nodes=nodes)
        self.api_url = ""
        self.prometheus_url = ""
        self._servers: list[tuple[uvicorn.Server, threading.Thread]] = []
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()

    @property
    def kubeconfig(self) -> Path:
        return Path(self._folder.name) / "kubeconfig"

    def now(self) -> datetime:
        return self.cluster.now()

    def start(self) -> Twin:
        """Let the shop come up, then serve."""
        self.cluster.settle(SETTLE_S)
        self.api_url = self._serve(create_app(self.cluster))
        self.prometheus_url = self._serve(create_prometheus(self.cluster))
        self._write_kubeconfig()
        self._thread(self._tick, "twin")
        return self

    def inject(self, fault: str) -> str:
        """Break something; what was done, in words."""
        return self.cluster.inject(fault)

    def notify(self, url: str, token: str | None) -> None:
        """From now on post alerts that begin or end to fire there, as Alertmanager does, until they are accepted."""
        self._thread(lambda: self._notify(url, token), "twin alerts")

    def stop(self) -> None:
        self._stop.set()
        self.cluster.closing.set()
        for server, _ in self._servers:
            server.should_exit = True
        for _, thread in self._servers:
            thread.join(5)
        for thread in self._threads:
            thread.join(5)
        self._folder.cleanup()

    def _thread(self, run: Any, name: str) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, app: Starlette) -> str:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="twin api", daemon=True)
        self._servers.append((server, thread))
        thread.start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    def _tick(self) -> None:
        """Step at the pace of the speed; what the machine cannot keep up with is not made up for."""
        pause = STEP_S / self._speed
        due = time.monotonic()
        while not self._stop.is_set():
            self.cluster.step()
            due = max(due + pause, time.monotonic() - pause)
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _notify(self, url: str, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(headers=headers, timeout=5) as client:
            while not self._stop.wait(GROUP_WAIT_S):
                with self.cluster.lock:
                    news, self.cluster.metrics.news = self.cluster.metrics.news, []
                for payload in payloads(news):
                    self._post(client, url, payload)

    def _post(self, client: httpx.Client, url: str, payload: dict[str, Any]) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(httpx.HTTPError):
                if client.post(url, json=payload).is_success:
                    return
            self._stop.wait(RETRY_S)

    def _write_kubeconfig(self) -> None:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "twin", "cluster": {"server": self.api_url}}],
            "users": [{"name": "kt", "user": {"token": self.token}}],
            "contexts": [{"name": "twin", "context": {"cluster": "twin", "user": "kt"}}],
            "current-context": "twin",
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(content))


def payloads(news: list[Alert]) -> list[dict[str, Any]]:
    """Webhook payloads of version 4, grouped by namespace; what cannot be grouped is a group of its own."""
    ordered = sorted(news, key=lambda alert: (alert.labels.get("namespace", ""), alert.fingerprint))
    return [
        _payload(namespace, list(group))
        for namespace, group in groupby(ordered, key=lambda alert: alert.labels.get("namespace", ""))
    ]


def _payload(namespace: str, alerts: list[Alert]) -> dict[str, Any]:
    labels = {"namespace": namespace} if namespace else {}
    firing = any(alert.ends_at is None for alert in alerts)
    return {
        "version": "4",
        "groupKey": "{}:" + json.dumps(labels),
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "kt",
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": [_alert(alert) for alert in alerts],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "status": "resolved" if alert.ends_at else "firing",
        "labels": alert.labels,
        "annotations": {"summary": f"{alert.rule.series} crossed {alert.rule.threshold}"},
        "startsAt": stamp(alert.starts_at or alert.pending_since),
        "endsAt": stamp(alert.ends_at) if alert.ends_at else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": alert.fingerprint,
    }
