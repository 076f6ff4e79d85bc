"""What the steps of a playbook may be told: each action's parameters with their types and bounds, as data.

What operators set for all (`guard.*`) is no parameter: a playbook can ask for less than that, never for more."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from graph_schema.quantities import parse
from remediate.termination import Policy

Factor = Annotated[float, msgspec.Meta(gt=1, le=10)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Url = Annotated[str, msgspec.Meta(pattern="^https?://[^/]+")]


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of an action that takes none."""


class Scale(Parameters, frozen=True):
    factor: Factor = 1.5
    max_replicas: Count = 1_000_000


class Amounts(Parameters, frozen=True):
    factor: Factor = 1.5
    resources: tuple[Literal["cpu", "memory"], ...] = ("cpu", "memory")
    max_cpu: str = "4"
    max_memory: str = "8Gi"

    def __post_init__(self) -> None:
        parse(self.max_cpu), parse(self.max_memory)


class Volume(Parameters, frozen=True):
    factor: Factor = 1.5
    max_size: str = "100Gi"

    def __post_init__(self) -> None:
        parse(self.max_size)


class Zone(Parameters, frozen=True):
    zone: str = ""


class CleanUp(Parameters, frozen=True):
    min_age_s: Seconds = 600.0


class Waves(Parameters, frozen=True):
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0


class Invalid(Parameters, frozen=True):
    policy: Policy = Policy()
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0


class Siblings(Parameters, frozen=True):
    sibling_delay_s: Seconds = 60.0


class Job(Parameters, frozen=True):
    job: dict[str, Any]

    def __post_init__(self) -> None:
        template = self.job.get("template")
        if not isinstance(template, dict) or not (template.get("spec") or {}).get("containers"):
            raise ValueError("`job` is the spec of a Job: it has a template with a spec with containers")


class Webhook(Parameters, frozen=True):
    url: Url
    undo_url: Url | Literal[""] = ""


TAKES: dict[str, type[Parameters]] = {
    "scale-out": Scale,
    "raise-hpa-maximum": Scale,
    "scale-up": Amounts,
    "expand-volume": Volume,
    "leave-zone": Zone,
    "clean-up-pods": CleanUp,
    "evict-pods": Waves,
    "terminate-pod": Siblings,
    "terminate-invalid": Invalid,
    "move-busy": Invalid,
    "run-job": Job,
    "call-webhook": Webhook,
}


def check(action: str, given: dict[str, Any]) -> None:
    """Raises `msgspec.ValidationError` for what the action does not take."""
    msgspec.convert(given, TAKES.get(action, Parameters))


def together(fixed: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """A step's own parameters within what operators set for all."""
    found = {**own, **{key: value for key, value in fixed.items() if key not in own}}
    for key, narrower in (("max_replicas", min), ("share", min), ("sibling_delay_s", max)):
        if key in own and key in fixed:
            found[key] = narrower(own[key], fixed[key])
    return found
