"""What a person meets at `kt chaos`: answers, exit codes, and refusals that teach."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import interruptible, until

ON = {"KT_CHAOS__ENABLED": "true"}


def environment(folder: Path, given: dict[str, str]) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KT_")}
    return clean | {"KT_DATA_DIR": str(folder / "data"), "KUBECONFIG": str(folder / "none")} | given


def kt(folder: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from kt.cli import main; main()", "chaos", *arguments]
    answer = subprocess.run(
        command, env=environment(folder, given), cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in answer.stderr
    return answer


def written(folder: Path, *, tolerance: int = 0, line: str = "true", name: str = "x.json", **more: Any) -> str:
    def process(path: str, *arguments: str) -> dict[str, Any]:
        return {"type": "process", "path": path, "arguments": list(arguments)}

    content: dict[str, Any] = {
        "title": "Does it stand?",
        "description": "d",
        "steady-state-hypothesis": {
            "title": "s",
            "probes": [{"type": "probe", "name": "p", "tolerance": tolerance, "provider": process("true")}],
        },
        "method": [{"type": "action", "name": "act", "provider": process("sh", "-c", line)}],
        "rollbacks": [{"type": "action", "name": "undo", "provider": process("touch", str(folder / "undone"))}],
    }
    (folder / name).write_text(json.dumps(content | more))
    return name


def test_a_schedule_is_added_listed_paused_resumed_and_removed(tmp_path: Path) -> None:
    file = written(tmp_path)
    added = kt(tmp_path, "schedule", "add", file, "--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--json")
    assert added.returncode == 0, added.stderr
    one = json.loads(added.stdout)
    assert (one["name"], one["zone"], one["missed"]) == ("Does it stand?", "Europe/Berlin", "skip")
    assert json.loads(kt(tmp_path, "schedule", "list", "--json").stdout) == [one]
    again = kt(tmp_path, "schedule", "add", file, "--cron", "30 2 * * *")
    assert (again.returncode, "--name" in again.stderr) == (2, True)
    assert json.loads(kt(tmp_path, "schedule", "pause", one["id"], "--json").stdout)["due_at"] is None
    assert json.loads(kt(tmp_path, "schedule", "resume", one["name"], "--json").stdout)["due_at"] == one["due_at"]
    shown = json.loads(kt(tmp_path, "schedule", "show", one["name"], "--json").stdout)
    assert shown["experiment"] == (tmp_path / file).read_text()
    assert kt(tmp_path, "schedule", "remove", one["name"]).returncode == 0
    assert json.loads(kt(tmp_path, "schedule", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("options", "more", "says"),
    [
        (["--cron", "30 2 * *"], {}, "has 4 fields"),
        (["--cron", "30 25 * * *"], {}, "hour"),
        (["--cron", "30 2 * * *", "--tz", "Berlin"], {}, "Europe/Berlin"),
        (["--cron", "30 2 * * *", "--var", "a:int=x"], {}, "KEY=VALUE"),
        (["--cron", "30 2 * * *"], {"title": ""}, "x.json: experiment requires a title"),
        (["--cron", "30 2 * * *"], {"method": "all"}, "method must be a list"),
        (["--cron", "30 2 * * *"], {"secrets": {"a": {"b": {"type": "env", "key": "NOWHERE"}}}}, "NOWHERE"),
    ],
)
def test_what_is_broken_is_refused_with_its_reason(
    tmp_path: Path, options: list[str], more: dict[str, Any], says: str
) -> None:
    answer = kt(tmp_path, "schedule", "add", written(tmp_path, **more), *options)
    assert (answer.returncode, says in answer.stderr) == (2, True), answer.stderr
    assert json.loads(kt(tmp_path, "schedule", "list", "--json").stdout) == []


def test_only_a_run_that_held_ends_with_zero(tmp_path: Path) -> None:
    held = kt(tmp_path, "run", written(tmp_path), **ON)
    assert held.returncode == 0, held.stderr
    assert "✓ action act" in held.stdout
    not_steady = kt(tmp_path, "run", written(tmp_path, tolerance=1), "--json", **ON)
    assert (not_steady.returncode, json.loads(not_steady.stdout)["outcome"]) == (1, "inconclusive")
    dry = kt(tmp_path, "run", written(tmp_path), "--dry", "actions", "--json", **ON)
    assert (dry.returncode, "dry run" in json.loads(dry.stdout)["why"]) == (1, True)
    off = kt(tmp_path, "run", written(tmp_path), "--json")
    assert (off.returncode, json.loads(off.stdout)["outcome"]) == (1, "refused")
    history = json.loads(kt(tmp_path, "history", "--json").stdout)
    assert [each["outcome"] for each in history] == ["refused", "inconclusive", "inconclusive", "held"]
    shown = kt(tmp_path, "show", history[-1]["id"])
    assert "Steady state after: met" in shown.stdout
    assert "Rollbacks" in shown.stdout


def test_ctrl_c_ends_a_run_with_its_rollbacks(tmp_path: Path) -> None:
    file = written(tmp_path, line=f"touch {tmp_path / 'disturbed'}; sleep 60")
    command = [sys.executable, "-c", "from kt.cli import main; main()", "chaos", "run", file]
    around = environment(tmp_path, ON)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=around, cwd=tmp_path, stdout=pipe, text=True, preexec_fn=interruptible) as run:
        until((tmp_path / "disturbed").exists, "the action is on")
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=60)
    assert (run.returncode, "with Ctrl-C; its rollbacks ran" in output) == (1, True), output
    assert (tmp_path / "undone").exists()


def test_names_that_nobody_has_are_told(tmp_path: Path) -> None:
    for command in (["schedule", "show", "x"], ["schedule", "remove", "x"], ["run", "x"]):
        answer = kt(tmp_path, *command)
        assert (answer.returncode, "kt chaos schedule list" in answer.stderr) == (2, True)
    for command in (["show", "x"], ["abort", "x"]):
        answer = kt(tmp_path, *command)
        assert (answer.returncode, "kt chaos history" in answer.stderr) == (2, True)
