"""Experiments in a process of their own, with the real Chaos Toolkit: ended early, killed, undone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import told_of
from verify import plain, progress, runner
from verify.judge import judge


def shell(name: str, line: str, **more: Any) -> dict[str, Any]:
    provider = {"type": "process", "path": "sh", "arguments": ["-c", line]}
    return {"type": "action", "name": name, "provider": provider, **more}


def experiment(folder: Path, *method: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": "t",
        "description": "d",
        "method": list(method),
        "rollbacks": [shell("undo", f"echo undone >> {folder / 'undone'}; rm -f {folder / 'disturbed'}")],
    }


def run(home: Path, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    file = home / "x.json"
    file.write_text(json.dumps(content))
    return runner.run_file(file, content, home / "work", environment={}, **{"timeout_s": 60, **more})


def disturb(folder: Path, seconds: float) -> str:
    return f"echo x >> {folder / 'disturbed'}; sleep {seconds}"


def once_disturbed(folder: Path, why: str) -> Any:
    return lambda: why if (folder / "disturbed").exists() else ""


def test_a_run_tells_its_steps_while_it_goes(tmp_path: Path) -> None:
    journal = run(tmp_path, experiment(tmp_path, shell("one", "true"), shell("two", "true", background=True)))
    steps = progress.read(tmp_path / "work" / runner.PROGRESS)
    assert (journal["status"], steps.begun, steps.rolled_back(1), steps.rolled_back(2)) == (
        "completed", True, True, False,
    )  # fmt: skip
    assert sorted((each["activity"]["name"], each["status"]) for each in steps.run()) == [
        ("one", "succeeded"), ("two", "succeeded"),
    ]  # fmt: skip


def test_told_to_leave_once_more_in_the_middle_of_its_rollbacks_it_goes_on_with_them(tmp_path: Path) -> None:
    # As the kernel does for each thread of a worker that is killed.
    content = experiment(tmp_path, shell("disturb", f"kill -USR1 $PPID; {disturb(tmp_path, 60)}"))
    undo = content["rollbacks"][0]["provider"]["arguments"]
    undo[1] = f"kill -USR1 $PPID; sleep 0.2; {undo[1]}"
    journal = run(tmp_path, content)
    assert (journal["status"], (tmp_path / "undone").read_text()) == ("interrupted", "undone\n")
    assert not (tmp_path / "disturbed").exists()


@pytest.mark.parametrize("background", [False, True])
def test_one_that_is_asked_to_end_rolls_back_and_leaves_no_process(tmp_path: Path, background: bool) -> None:
    lasts = shell("disturb", disturb(tmp_path, 60), background=background)
    content = experiment(tmp_path, lasts, shell("wait", "sleep 60"))
    journal = run(tmp_path, content, stop=once_disturbed(tmp_path, "enough"))
    assert (judge(journal).outcome, journal["failure"]) == ("aborted", "enough")
    assert [each["status"] for each in journal["rollbacks"]] == ["succeeded"]
    assert (tmp_path / "undone").read_text() == "undone\n"
    assert runner.end_processes(tmp_path / "work") == 0


def test_what_was_ended_is_gone_when_that_is_told(tmp_path: Path) -> None:
    children = 30
    # Forks without exec: what they have in their environment is there at once.
    forks = f"import os, signal; [os.fork() or signal.pause() for _ in range({children})]"
    forks += "; print(flush=True); signal.pause()"
    marked = {**os.environ, runner.MARK: str(tmp_path.resolve())}
    with subprocess.Popen([sys.executable, "-c", forks], env=marked, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert runner.end_processes(tmp_path) == children + 1
        assert runner.end_processes(tmp_path) == 0


def test_a_python_activity_does_not_swallow_the_end(tmp_path: Path) -> None:
    """SIGTERM would be taken for a failure of the activity, and the next one would run."""
    (tmp_path / "own.py").write_text(
        "import pathlib, time\ndef wait(file):\n    pathlib.Path(file).touch()\n    time.sleep(60)\n"
    )
    provider = {"type": "python", "module": "own", "func": "wait", "arguments": {"file": str(tmp_path / "disturbed")}}
    waits = {"type": "action", "name": "wait", "provider": provider}
    content = experiment(tmp_path, waits, shell("next", f"touch {tmp_path / 'next'}"))
    journal = run(tmp_path, content, folder=tmp_path, stop=once_disturbed(tmp_path, "enough"))
    assert (journal["status"], len(journal["rollbacks"])) == ("interrupted", 1)
    assert not (tmp_path / "next").exists()


def test_one_that_takes_too_long_is_stopped_and_rolled_back(tmp_path: Path) -> None:
    journal = run(tmp_path, experiment(tmp_path, shell("disturb", disturb(tmp_path, 60))), timeout_s=3)
    assert "longer than 3 s" in journal["failure"]
    assert judge(journal).outcome == "aborted"
    assert not (tmp_path / "disturbed").exists()


def test_one_whose_process_dies_is_undone_by_another(tmp_path: Path) -> None:
    def kill_it() -> str:
        if (tmp_path / "disturbed").exists():
            for pid in told_of("cmdline", f"--journal-path={tmp_path / 'work' / 'journal.json'}".encode()):
                os.kill(pid, signal.SIGKILL)
        return ""

    journal = run(tmp_path, experiment(tmp_path, shell("disturb", disturb(tmp_path, 2))), stop=kill_it)
    assert "exit code -9" in journal["failure"]
    assert [(each["activity"]["name"], each["status"]) for each in journal["rollbacks"]] == [("undo", "succeeded")]
    assert [each["activity"]["name"] for each in journal["run"]] == ["disturb"]
    assert not (tmp_path / "disturbed").exists()


def test_one_that_chaos_toolkit_refuses_disturbs_nothing_and_rolls_back_nothing(tmp_path: Path) -> None:
    journal = run(tmp_path, experiment(tmp_path, shell("a", "true")) | {"title": ""})
    assert (journal["status"], "requires a title" in journal["failure"]) == ("refused", True)
    assert not (tmp_path / "undone").exists()


def test_rollbacks_alone_run_even_when_one_of_them_fails(tmp_path: Path) -> None:
    content = experiment(tmp_path)
    slow = shell("slow", "sleep 5")
    slow["provider"]["timeout"] = 0.1
    content["rollbacks"].insert(0, slow)
    journal = runner.undo(plain.undoing(content), tmp_path / "undo", environment={})
    assert [each["status"] for each in journal["rollbacks"]] == ["failed", "succeeded"]
    assert (tmp_path / "undone").exists()


def test_a_line_that_was_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    line = b'{"what":"begun","at":"2026-01-01T00:00:00Z","name":"a","kind":"action","status":""}\n'
    (tmp_path / "p").write_bytes(line + line[:20])
    assert [step.name for step in progress.read(tmp_path / "p").steps] == ["a"]
    assert progress.read(tmp_path / "none").steps == ()
