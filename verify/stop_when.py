"""When a run has to end before its time: what is written in the experiment, or set for all runs.

In an experiment it is an extension, which Chaos Toolkit itself lets pass:
`{"extensions": [{"name": "kt", "stop_when": [{"query": "kt:error_ratio{…}", "above": 0.2, "for_s": 3}]}]}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from verify.plain import BadExperiment

EXTENSION = "kt"
"""The name of KT's own part of an experiment's `extensions`."""


class StopWhen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit on what Prometheus measures. Of several series the worst one counts."""

    query: str
    """PromQL; each series of its answer is looked at."""
    above: float | None = None
    below: float | None = None
    for_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How long it must be beyond the limit without a break."""
    why: str = ""
    """What it means, for whoever reads it."""

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"the stop condition on “{self.query}” needs either `above` or `below`")

    def beyond(self, values: list[float]) -> float | None:
        """The value that is furthest beyond the limit; None when all are within it. What is no number is within."""
        if self.above is not None:
            over = [value for value in values if value > self.above]
            return max(over, default=None)
        under = [value for value in values if self.below is not None and value < self.below]
        return min(under, default=None)

    def said(self, value: float) -> str:
        limit = f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"
        return f"{self.why or self.query}: {value:.4g} is {limit}"


class Extension(msgspec.Struct, frozen=True, kw_only=True):
    """KT's part of an experiment. Keys that only a person or a later KT reads are left alone."""

    stop_when: tuple[StopWhen, ...] = ()
    targets: tuple[str, ...] = ()
    """What the experiment is about, as `Kind/namespace/name`; empty: what its actions name."""
    fault: str = ""
    """The fault mode that it repeats."""


def extension(experiment: Mapping[str, Any], source: str) -> Extension:
    """KT's part of an experiment; an empty one when it has none. Raises `BadExperiment`."""
    listed = experiment.get("extensions") or []
    if not isinstance(listed, list):
        raise BadExperiment(f"{source}: extensions must be a list")
    mine = [each for each in listed if isinstance(each, dict) and each.get("name") == EXTENSION]
    try:
        return msgspec.convert(mine[0], Extension) if mine else Extension()
    except msgspec.ValidationError as error:
        raise BadExperiment(f"{source}: in the extension “{EXTENSION}”: {error}") from error
