"""What operators allow, as data: the numbers behind the guard's rules."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]


class Freeze(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `start` until `end` nothing is done, only proposed; in some namespaces, or (none named) everywhere."""

    start: Annotated[datetime, msgspec.Meta(tz=True)]
    end: Annotated[datetime, msgspec.Meta(tz=True)]
    namespaces: tuple[str, ...] = ()
    why: str = ""

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a freeze ends after it starts; this one ends {self.end} and starts {self.start}")


class Maintenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People work there from each time that `cron` names (UTC) for `duration_s`: KT waits until they are done."""

    cron: str
    duration_s: Positive
    namespaces: tuple[str, ...] = ()
    why: str = ""

    def __post_init__(self) -> None:
        from cronsim import CronSimError

        try:
            self.until(datetime(2026, 1, 1))  # noqa: DTZ001 - any moment shows whether the expression can be read
        except CronSimError as error:
            raise ValueError(f"“{self.cron}” is no cron expression: {error}") from error

    def until(self, now: datetime) -> datetime | None:
        """When the window that is open now ends; None when none is."""
        from cronsim import CronSim

        begun = next(CronSim(self.cron, now - timedelta(seconds=self.duration_s)))
        return begun + timedelta(seconds=self.duration_s) if begun <= now else None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    cooldown_s: float = 300.0
    max_share_of_nodes: float = 0.34
    storm_nodes: int = 3
    """So many nodes not ready at once are no node fault: no node remedies then."""
    max_replicas: int = 20
    max_share_of_workload: float = 0.34
    """Pods of a workload that may be missing at once; one may always be."""
    sibling_delay_s: float = 60.0
    """How old the youngest serving sibling of a pod must be before the pod is ended."""
    max_actions_per_hour: int = 30
    max_actions_per_hour_per_namespace: int = 15
    max_actions_per_hour_per_target: int = 3
    max_ineffective: int = 2
    """After so many times in a day that a playbook did not help a target, a person is asked instead."""
    webhooks: tuple[str, ...] = ()
    """Addresses under which the action `call-webhook` may ask."""
    freezes: tuple[Freeze, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
