"""Runs an experiment with Chaos Toolkit in a process of its own and brings back its journal."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
ROLLBACK_TIME_S = 15.0
"""After a time-out the experiment is asked to stop and gets this long for its rollbacks before it is ended."""


def run(
    experiment: Mapping[str, Any], workdir: Path, *, timeout_s: float, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The journal of one run. A run that leaves none gives one with `status` aborted and why."""
    workdir.mkdir(parents=True, exist_ok=True)
    file, journal, output = workdir / "experiment.json", workdir / "journal.json", workdir / "output.log"
    file.write_text(json.dumps(experiment, indent=2))
    journal.unlink(missing_ok=True)
    options = ["--rollback-strategy=always", f"--journal-path={journal}"]
    command = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--no-log-file", "run", *options, str(file)]
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=workdir,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        timed_out = _wait(process, timeout_s)
    try:
        found: dict[str, Any] = json.loads(journal.read_text())
    except (OSError, ValueError):
        why = f"the experiment left no journal (exit code {process.returncode}): {_tail(output)}"
        return {"status": "aborted", "failure": why, "experiment": dict(experiment)}
    if timed_out:
        found["failure"] = f"it took longer than {timeout_s:.0f} s and was stopped"
    return found


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for the end; True when it had to be asked for."""
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(ROLLBACK_TIME_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return True
    return False


def _end_with_parent() -> None:
    """A worker that is killed takes its experiment along: Chaos Toolkit stops on SIGTERM and rolls back."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _tail(output: Path) -> str:
    try:
        return output.read_text(errors="replace")[-400:].strip()
    except OSError:
        return ""
