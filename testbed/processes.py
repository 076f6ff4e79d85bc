"""Start, find and end the testbed's processes.

A process is remembered by its id and its start time, so that an id given to another process later is never mistaken for
ours, and nothing is ever ended by name. It is detached from the caller: it lives on after `python -m testbed up`.
"""

import os
import random
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx
import msgspec

from testbed import places
from testbed.errors import TestbedError


class Process(msgspec.Struct, frozen=True):
    """One running process: what to call it, its id, and its start time in clock ticks since boot."""

    name: str
    pid: int
    started: int


def _folder() -> Path:
    return places.state() / "processes"


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process, or None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def log_path(name: str) -> Path:
    """The log of a process."""
    return places.state() / "logs" / f"{name}.log"


def find(name: str) -> Process | None:
    """The remembered process of that name, if it lives."""
    try:
        process = msgspec.json.decode((_folder() / f"{name}.json").read_bytes(), type=Process)
    except OSError:
        return None
    return process if alive(process) else None


def known() -> list[str]:
    """Names of all remembered processes, the last started first."""
    files = sorted(_folder().glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path.stem for path in files]


def alive(process: Process) -> bool:
    """True while the very process runs; a zombie does not."""
    stat = _stat(process.pid)
    return stat is not None and stat[0] not in "ZX" and stat[1] == process.started


def start(
    name: str, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Process:
    """Start `argv` detached, in its own session, its output appended to its log."""
    log = log_path(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    _folder().mkdir(parents=True, exist_ok=True)
    # The shell in between hands the process to init: no zombie stays with a long-lived caller such as pytest.
    command = f"{shlex.join(str(word) for word in argv)} </dev/null >>{shlex.quote(str(log))} 2>&1 & echo $!"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
        cwd=cwd or places.state(),
        env={**os.environ, **(env or {})},
    )
    pid = int(done.stdout)
    stat = _stat(pid)
    if stat is None:
        raise TestbedError(f"{name} ended at once; its log: {log}\n{tail(name)}")
    process = Process(name, pid, stat[1])
    (_folder() / f"{name}.json").write_bytes(msgspec.json.encode(process))
    return process


def stop(name: str, *, grace: float = 10.0, kill: bool = False) -> None:
    """End a process (SIGTERM, then SIGKILL after `grace` seconds; at once with `kill`) and forget it."""
    process = find(name)
    if process is not None:
        if not kill:
            _signal(process, signal.SIGTERM)
            _signal(process, signal.SIGCONT)
            gone = _gone_within(process, grace)
        if kill or not gone:
            _signal(process, signal.SIGKILL)
            _gone_within(process, 10.0)
    (_folder() / f"{name}.json").unlink(missing_ok=True)


def send(name: str, number: signal.Signals) -> None:
    """Send a signal to a process of the testbed."""
    process = find(name)
    if process is None:
        raise TestbedError(f"{name} does not run")
    _signal(process, number)


def _signal(process: Process, number: signal.Signals) -> None:
    if alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def _gone_within(process: Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait(what: str, condition: Callable[[], bool], *, seconds: float, of: str | None = None) -> None:
    """Wait until `condition` holds; TestbedError when it does not in time or process `of` dies meanwhile."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not condition():
        if of is not None and find(of) is None:
            raise TestbedError(f"{of} ended while waiting for {what}; its log: {log_path(of)}\n{tail(of)}")
        if time.monotonic() > deadline:
            end = f"; log: {log_path(of)}\n{tail(of)}" if of else ""
            raise TestbedError(f"{what}: not within {seconds:g} s{end}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def answers(url: str) -> bool:
    """Whether a GET is answered 200; a condition for `wait`."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def tail(name: str, lines: int = 15) -> str:
    """The last lines of a process's log."""
    try:
        return "\n".join(log_path(name).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def free_ports(count: int) -> list[int]:
    """That many TCP ports that nobody listens on now.

    Below the range from which outgoing connections and NodePorts take theirs, so that a restart finds its port free.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(21000, 29900)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("0.0.0.0", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def run(argv: Sequence[str | Path], *, seconds: float = 60, cwd: Path | None = None, stdin: str | None = None) -> str:
    """Run a command to its end and return its output; TestbedError with what it said when it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, cwd=cwd, input=stdin, check=False)
    except FileNotFoundError as problem:
        raise TestbedError(f"command not found: {words[0]}") from problem
    except subprocess.TimeoutExpired as problem:
        raise TestbedError(f"{shlex.join(words)}: not done within {seconds:g} s") from problem
    if done.returncode != 0:
        raise TestbedError(f"{shlex.join(words)} failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout
