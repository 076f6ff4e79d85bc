"""Rules, scrape configuration, Alertmanager's routes and the dashboard: checked by their own tools, and asking only for
series that there are."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from kt.incident.state import State
from kt.pulse import Pulse
from kt.stores.sqlite_log import SqliteIncidentLog
from kt.telemetry import OUTCOMES, PHASES, Telemetry
from tests.conftest import Program

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "kt-self-rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "kt.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {f"{panel['title']}": panel["targets"][0]["expr"] for panel in PANELS}
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES} | QUERIES
JOBS = {"kt-web", "kt-worker", "kt-beat"}


@pytest.fixture
def told(tmp_path: Path) -> set[str]:
    """The names of the series that processes of KT tell."""
    telemetry = Telemetry()
    with contextlib.closing(SqliteIncidentLog(tmp_path / "kt.db")) as log:
        telemetry.observe(log, None, datetime.now(UTC))
    Pulse("worker", telemetry)
    telemetry.acted("cordon", ok=True)
    with telemetry.stage("sense"):
        pass
    telemetry.failed("sense", KeyError())
    began = datetime.now(UTC)
    telemetry.ended(State(id="i", phase="healed", opened_at=began, updated_at=began))
    return set(re.findall(r"^(\w+)[{ ]", telemetry.render().decode(), re.MULTILINE))


def said(program: Program, name: str, *arguments: str | Path) -> str:
    line = [program(name), *(str(each) for each in arguments)]
    answer = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_the_alerts_on_kt_fire_when_they_should_and_only_then(program: Program) -> None:
    assert "SUCCESS" in said(
        program, "promtool", "test", "rules", DEPLOY / "prometheus" / "tests" / "kt-self-rules.test.yaml"
    )


def test_prometheus_understands_its_configuration(program: Program) -> None:
    assert "valid prometheus config" in said(
        program, "promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml"
    )


def test_alertmanager_understands_its_configuration(program: Program) -> None:
    assert "SUCCESS" in said(program, "amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=KtErrorRatioHigh", "namespace=shop"], "kt"),
        (["alertname=KtNoWorker", "about=kt"], "people"),
        (["alertname=KtWatchdog", "about=kt"], "dead-mans-switch"),
    ],
)
def test_alerts_on_kt_go_to_people_and_all_others_to_kt(program: Program, labels: list[str], receiver: str) -> None:
    file = DEPLOY / "alertmanager" / "alertmanager.yml"
    assert said(program, "amtool", "config", "routes", "test", f"--config.file={file}", *labels).strip() == receiver


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_series_that_is_asked_for_is_told_by_kt(name: str, told: set[str]) -> None:
    asked = set(re.findall(r"\bkt_\w+", EXPRESSIONS[name]))
    assert asked <= told


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_label_value_that_is_asked_for_exists(name: str) -> None:
    expression = EXPRESSIONS[name]
    jobs = set(re.findall(r'job="([^"]+)"', expression))
    phases = set(re.findall(r'phase="([^"]+)"', expression))
    outcomes = {
        each
        for given in re.findall(r'kt_notifications_total\{[^}]*outcome=~?"([^"]+)"', expression)
        for each in given.split("|")
    }
    assert jobs <= JOBS
    assert phases <= set(PHASES)
    assert outcomes <= set(OUTCOMES)


def test_the_jobs_of_the_rules_are_those_that_are_scraped() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert {job["job_name"] for job in scraped} >= JOBS


def test_every_alert_on_kt_says_so_and_says_what_it_means() -> None:
    for rule in RULES:
        assert rule["labels"]["about"] == "kt"
        assert {"summary", "description"} <= set(rule["annotations"]), rule["alert"]


def test_the_panels_do_not_overlap_and_ask_the_source_that_is_provisioned() -> None:
    source = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == source["datasources"][0]["uid"]
            assert panel["description"]


@pytest.mark.parametrize("panel", QUERIES)
def test_prometheus_understands_every_query_of_the_dashboard(program: Program, tmp_path: Path, panel: str) -> None:
    rules = {"groups": [{"name": "g", "rules": [{"record": "panel", "expr": QUERIES[panel]}]}]}
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    said(program, "promtool", "check", "rules", file)
