"""How far a run is, told from inside: a control of Chaos Toolkit that notes each step in a file as it happens.

`chaos run --control-file` loads it beside the controls that an experiment has of its own; the experiment stays as it
is. The journal of Chaos Toolkit exists only once a run has ended; this is there when its process was killed.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import msgspec

LEAVE = 20
"""With this code Chaos Toolkit leaves an experiment and runs its rollbacks (chaoslib.exit)."""
What = Literal["method", "rollbacks", "begun", "done"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the file: the method or the rollbacks begin, or one activity begins or is done."""

    what: What
    at: datetime
    name: str = ""
    kind: str = ""
    """Of an activity: `action` or `probe`."""
    status: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of one run so far."""

    steps: tuple[Step, ...] = ()

    @property
    def begun(self) -> bool:
        """Whether anything may have been disturbed."""
        return any(step.what == "method" for step in self.steps)

    @property
    def rolling_back(self) -> bool:
        return any(step.what == "rollbacks" for step in self.steps)

    def rolled_back(self, declared: int) -> bool:
        """Whether all of the `declared` rollbacks came to their end."""
        return self.rolling_back and sum(step.what == "done" for step in self._after()) >= declared

    def run(self) -> list[dict[str, Any]]:
        """What the journal would say of the method, as far as it is known."""
        found: list[dict[str, Any]] = []
        in_method = False
        for step in self.steps:
            if step.what in ("method", "rollbacks"):
                in_method = step.what == "method"
            elif in_method and step.what == "begun":
                found.append({"activity": {"name": step.name, "type": step.kind}, "start": step.at.isoformat()})
            elif in_method:
                open_ = [each for each in found if each["activity"]["name"] == step.name and "status" not in each]
                if open_:
                    open_[0] |= {"status": step.status, "end": step.at.isoformat()}
        return found

    def _after(self) -> tuple[Step, ...]:
        first = next((number for number, step in enumerate(self.steps) if step.what == "rollbacks"), len(self.steps))
        return self.steps[first:]


def read(path: Path) -> Progress:
    """What was noted there; nothing when the file is not there. A line that was cut off by a kill is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return Progress()
    steps = []
    for line in lines:
        try:
            steps.append(msgspec.json.decode(line, type=Step))
        except msgspec.DecodeError:
            break
    return Progress(steps=tuple(steps))


def control_file(folder: Path, noted_in: Path) -> Path:
    """Write the file by which `chaos run` loads this control."""
    path = folder / "controls.json"
    provider = {"type": "python", "module": __name__, "arguments": {"noted_in": str(noted_in)}}
    path.write_text(json.dumps({"kt-progress": {"provider": provider}}))
    return path


def before_method_control(context: Any, noted_in: str) -> None:
    _leave_once()
    _note(noted_in, "method")


def before_rollback_control(context: Any, noted_in: str) -> None:
    _note(noted_in, "rollbacks")


def before_activity_control(context: Mapping[str, Any], noted_in: str) -> None:
    _note(noted_in, "begun", context)


def after_activity_control(context: Mapping[str, Any], noted_in: str, state: Any = None) -> None:
    """`state`: the entry of the journal; an activity that was interrupted has none, and is not done."""
    status = state.get("status") if isinstance(state, dict) else None
    if status:
        _note(noted_in, "done", context, str(status))


def _leave_once() -> None:
    """The first SIGUSR1 ends the method and turns to the rollbacks; one that comes later must not cut these short.

    When a worker is killed, the kernel sends one for each of its threads that the run is handed on to (prctl(2),
    PR_SET_PDEATHSIG).
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    # Not SIG_IGN, which the processes of rollbacks would inherit.
    signal.signal(signal.SIGUSR1, lambda *_: None)
    raise SystemExit(LEAVE)


def _note(noted_in: str, what: What, activity: Mapping[str, Any] | None = None, status: str = "") -> None:
    of = activity or {}
    step = Step(
        what=what, at=datetime.now(UTC), name=str(of.get("name", "")), kind=str(of.get("type", "")), status=status
    )
    # One write to a file opened for appending: lines of activities in the background do not mix.
    file = os.open(noted_in, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, msgspec.json.encode(step) + b"\n")
    finally:
        os.close(file)
