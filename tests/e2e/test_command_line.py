"""What a person meets at the command line: exit codes, clear errors, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def kt(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from kt.cli import main; main()", *arguments]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KT_")}
    given = clean | {"KT_DATA_DIR": str(folder), "KUBECONFIG": str(folder / "none")} | environment
    answer = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in answer.stderr
    return answer


def test_doctor_says_what_does_not_answer_and_fails(tmp_path: Path) -> None:
    nowhere = {"KT_BROKER_URL": "redis://127.0.0.1:1/0", "KT_PROMETHEUS__URL": "http://127.0.0.1:1"}
    nowhere |= {"KT_ALERTMANAGER__URL": "http://127.0.0.1:1"}
    answer = kt(tmp_path, "doctor", "--json", **nowhere)
    assert answer.returncode == 1
    found = {name: check["ok"] for name, check in json.loads(answer.stdout).items()}
    assert found == {
        "incident log": True, "graph": True, "diagnosis": True, "broker": False, "pipeline": True, "kubernetes": False,
        "rights": False, "prometheus": False, "alertmanager": False, "guard": True, "stop": True, "breaker": True,
        "chaos": True, "notify": True,
    }  # fmt: skip
    checks = json.loads(answer.stdout)
    assert (checks["pipeline"]["state"], "kt worker" in checks["pipeline"]["fix"]) == ("odd", True)
    assert "kt serve --embedded" in checks["broker"]["fix"]


def test_doctor_shows_settings_without_their_secrets(tmp_path: Path) -> None:
    secrets = {
        "KT_WEB__TOKEN": "hidden",
        "KT_STORE__PASSWORD": "hidden",
        "KT_BROKER_URL": "redis://:hidden@redis:6379/0",
    }
    answer = kt(tmp_path, "doctor", "--settings", **secrets)
    assert answer.returncode == 0
    assert "hidden" not in answer.stdout
    assert json.loads(answer.stdout)["broker_url"] == "redis://:***@redis:6379/0"
    assert json.loads(answer.stdout)["web"]["token"] == "***"


def test_a_wrong_setting_is_told(tmp_path: Path) -> None:
    answer = kt(tmp_path, "doctor", KT_GUARD__ENABELD="1")
    assert (answer.returncode, "enabeld" in answer.stderr) == (2, True)


def test_a_command_that_is_mistyped_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    answer = kt(tmp_path, "aprove", "x")
    assert (answer.returncode, "Did you mean `kt approve`?" in answer.stderr) == (2, True)
    assert "Did you mean" not in kt(tmp_path, "qqq").stderr


def test_an_incident_that_is_not_there_is_told(tmp_path: Path) -> None:
    for command in (["incidents", "show", "x"], ["approve", "x"], ["reject", "x", "--why", "no"]):
        answer = kt(tmp_path, *command)
        assert (answer.returncode, "kt incidents list" in answer.stderr) == (2, True)
    assert json.loads(kt(tmp_path, "incidents", "list", "--json").stdout) == []


def test_a_store_that_is_away_is_told(tmp_path: Path) -> None:
    answer = kt(tmp_path, "incidents", "list", KT_STORE__KIND="neo4j", KT_STORE__URI="bolt://127.0.0.1:1")
    assert (answer.returncode, "Neo4j" in answer.stderr) == (1, True)
