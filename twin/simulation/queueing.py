"""The law of a queue in front of slots: what waits, what gives up, how long an answer takes.

Slots that are each busy for `held` seconds with a request serve `rate` = slots / held (Little 1961). What arrives
faster waits; what would wait longer than its patience fails. The same for one queue (floats) or for many (arrays).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Served(NamedTuple):
    """Each as many as there are queues."""

    waiting: Floats
    """Requests still in front of the slots."""
    done: Floats
    """Requests that got a slot in this step."""
    timed_out: Floats
    """Of what arrived, the share that gave up."""
    latency_s: Floats
    saturation: Floats
    """What wants to be served against what can be, 1 at most."""


def serve(arriving: Any, queue: Any, rate: Any, held_s: Any, patience_s: float, dt: float) -> Served:
    """One step of `dt` seconds. `arriving`, `rate` (above 0): requests per second; `queue`: requests that wait."""
    there = np.asarray(queue + arriving * dt, float)
    done = np.minimum(there, rate * dt)
    waiting = there - done
    gave_up = np.maximum(0.0, waiting - rate * np.maximum(0.0, patience_s - held_s))
    waiting = waiting - gave_up
    came = np.asarray(arriving) > 0
    timed_out = np.where(came, np.minimum(1.0, gave_up / np.maximum(arriving * dt, 1e-9)), 0.0)
    saturation = np.where(came, np.minimum(1.0, (arriving + queue / dt) / rate), 0.0)
    latency = np.minimum(patience_s, held_s + waiting / rate)
    return Served(waiting, done, timed_out, latency, saturation)
