"""The services of docker-compose.yml as processes: their own commands, environments, configurations and health checks,
with addresses and paths of this machine in the place of the containers' and nothing else changed."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from graph_schema.ontology import load_ontology
from kt.incident.events import ActionStarted, AlertsReceived
from kt.pipeline.journey import Journey
from kt.settings import Settings, load
from kt.stores.neo4j_log import Neo4jIncidentLog
from kt.stores.places import open_graph
from testbed.processes import free_ports
from tests.conftest import Place, Program
from tests.e2e.gate import Gate
from tests.e2e.installation import until
from twin.server import Twin

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
PROGRAMS = {"alertmanager": "prometheus-alertmanager"}
"""Service → the program of Debian's package, where it has another name."""


class Composed:
    """What docker-compose.yml describes, in a folder."""

    def __init__(self, folder: Path, twin: Twin, gate: Gate, place: Place) -> None:
        self.folder, self.twin, self.gate = folder, twin, gate
        names = ("web", "worker", "beat", "redis", "prometheus", "alertmanager")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        inside = {"web": 8650, "worker": 8651, "beat": 8652, "redis": 6379, "prometheus": 9090, "alertmanager": 9093}
        here = {str(port): str(self.ports[name]) for name, port in inside.items()}
        here |= {f"{name}:{port}": f"127.0.0.1:{self.ports[name]}" for name, port in inside.items()}
        here |= {"bolt://neo4j:7687": place.uri, "http://prometheus:9090": twin.prometheus_url, "0.0.0.0": "127.0.0.1"}
        here |= {f"/{path}/": f"{folder}/{path}/" for path in ("run/secrets", "etc")}
        here |= {"=/alertmanager": f"={folder}/alertmanager", "=/prometheus": f"={folder}/prometheus"}
        here |= {"/var/lib/kt": f"{folder}/data"}
        self._here = here
        self._pattern = re.compile("|".join(re.escape(each) for each in sorted(here, key=len, reverse=True)))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lay_out(place)
        self.log = Neo4jIncidentLog(place.uri, place.auth)

    def _lay_out(self, place: Place) -> None:
        """Secrets and configurations as they are mounted."""
        secrets = self.folder / "run" / "secrets"
        subprocess.run(["sh", ROOT / "deploy" / "make-secrets.sh", secrets], check=True, capture_output=True)
        if place.auth:
            (secrets / "neo4j_password").write_text(place.auth[1] + "\n")
        for file in secrets.iterdir():
            file.write_text(self.here(file.read_text()))
        self.gate.write_kubeconfig(secrets / "kubeconfig")
        for source, target in (("redis", "redis"), ("alertmanager", "alertmanager"), ("prometheus", "prometheus")):
            shutil.copytree(ROOT / "deploy" / source, self.folder / "etc" / target)
        (self.folder / "etc" / "kt").mkdir()
        settings = (ROOT / "deploy" / "kt.toml").read_text()
        # The repair of the shop may go on without a person, and need not be quiet for long.
        settings = settings.replace("enabled = false", "enabled = true").replace("medium = 1", "medium = 0")
        (self.folder / "etc" / "kt" / "kt.toml").write_text(settings + "[pipeline]\nverify_quiet_s = 0.5\n")
        redis = self.folder / "etc" / "redis" / "redis.conf"
        redis.write_text(self.here(redis.read_text().replace("bind * -::*", "bind 127.0.0.1")))
        alertmanager = self.folder / "etc" / "alertmanager" / "alertmanager.yml"
        alertmanager.write_text(self.here(alertmanager.read_text().replace("group_wait: 5s", "group_wait: 0s")))
        prometheus = self.folder / "etc" / "prometheus" / "prometheus.yml"
        scraped = yaml.safe_load(self.here(prometheus.read_text().replace("15s", "1s")))
        for job in scraped["scrape_configs"]:
            for found in job.pop("dns_sd_configs", []):
                # There are no names of services here.
                job["static_configs"] = [{"targets": [f"127.0.0.1:{found['port']}"]}]
        prometheus.write_text(yaml.safe_dump(scraped))

    def here(self, text: str) -> str:
        """A text of the container as it is true on this machine."""
        text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text).replace("$$", "$")
        return self._pattern.sub(lambda found: self._here[found[0]], text)

    def environment(self, name: str) -> dict[str, str]:
        """Of the image and the service, and nothing of this process."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        image = {"KT_DATA_DIR": "/var/lib/kt"} if SERVICES[name]["image"].startswith("kt:") else {}
        given = image | {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}
        return {"PATH": path, "HOME": str(self.folder)} | {key: self.here(value) for key, value in given.items()}

    def settings(self) -> Settings:
        return load(None, {key: value for key, value in self.environment("worker").items() if key.startswith("KT_")})

    def start(self, name: str) -> None:
        words = [self.here(word) for word in SERVICES[name]["command"]]
        if SERVICES[name]["image"].startswith("kt:"):
            words = ["kt", *words]
        elif name in ("prometheus", "alertmanager"):
            words = [PROGRAMS.get(name, name), *words, f"--web.listen-address=127.0.0.1:{self.ports[name]}"]
            # What fired before Alertmanager was found is sent again after this, not after a minute.
            words += ["--rules.alert.resend-delay=1s"] if name == "prometheus" else []
        with (self.folder / f"{name}.log").open("ab") as output:
            self._running[name] = subprocess.Popen(
                words, env=self.environment(name), cwd=self.folder, stdout=output, stderr=output
            )

    def healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, *test = SERVICES[name]["healthcheck"]["test"]
        words = [self.here(word) for word in test]
        line = ["sh", "-c", words[0]] if kind == "CMD-SHELL" else words
        done = subprocess.run(line, env=self.environment(name), capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    def up(self, *names: str) -> None:
        """Start services; each is not healthy before and healthy soon after."""
        for name in names:
            assert not self.healthy(name)
            self.start(name)
        for name in names:
            until(functools.partial(self.healthy, name), f"{name} is healthy")

    def secret(self, name: str) -> str:
        return (self.folder / "run" / "secrets" / name).read_text().strip()

    def journeys(self) -> list[Journey]:
        return [Journey(self.log, entry.incident) for entry in self.log.entries()]

    def knows(self, entity: str) -> bool:
        graph = open_graph(self.settings(), load_ontology())
        try:
            return entity in graph.get([entity])
        finally:
            graph.close()

    def down(self) -> None:
        for process in self._running.values():
            process.terminate()
        for name, process in self._running.items():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            print(f"== {name}\n{(self.folder / f'{name}.log').read_text()[-1500:]}")
        self.log.close()


@pytest.fixture
def installed(tmp_path: Path, program: Program, empty_neo4j: Place) -> Iterator[Composed]:
    for each in ("redis-server", "redis-cli", "wget"):
        program(each)
    twin = Twin(seed=3, speed=5.0).start()
    gate = Gate(twin, "shop")
    one = Composed(tmp_path, twin, gate, empty_neo4j)
    yield one
    one.down()
    twin.stop()
    gate.stop()


@pytest.mark.real("neo4j")
def test_the_services_become_healthy_and_heal_with_no_more_rights_than_kt_rbac_prints(installed: Composed) -> None:
    installed.up("redis")
    installed.up("web", "worker", "beat")
    web = f"http://127.0.0.1:{installed.ports['web']}"
    refused = httpx.post(f"{web}/webhook/alertmanager", json={}, headers={"Authorization": "Bearer guessed"})
    assert refused.status_code == 401
    installed.twin.notify(f"{web}/webhook/alertmanager", installed.secret("webhook_token"))
    until(lambda: installed.knows("Deployment/shop/cart"), "the beat follows the cluster")
    installed.twin.inject("bad-rollout")
    until(lambda: any(each.state.ended for each in installed.journeys()), "the incident ends")
    journey = next(each for each in installed.journeys() if each.state.ended)
    assert journey.state.phase == "healed"
    assert any(isinstance(record.event, ActionStarted) for record in journey.records)
    assert installed.gate.refused == []
    assert {("apps", "deployments", "patch"), ("", "pods", "delete")} <= installed.gate.used
    for name, port in (("worker", installed.ports["worker"]), ("beat", installed.ports["beat"])):
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert f'kt_pulse_timestamp_seconds{{process="{name}"}}' in metrics


@pytest.mark.real("neo4j")
def test_an_alert_comes_through_alertmanager_and_prometheus_watches_kt(installed: Composed, program: Program) -> None:
    for each in ("prometheus", "prometheus-alertmanager"):
        program(each)
    installed.up("redis")
    installed.up("web", "worker", "beat", "alertmanager", "prometheus")
    alertmanager, prometheus = (f"http://127.0.0.1:{installed.ports[name]}" for name in ("alertmanager", "prometheus"))
    alert = {"labels": {"alertname": "SomethingOdd", "namespace": "shop", "service": "cart"}}
    assert httpx.post(f"{alertmanager}/api/v2/alerts", json=[alert]).status_code == 200
    until(lambda: bool(installed.journeys()), "the alert is in an incident")
    [journey] = installed.journeys()
    received = [record.event for record in journey.records if isinstance(record.event, AlertsReceived)]
    assert [signal.name for event in received for signal in event.signals] == ["SomethingOdd"]

    def value(query: str) -> dict[str, str]:
        answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}).json()
        return {each["metric"].get("job", ""): each["value"][1] for each in answer["data"]["result"]}

    up = dict.fromkeys(("kt-web", "kt-worker", "kt-beat"), "1")
    until(lambda: value('up{job=~"kt-.+"}') == up, "Prometheus reads all processes of KT")
    until(lambda: bool(value('kt_incidents_open{job="kt-web"} > 0')), "it counts the open incident")

    def receivers(name: str) -> list[str]:
        found = httpx.get(f"{alertmanager}/api/v2/alerts", params={"filter": f'alertname="{name}"'}).json()
        return [receiver["name"] for each in found for receiver in each["receivers"]]

    until(lambda: receivers("KtWatchdog") == ["dead-mans-switch"], "the watchdog reaches Alertmanager, not KT")
    assert len(installed.journeys()) == 1
