"""docker-compose.yml: pinned, hardened, without a password in it, and understood by the real tool."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Program

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXACT = re.compile(r":v?\d+\.\d+\.\d+([.-][a-z0-9.-]+)?$")


def test_all_that_kt_stands_on_is_there() -> None:
    wanted = {"web", "worker", "beat", "neo4j", "redis", "prometheus", "alertmanager", "grafana"}
    assert set(SERVICES) == wanted


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_pinned_checked_limited_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert EXACT.search(service["image"]), service["image"]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["restart"] == "unless-stopped"
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_held_as_tightly_as_it_can_be(name: str) -> None:
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("privileged")
    # The start script of Neo4j's image writes its configuration.
    assert service.get("read_only", False) is (name != "neo4j")


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_healthy_first(name: str) -> None:
    waits = SERVICES[name].get("depends_on", {})
    assert all(each == {"condition": "service_healthy"} for each in waits.values())


def test_what_watches_kt_does_not_wait_for_kt() -> None:
    seen, left = set(), ["prometheus", "alertmanager", "grafana"]
    while left:
        name = left.pop()
        seen.add(name)
        left += SERVICES[name].get("depends_on", {})
    assert not seen & {"web", "worker", "beat"}


def test_no_secret_is_written_down_and_none_has_a_default() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|AUTH|SECRET|BROKER_URL", key):
                assert key.endswith("_FILE"), f"{name}: {key}"
                assert str(value).startswith("/run/secrets/"), f"{name}: {key}"
    for name, secret in COMPOSE["secrets"].items():
        assert re.match(r"\$\{[A-Z_]+:\?.+\}", secret["file"]), name
    empty = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.endswith("=") for line in empty)


def test_every_secret_that_a_service_reads_is_given_to_it() -> None:
    for name, service in SERVICES.items():
        words = yaml.safe_dump({key: service.get(key) for key in ("environment", "command", "healthcheck")})
        read = set(re.findall(r"/run/secrets/(\w+)", words))
        assert read <= set(service.get("secrets", [])), name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name


def test_what_is_mounted_is_in_the_repository_and_volumes_have_names() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert there, f"{name}: {source}"


def test_the_variables_of_the_example_are_those_of_the_file() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", FILE.read_text()))
    given = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used == given


def test_the_image_of_kt_is_built_as_it_is_named_and_is_nobody_special() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert len(bases) == 2
    assert all(EXACT.search(base) for base in bases)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert {SERVICES[name]["image"] for name in ("web", "worker", "beat")} == {f"kt:{version[1]}"}


def test_what_the_image_is_built_from_reaches_the_builder() -> None:
    copied = {
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_in
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"testbed", "bench", "tests"}
    assert packages <= copied


def test_the_lock_of_the_image_is_the_lock_of_the_tests_without_what_tests_need() -> None:
    whole, runtime = (_pins(ROOT / "requirements" / name) for name in ("lock.txt", "runtime.txt"))
    assert runtime <= whole, "run: make lock"
    assert not {name for name, _ in runtime} & {"pytest", "mypy", "ruff", "hypothesis"}


def _pins(file: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", file.read_text(), re.MULTILINE))


class TestTheRealTool:
    def compose(self, program: Program, **given: str) -> subprocess.CompletedProcess[str]:
        line = [program("docker-compose"), "--file", str(FILE), "config"]
        clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        return subprocess.run(line, env=clean | given, capture_output=True, text=True, check=False, timeout=60)

    def test_it_understands_the_file(self, program: Program, tmp_path: Path) -> None:
        answer = self.compose(program, SECRETS_FOLDER=str(tmp_path), KUBECONFIG_FILE=str(tmp_path / "kubeconfig"))
        assert answer.returncode == 0, answer.stderr
        found = yaml.safe_load(answer.stdout)
        assert set(found["services"]) == set(SERVICES)
        assert found["services"]["web"]["environment"]["KT_PROMETHEUS__URL"] == "http://prometheus:9090"
        assert found["secrets"]["webhook_token"]["file"] == str(tmp_path / "webhook_token")

    @pytest.mark.parametrize(
        ("missing", "says"), [("SECRETS_FOLDER", "make-secrets"), ("KUBECONFIG_FILE", "deploy.md")]
    )
    def test_it_says_what_has_to_be_set(self, program: Program, tmp_path: Path, missing: str, says: str) -> None:
        given = {"SECRETS_FOLDER": str(tmp_path), "KUBECONFIG_FILE": str(tmp_path / "kubeconfig")}
        answer = self.compose(program, **(given | {missing: ""}))
        assert (answer.returncode, says in answer.stderr) == (1, True)


class TestSecrets:
    def make(self, folder: Path) -> dict[str, str]:
        subprocess.run(["sh", ROOT / "deploy" / "make-secrets.sh", folder], check=True, capture_output=True, timeout=30)
        return {path.name: path.read_text() for path in folder.iterdir()}

    def test_every_secret_of_the_file_is_made_and_no_two_are_alike(self, tmp_path: Path) -> None:
        made = self.make(tmp_path / "secrets")
        assert set(COMPOSE["secrets"]) - {"kubeconfig"} == set(made)
        assert len(set(made.values())) == len(made)
        assert all(len(made[name].strip()) == 48 for name in ("webhook_token", "neo4j_password", "grafana_password"))
        assert made["broker_url"] == f"redis://:{made['redis_password'].strip()}@redis:6379/0\n"
        assert made["neo4j_auth"] == f"neo4j/{made['neo4j_password']}"

    def test_only_their_owner_gets_to_them_and_a_second_run_changes_nothing(self, tmp_path: Path) -> None:
        folder = tmp_path / "secrets"
        first = self.make(folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert self.make(folder) == first
