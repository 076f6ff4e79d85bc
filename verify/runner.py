"""Runs experiments with Chaos Toolkit in a process of their own, brings back the journal, undoes what a dead one left.

A run is asked to end by SIGUSR1, the signal by which Chaos Toolkit leaves at once *with* its rollbacks. (SIGTERM
becomes an exception that a Python activity in progress takes for its own failure, after which the run goes on.) One
that does not turn to its rollbacks then, as with a Python activity in the background, is killed, and a new process runs
them.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from verify import plain, progress

PR_SET_PDEATHSIG = 1
POLL_S = 0.1
TURN_TIME_S = 0.5
"""How long a run that was asked to end may take until it turns to its rollbacks; then what it waits for is ended, and
after as long again it is killed."""
ROLLBACK_TIME_S = 15.0
"""How long rollbacks may take once their run was asked to end."""
DEATH_TIME_S = 5.0
"""How long what was killed may take until it is gone."""
MARK = "KT_RUN_MARK"
"""In the environment of all processes of a run: whose they are, also when their parents are gone."""
PROGRESS = "progress.jsonl"
Journal = dict[str, Any]


def run(
    experiment: Mapping[str, Any],
    workdir: Path,
    *,
    timeout_s: float,
    environment: Mapping[str, str],
    stop: Callable[[], str] = lambda: "",
) -> Journal:
    """The journal of one run. A run that leaves none gives one with `status` aborted and why. `stop`: as there."""
    workdir.mkdir(parents=True, exist_ok=True)
    file = workdir / "experiment.json"
    file.write_text(json.dumps(experiment, indent=2))
    return run_file(file, experiment, workdir, timeout_s=timeout_s, environment=environment, stop=stop)


def run_file(
    file: Path,
    experiment: Mapping[str, Any],
    workdir: Path,
    *,
    timeout_s: float,
    environment: Mapping[str, str],
    folder: Path | None = None,
    options: Sequence[str] = (),
    stop: Callable[[], str] = lambda: "",
) -> Journal:
    """As `run`, for a file as its author wrote it; `experiment` is its content.

    `status` is `refused` when Chaos Toolkit found it invalid and did nothing.

    `folder`: where relative paths and modules are looked up (None: `workdir`). `options`: more of `chaos run`.
    `stop` is asked many times a second; the reason that it gives ends the run, with its rollbacks.
    """
    workdir = workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    noted, mark = workdir / PROGRESS, str(workdir)
    noted.unlink(missing_ok=True)
    given = [f"--control-file={progress.control_file(workdir, noted)}", *options]
    process = _start(file, workdir, environment, folder=folder, options=given, mark=mark)
    why = _wait(process, noted, timeout_s, stop, mark)
    found = journal_of(workdir)
    if found is None:
        how_far = progress.read(noted)
        status = "aborted"
        if not why and process.returncode == 1 and not how_far.steps:
            status, why = "refused", f"Chaos Toolkit refused it: {_said(workdir)}"
        why = why or f"the experiment left no journal (exit code {process.returncode}): {_said(workdir)}"
        found = {"status": status, "failure": why, "experiment": dict(experiment), "run": how_far.run()}
        declared = len(experiment.get("rollbacks") or [])
        if how_far.begun and not how_far.rolled_back(declared):
            undone = undo(
                plain.undoing(experiment), workdir / "undo", environment=environment, folder=folder, options=options
            )
            found["rollbacks"] = undone.get("rollbacks", [])
    elif why:
        found["failure"] = why
    return found


def undo(
    rollbacks: plain.Experiment | None,
    workdir: Path,
    *,
    environment: Mapping[str, str],
    folder: Path | None = None,
    options: Sequence[str] = (),
) -> Journal:
    """Run what `plain.undoing` made of an experiment, in a process of its own; the journal of that."""
    if rollbacks is None:
        return {"status": "completed", "rollbacks": []}
    workdir = workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    file = workdir / "experiment.yaml"
    # YAML, since an experiment that was YAML may hold what JSON cannot, such as a date.
    file.write_text(plain.dump(rollbacks))
    noted, mark = workdir / PROGRESS, str(workdir)
    noted.unlink(missing_ok=True)
    # Validation is left out: what it would refuse today must not keep from being undone what it let pass before.
    given = [f"--control-file={progress.control_file(workdir, noted)}", "--no-validation", *options]
    process = _start(file, workdir, environment, folder=folder, options=given, mark=mark)
    why = _wait(process, noted, ROLLBACK_TIME_S * 4, lambda: "", mark)
    why = why or f"the rollbacks left no journal (exit code {process.returncode}): {_said(workdir)}"
    return journal_of(workdir) or {"status": "aborted", "failure": why, "experiment": rollbacks, "rollbacks": []}


def journal_of(workdir: Path) -> Journal | None:
    """What the run in this folder left, if it came to its end."""
    try:
        found = json.loads((workdir / "journal.json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def end_processes(workdir: Path, *, spare: int = 0) -> int:
    """End what is left on this machine of the processes of a run; how many there were. Only Linux can tell.

    When it returns none of them runs, nor what they started meanwhile, unless the kernel could not end one within
    `DEATH_TIME_S`. `spare`: the id of one that goes on.
    """
    mark = f"{MARK}={workdir.resolve()}".encode()
    ended: set[int] = set()
    deadline = time.monotonic() + DEATH_TIME_S
    while (left := _marked(mark) - {spare}) and not _past(deadline):
        ended |= left
        with contextlib.ExitStack() as opened:
            dying = select.poll()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    descriptor = os.pidfd_open(pid)
                    opened.callback(os.close, descriptor)
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    dying.register(descriptor, select.POLLIN)
            # A killed process is still seen for a moment; the first that is gone ends the wait, the next look tells.
            dying.poll(POLL_S * 1000)
    return len(ended)


def _marked(mark: bytes) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in entry.read_bytes().split(b"\0"):
                found.add(int(entry.parent.name))
    return found


def _start(
    file: Path,
    workdir: Path,
    environment: Mapping[str, str],
    *,
    folder: Path | None,
    options: Sequence[str],
    mark: str,
) -> subprocess.Popen[bytes]:
    journal = workdir / "journal.json"
    journal.unlink(missing_ok=True)
    command = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--no-log-file", "--log-format=json", "run"]
    given = ["--rollback-strategy=always", f"--journal-path={journal}", *options]
    with (workdir / "output.log").open("wb") as log:
        return subprocess.Popen(
            [*command, *given, str(file.resolve())],
            cwd=folder or workdir,
            env=plain.surroundings({**environment, MARK: mark}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C at a terminal reaches KT alone, which then ends the run with its rollbacks.
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def _wait(process: subprocess.Popen[bytes], noted: Path, timeout_s: float, stop: Callable[[], str], mark: str) -> str:
    """Wait for the end; why it had to be asked for, empty if it came by itself."""
    deadline = time.monotonic() + timeout_s
    why = ""
    try:
        while process.poll() is None:
            why = stop() or (f"it took longer than {timeout_s:.0f} s and was stopped" if _past(deadline) else "")
            if why:
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)
    finally:
        # Whatever happened to the one who waits, nobody else ends it.
        if process.poll() is None:
            _end(process, noted, mark)
    return why


def _end(process: subprocess.Popen[bytes], noted: Path, mark: str) -> None:
    """Ask for the end, with rollbacks; end it when it does not turn to them in time. Nothing of it stays."""
    if not progress.read(noted).rolling_back:
        # In the middle of rollbacks the signal would cut them short.
        process.send_signal(signal.SIGUSR1)
    turn_by, done_by = time.monotonic() + TURN_TIME_S, time.monotonic() + ROLLBACK_TIME_S
    waits_for_others = True
    while process.poll() is None and not _past(done_by):
        if _past(turn_by) and not progress.read(noted).rolling_back:
            if not waits_for_others:
                break
            # It waits for a process in the background: once that is gone, it turns to its rollbacks by itself, which is
            # quicker than a new one.
            waits_for_others, turn_by = False, time.monotonic() + TURN_TIME_S
            end_processes(Path(mark), spare=process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
    process.kill()
    process.wait()
    end_processes(Path(mark))


def _past(deadline: float) -> bool:
    return time.monotonic() >= deadline


def _end_with_parent() -> None:
    """A worker that is killed takes its experiment along: Chaos Toolkit leaves on SIGUSR1 and rolls back."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1)


def _said(workdir: Path) -> str:
    try:
        return plain.reason((workdir / "output.log").read_text(errors="replace"))
    except OSError:
        return "it said nothing"
