"""How a verification ends."""

from __future__ import annotations

from typing import Literal

import msgspec


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`held`: attacked and stood. `regressed`: the steady state was lost. `inconclusive` is never counted as held."""

    outcome: Literal["held", "regressed", "inconclusive", "aborted"]
    why: str
