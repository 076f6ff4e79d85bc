"""How long a fix is watched whose fault must not be repeated, and how sure that makes.

A fault that still comes back, on the average after `onset_s`, at moments that do not depend on each other, would not be
seen within t with probability exp(-t / onset_s). Being wrong in one of twenty cases at most takes t = -ln(0.05) times
`onset_s`, three times the onset: the “rule of three” (Hanley and Lippman-Hand, “If nothing goes wrong, is everything
all right?”, JAMA 249, 1983).
"""

from __future__ import annotations

import math

import msgspec

CONFIDENCE = 0.95
SHORTEST_S = 60.0
LONGEST_S = 3600.0


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    confidence: float
    """That a fault which still comes back at its usual pace would have been seen, in (0, 1)."""


def watch_for(onset_s: float, *, longest_s: float = LONGEST_S) -> Watch:
    """The watch for a fault that usually shows within `onset_s`; shorter, and less sure, where that is too long."""
    pace = max(onset_s, SHORTEST_S / -math.log(1 - CONFIDENCE))
    seconds = min(-math.log(1 - CONFIDENCE) * pace, longest_s)
    return Watch(seconds=round(seconds, 1), confidence=round(1 - math.exp(-seconds / pace), 3))
