"""Whether KT is stopped, as everything that disturbs or repairs asks it, also in the middle of its work."""

from __future__ import annotations

import time

from kt.incident.log import LogUnavailable
from kt.pipeline.journey import Held
from remediate.brakes import Brakes

ASK_EVERY_S = 0.25


def halted(brakes: Brakes) -> str:
    """Who has stopped KT and why, in words; empty while it may go on. Raises `LogUnavailable`."""
    stop = brakes.stopped()
    if stop is None:
        return ""
    return f"{stop.by} has stopped KT{': ' + stop.why if stop.why else ''}"


class Halt:
    """Asked many times a second whether an experiment has to end; asks the store four times a second at most."""

    def __init__(self, brakes: Brakes, lease: Held) -> None:
        self._brakes, self._lease = brakes, lease
        self._asked_at = 0.0

    def __call__(self) -> str:
        if self._lease.lost.is_set():
            return "the lease of the incident was lost"
        now = time.monotonic()
        if now - self._asked_at < ASK_EVERY_S:
            return ""
        self._asked_at = now
        try:
            return halted(self._brakes)
        except LogUnavailable:
            # The lease, kept in the same store, is what ends it when that stays away.
            return ""
