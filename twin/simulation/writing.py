"""What containers write: a line when they begin to serve, and one for each answer that fails, with the reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from twin.api import budgets
from twin.objects import Object, Store

KEPT = 2000
"""Lines of a container; the oldest go, as when its file is rotated."""
FAILED, CALLED, WAITED = "500 failed", "502 next service answered 500 Internal Server Error", "503 gave up waiting"
"""Why an answer fails: by its own doing, by that of what it calls, for want of a free place."""


class Line(NamedTuple):
    at: datetime
    text: str


class Writing:
    """The lines of the present run of each pod's container, by the pod's uid."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Line]] = {}
        self._due: dict[tuple[str, str], float] = {}

    def step(self, store: Store, failing: Mapping[tuple[str, str], float], dt: float, now: datetime) -> None:
        """`failing`: (uid, reason) → answers a second. What comes to less than a line is carried over."""
        pods = {pod["metadata"]["uid"]: pod for pod in store.all("Pod")}
        for gone in self._lines.keys() - pods.keys():
            del self._lines[gone]
        for uid, pod in pods.items():
            if uid not in self._lines and budgets.ready(pod):
                container = pod["spec"]["containers"][0]
                text = f"{container['name']} serves with image {container['image']}"
                self._lines[uid] = deque([Line(now, text)], KEPT)
        due = {key: self._due.get(key, 0.0) + rate * dt for key, rate in failing.items()}
        self._due = {key: count % 1.0 for key, count in due.items()}
        for (uid, reason), count in due.items():
            lines, many = self._lines.get(uid), int(count)
            if lines is not None:
                begun = now - timedelta(seconds=dt)
                lines.extend(
                    Line(begun + timedelta(seconds=dt * number / many), f"ERROR GET /: {reason}")
                    for number in range(1, many + 1)
                )

    def of(self, pod: Object) -> list[Line]:
        """What its container wrote, the oldest first."""
        return sorted(self._lines.get(pod["metadata"]["uid"], ()))


def last_words(pod: Object) -> list[Line] | None:
    """What the run before the present one ended with; None when there was none."""
    for each in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = (each.get("lastState") or {}).get("terminated")
        if ended is not None:
            at = datetime.fromisoformat(ended["finishedAt"])
            return [Line(at, f"fatal: {ended['reason']}, exit code {ended['exitCode']}")]
    return None
