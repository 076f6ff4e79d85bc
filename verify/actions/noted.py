"""What was disturbed on this machine, noted before it is: so any process of the same user can take it back.

A note is a file of its own, synced to disk before the effect. Beside it a process is started that takes the disturbance
back when its time is over, whatever became of the run (`python -m verify.actions.noted NAME`); it ends when the note is
gone. What somebody else has changed since is left alone, and taking back twice does nothing the second time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

from verify.actions.changing import failed

LONGEST_S = 3600.0
POLL_S = 0.2
OF_A_RUN = "KT_RUN_MARK"
"""By it KT ends what a run has left; the keeper of a note has to outlive the run."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """How to take a disturbance back."""

    kind: Literal["process", "room", "file"]
    until: float
    """When it is taken back at the latest, in seconds since 1970."""
    pid: int = 0
    started: str = ""
    """When the process was started, as the kernel counts: another one may have its number later."""
    path: str = ""
    set_to: str = ""
    """SHA-256 of what was written into the file."""


def note(name: str, seconds: float, kept: bytes | None = None, **fields: Any) -> None:
    """Note what is about to be disturbed, and have it taken back after `seconds`. Raises `ActivityFailed`.

    `kept`: what a file holds now.
    """
    if not 0 < float(seconds) <= LONGEST_S:
        raise failed(f"seconds is {seconds}; expected is more than 0 and at most {LONGEST_S:.0f}")
    place = _place(name)
    if place.exists():
        raise failed(f"“{name}” is disturbed already ({place}); restore_here takes it back")
    if kept is not None:
        _write(_kept(name), kept)
    _write(place, msgspec.json.encode(Note(until=time.time() + float(seconds), **fields)))
    environment = {key: value for key, value in os.environ.items() if key != OF_A_RUN}
    subprocess.Popen(
        [sys.executable, "-m", "verify.actions.noted", name], env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def restore_here(name: str) -> dict[str, Any]:
    """Take back what was disturbed on this machine under this name, from any process; nothing is an answer too."""
    found = _read(name)
    if found is None:
        return {"restored": []}
    if found.kind == "process":
        done = _continue(found)
    elif found.kind == "room":
        done = _remove(Path(found.path))
    else:
        done = _put_back(Path(found.path), _kept(name), found.set_to)
    _place(name).unlink(missing_ok=True)
    _kept(name).unlink(missing_ok=True)
    return {"restored": [done] if done else []}


def started_at(pid: int) -> str:
    """When a process was started, as the kernel counts; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def overwrite(path: Path, content: bytes) -> None:
    """Write into a file as it stands: its owner and mode stay, and so does a mount on it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        # One call: whoever is killed meanwhile has written nothing or all of it.
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.EFBIG, f"{path} is not written whole")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _continue(found: Note) -> str:
    if not found.started or started_at(found.pid) != found.started:
        return ""
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGCONT)
    return f"process {found.pid}"


def _remove(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        return str(path)
    return ""


def _put_back(path: Path, kept: Path, set_to: str) -> str:
    try:
        now, before = path.read_bytes(), kept.read_bytes()
    except FileNotFoundError:
        return ""
    # Empty: whoever disturbed it was killed before the new content was there.
    if now and digest(now) != set_to:
        return ""
    overwrite(path, before)
    return str(path)


def _place(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise failed(f"“{name}” is no name for a disturbance; letters, digits, dots, dashes and underscores make one")
    folder = Path(tempfile.gettempdir()) / f"kt-chaos-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    stands = folder.lstat()
    if folder.is_symlink() or stands.st_uid != os.getuid() or stands.st_mode & 0o077:
        raise failed(f"{folder} can be written by others, so nothing is noted there; remove it")
    return folder / f"{name}.json"


def _kept(name: str) -> Path:
    return _place(name).with_suffix(".kept")


def _read(name: str) -> Note | None:
    try:
        return msgspec.json.decode(_place(name).read_bytes(), type=Note)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise failed(f"the note of “{name}” cannot be read: {error}") from error


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and on the disk."""
    half = path.with_name(f"{path.name}.{os.getpid()}")
    with half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep(name: str) -> None:
    """Wait until a note is gone or its time is over; then take its disturbance back."""
    mine = _read(name)
    while mine is not None and _read(name) == mine:
        if time.time() >= mine.until:
            restore_here(name)
            return
        time.sleep(POLL_S)


if __name__ == "__main__":
    _keep(sys.argv[1])
