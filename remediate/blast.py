"""Blast radius: how much of a workload may be away at once. Pure."""

from __future__ import annotations

import math


def allowed_of(pods: int, share: float) -> int:
    """Pods of a workload that may be disturbed at once: a share of them, rounded down, but one at least."""
    return max(1, math.floor(share * pods + 1e-9))
