"""`kt diagnose` as its users call it: on the examples of the docs, and on wrong input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def kt(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from kt.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def files(**other: Path) -> list[str | Path]:
    names = {name: EXAMPLES / f"{name}.json" for name in ("topology", "alerts", "changes")} | other
    return [part for name, path in names.items() for part in (f"--{name}", path)]


def test_the_example_of_the_docs_names_the_rollout() -> None:
    answer = kt("diagnose", *files(), "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    best = found["hypotheses"][0]
    assert (best["entity"], best["fault"], best["explains"]) == ("deploy/cart", "Workload.BadRevision", ["c1", "f1"])
    assert best["paths"][1][0] == "deploy/cart"
    assert best["paths"][1][-1] == "svc/front"
    assert len(found["hypotheses"]) >= 5
    assert (found["unexplained"], found["unmapped"], found["causes"]) == ([], [], [0])


def test_a_person_reads_cause_path_and_evidence() -> None:
    answer = kt("diagnose", *files())
    assert "Workload.BadRevision of deploy/cart" in answer.stdout
    assert "svc/cart → svc/front" in answer.stdout
    assert "rollout of deploy/cart 25 s before the first symptom" in answer.stdout


def test_several_payloads_may_come_in_one_file(tmp_path: Path) -> None:
    one = json.loads((EXAMPLES / "alerts.json").read_text())
    (tmp_path / "two.json").write_text(json.dumps([one, {**one, "alerts": []}]))
    assert json.loads(kt("diagnose", *files(alerts=tmp_path / "two.json"), "--json").stdout)["causes"] == [0]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("topology", "{", "not JSON"),
        ("topology", '{"entities": []}', "relations"),
        ("topology", '{"entities": [{"id": "a"}], "relations": []}', r"$.entities[0]"),
        ("topology", '{"entities": [], "relations": [{"source": "a", "target": "b", "kind": "OWNS"}]}', "relations[0]"),
        ("alerts", '{"version": "3", "alerts": []}', 'version "3"'),
        ("alerts", "[1]", "payload 1"),
        ("changes", '[{"entity": "a", "at": "soon", "kind": "rollout"}]', r"$[0].at"),
    ],
)
def test_wrong_input_is_told_with_file_and_place(tmp_path: Path, name: str, content: str, says: str) -> None:
    file = tmp_path / f"{name}.json"
    file.write_text(content)
    answer = kt("diagnose", *files(**{name: file}))
    assert answer.returncode == 2
    assert says in answer.stderr
    assert str(file) in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_missing_file_is_told() -> None:
    answer = kt("diagnose", *files(alerts=Path("none.json")))
    assert (answer.returncode, "none.json cannot be read" in answer.stderr) == (2, True)


def test_help_answers_for_every_command() -> None:
    for command in ("serve", "worker", "beat", "incidents", "approve", "reject", "diagnose", "doctor"):
        assert kt(command, "--help").returncode == 0
    assert kt("nonsense").returncode == 2
