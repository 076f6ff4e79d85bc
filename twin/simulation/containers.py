"""How a container fares over time: it starts, serves, fills its memory, hangs, ends, and is started again.

What it does is in its environment, as a program's behaviour is in its configuration: START_S until it is ready;
CRASH_AFTER_S it runs and then ends with an error, CRASH_TIMES at most; LEAK_S it takes to fill its memory, at which it
is ended; from HANG_AFTER_S on it answers no more; BUSY is the share of its processor limit that it uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

BACK_OFF_S, MOST_BACK_OFF_S, FORGIVEN_S = 10.0, 300.0, 600.0
"""The kubelet's: doubled with every end, up to a limit, and forgotten when it ran for so long (Kubernetes docs, pod
lifecycle: container restarts)."""
START_S = 2.0
IDLE = 0.05
KNOBS = ("START_S", "CRASH_AFTER_S", "CRASH_TIMES", "LEAK_S", "HANG_AFTER_S", "BUSY")


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """A container as it is now."""

    running: bool
    ready: bool
    restarts: int
    since_s: float
    """For how long it has been running, or waiting."""
    ended: str = ""
    """Why it ended last: Error, OOMKilled; empty when it never did."""
    cpu: float = 0.0
    memory: float = 0.0
    """Shares of its limits that it uses."""


def life(knobs: Mapping[str, str], age_s: float) -> Life:
    """`age_s`: since it was placed on its node."""
    start, crash_after = float(knobs.get("START_S", START_S)), float(knobs.get("CRASH_AFTER_S", "inf"))
    times, leak = float(knobs.get("CRASH_TIMES", "inf")), float(knobs.get("LEAK_S", "inf"))
    begun, back_off, restarts, ended = 0.0, BACK_OFF_S, 0, ""
    while True:
        crash = crash_after if restarts < times else float("inf")
        lasts, why = min((crash, "Error"), (leak, "OOMKilled"))
        if begun + lasts > age_s:
            return _running(knobs, age_s - begun, restarts, ended, start, leak)
        restarts, ended = restarts + 1, why
        back_off = BACK_OFF_S if lasts >= FORGIVEN_S else back_off
        begun += lasts
        if begun + back_off > age_s:
            return Life(running=False, ready=False, restarts=restarts - 1, since_s=age_s - begun, ended=ended)
        begun, back_off = begun + back_off, min(back_off * 2, MOST_BACK_OFF_S)


def _running(knobs: Mapping[str, str], for_s: float, restarts: int, ended: str, start: float, leak: float) -> Life:
    hangs = for_s >= float(knobs.get("HANG_AFTER_S", "inf"))
    memory = 0.4 if leak == float("inf") else 0.3 + 0.7 * for_s / leak
    return Life(
        running=True, ready=for_s >= start and not hangs, restarts=restarts, since_s=for_s, ended=ended,
        cpu=IDLE if hangs or for_s < start else float(knobs.get("BUSY", 0.3)), memory=memory,
    )  # fmt: skip


def status(container: Mapping[str, Any], now_life: Life, stamp_of: Any) -> dict[str, Any]:
    """Its entry in the pod's containerStatuses. `stamp_of`: seconds ago → a time as the API writes it."""
    began = stamp_of(now_life.since_s)
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    found: dict[str, Any] = {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"],
        "ready": now_life.ready,
        "restartCount": now_life.restarts,
        "state": {"running": {"startedAt": began}} if now_life.running else waiting,
    }
    if now_life.ended:
        code = 137 if now_life.ended == "OOMKilled" else 1
        # A run ends where the back-off before the present one began; close enough, it is asked for in minutes.
        found["lastState"] = {"terminated": {"reason": now_life.ended, "exitCode": code, "finishedAt": began}}
    return found


def knobs_of(container: Mapping[str, Any]) -> dict[str, str]:
    given = {each["name"]: each.get("value", "") for each in container.get("env") or []}
    return {key: given[key] for key in KNOBS if key in given}
