"""Prometheus and Alertmanager of Debian's packages, watching the cluster by KT's own rule file with shorter times."""

import json
import math
import re
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import httpx
import yaml

from testbed import places, processes, server
from testbed.errors import TestbedError
from testbed.kubernetes import cluster

RULES = places.HERE.parent / "deploy" / "prometheus" / "kt-rules.yaml"
SCRAPE = "1s"
SHORTER = {"10m": "60s", "5m": "30s", "2m": "8s", "1m": "6s", "30s": "3s"}
"""A test cannot wait as long as an operator wants Prometheus to: durations of the rule file → those of the testbed."""

CALM = "20s"
WATCHED = "shop|"
"""Namespaces of the alerts that matter here: the shop's, and none."""


class _OnePort(ABC):
    """A server that is one process with one port of its own."""

    name: str
    variables: tuple[str, ...]
    command: str

    def check(self) -> None:
        server.require_commands(self.name, self.command)

    def start(self) -> server.Record:
        record = server.load(self.name)
        if not record.ports:
            record.ports = {"web": processes.free_ports(1)[0]}
            record.variables = {self.variables[0]: f"http://127.0.0.1:{record.ports['web']}"}
            server.save(self.name, record)
        if not self.running():
            address = f"--web.listen-address=127.0.0.1:{record.ports['web']}"
            processes.start(self.name, [self.command, address, *self.options()])
        url = record.variables[self.variables[0]]
        processes.wait(f"{self.name} is ready", lambda: processes.answers(f"{url}/-/ready"), seconds=30, of=self.name)
        return record

    @abstractmethod
    def options(self) -> list[str]:
        """Its options but the address; the files that they name are written."""

    def stop(self, *, kill: bool = False) -> None:
        processes.stop(self.name, kill=kill)

    def running(self) -> bool:
        return processes.find(self.name) is not None

    def clean(self) -> None:
        shutil.rmtree(places.state() / self.name, ignore_errors=True)


class Prometheus(_OnePort):
    """Scrapes the shop's pods, the kubelets and the state of the cluster each second."""

    name = "prometheus"
    variables: tuple[str, ...] = ("KT_TEST_PROMETHEUS_URL",)
    needs: tuple[str, ...] = ("kubernetes", "alertmanager")
    command = "prometheus"

    def options(self) -> list[str]:
        folder = places.state() / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rules.yaml").write_text(shortened(RULES.read_text()))
        (folder / "prometheus.json").write_text(json.dumps(self._config(folder)))
        return [
            f"--config.file={folder / 'prometheus.json'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.enable-lifecycle",
            "--storage.tsdb.retention.time=6h",
            "--log.level=warn",
        ]

    def _config(self, folder: Path) -> dict[str, Any]:
        kubernetes = server.load("kubernetes").ports
        alertmanager = server.load("alertmanager").ports["web"]
        kubelets = [f"{node.address}:{kubernetes[f'kubelet-{node.index}']}" for node in cluster.NODES]
        exporter = f"127.0.0.1:{kubernetes['exporter']}"
        insecure = {"scheme": "https", "tls_config": {"insecure_skip_verify": True}}
        jobs: list[dict[str, Any]] = [
            {"job_name": "kube-state-metrics", "honor_labels": True, "static_configs": [_target(exporter)]},
            {"job_name": "kubelet", **insecure, "static_configs": [_target(*kubelets)]},
            {
                "job_name": "cadvisor",
                "metrics_path": "/metrics/cadvisor",
                "scrape_interval": "5s",
                **insecure,
                "static_configs": [_target(*kubelets)],
            },
            {
                "job_name": "services",
                "http_sd_configs": [{"url": f"http://{exporter}/targets", "refresh_interval": SCRAPE}],
            },
        ]
        return {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
            "rule_files": [str(folder / "rules.yaml")],
            "alerting": {"alertmanagers": [{"static_configs": [_target(f"127.0.0.1:{alertmanager}")]}]},
            "scrape_configs": jobs,
        }


def _target(*addresses: str) -> dict[str, list[str]]:
    return {"targets": list(addresses)}


def shortened(rules: str) -> str:
    """The rule file with the durations of a test."""

    def shorter(found: re.Match[str]) -> str:
        return found[1] + SHORTER[found[2]] + found[3]

    return re.sub(r"(\[|for: )(\d+[smh])(\]|$)", shorter, rules, flags=re.MULTILINE)


class Alertmanager(_OnePort):
    """Posts every alert at once to where `send_to` says; to nowhere before that."""

    name = "alertmanager"
    variables: tuple[str, ...] = ("KT_TEST_ALERTMANAGER_URL",)
    needs: tuple[str, ...] = ()
    command = "prometheus-alertmanager"

    def options(self) -> list[str]:
        if not _alertmanager_config().exists():
            write_receiver("", "")
        return [
            f"--config.file={_alertmanager_config()}",
            f"--storage.path={places.state() / self.name / 'data'}",
            "--cluster.listen-address=",
            "--log.level=debug",
        ]


def _alertmanager_config() -> Path:
    return places.state() / "alertmanager" / "alertmanager.json"


def write_receiver(url: str, token: str) -> None:
    """Alertmanager's configuration: one receiver, the webhook at `url` (none when empty)."""
    receiver: dict[str, Any] = {"name": "kt"}
    if url:
        http = {"authorization": {"credentials": token}} if token else {}
        receiver["webhook_configs"] = [{"url": url, "send_resolved": True, "http_config": http}]
    # What other tests break in namespaces of their own is not KT's beside the shop.
    mine = {"receiver": "kt", "matchers": [f'namespace=~"{WATCHED}"']}
    route = {
        "receiver": "nobody",
        "routes": [mine],
        "group_by": ["namespace"],
        "group_wait": "200ms",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
    path = _alertmanager_config()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"route": route, "receivers": [receiver, {"name": "nobody"}]}))


def send_to(url: str, token: str = "") -> None:
    """From now on the testbed's Alertmanager posts there. Raises `TestbedError`."""
    write_receiver(url, token)
    base = server.load("alertmanager").variables["KT_TEST_ALERTMANAGER_URL"]
    response = httpx.post(f"{base}/-/reload", timeout=10)
    if response.is_error:
        raise TestbedError(f"alertmanager does not take its configuration: {response.text}")


def recorded() -> list[str]:
    """Names of the series that the rule file records."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return sorted({rule["record"] for group in groups for rule in group["rules"] if "record" in rule})


def value(query: str) -> float:
    """What the testbed's Prometheus answers to a query of one series now; nan for none."""
    base = server.load("prometheus").variables["KT_TEST_PROMETHEUS_URL"]
    response = httpx.get(f"{base}/api/v1/query", params={"query": query}, timeout=5)
    return next((float(each["value"][1]) for each in response.json()["data"]["result"]), float("nan"))


def wait_until_quiet(seconds: float = 90, *, firing: bool = False) -> None:
    """Return when no alert has fired or been about to for `CALM`: by what was measured the trouble before is over.

    `firing`: one that is only about to, as on a busy machine, does not matter. Raises `TestbedError` when one goes on
    for that long."""
    firing_only = ', alertstate="firing"' if firing else ""
    wanted = f'{{namespace=~"{WATCHED}"{firing_only}}}'

    def quiet() -> bool:
        return math.isnan(value(f"count_over_time(ALERTS{wanted}[{CALM}])"))

    processes.wait("no alert fires", quiet, seconds=seconds, of="prometheus")
