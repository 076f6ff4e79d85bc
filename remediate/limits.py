"""What operators allow, as data: the numbers behind the guard's rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time set apart: from `start` until `end`, or for `duration_s` from each time that `cron` names in `zone`; in
    some namespaces, or (none named) everywhere."""

    start: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    end: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    cron: str = ""
    duration_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    zone: str = "UTC"
    namespaces: tuple[str, ...] = ()
    why: str = ""

    def __post_init__(self) -> None:
        once, again = self.start is not None and self.end is not None, bool(self.cron and self.duration_s)
        if once == again or (self.start is None) != (self.end is None) or bool(self.cron) != bool(self.duration_s):
            raise ValueError("a window has either `start` and `end`, or `cron` and `duration_s` (more than 0)")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"a window ends after it starts; this one ends {self.end} and starts {self.start}")
        if self.cron:
            _check(self.cron, self.zone)

    def until(self, now: datetime) -> datetime | None:
        """When the window that is open now ends, in its zone; None when none is."""
        if self.start is not None and self.end is not None:
            return self.end if self.start <= now < self.end else None
        from cronsim import CronSim

        lasts = timedelta(seconds=self.duration_s)
        # Whatever began within the last `duration_s` is not over yet.
        begun = next(CronSim(self.cron, (now - lasts).astimezone(ZoneInfo(self.zone))), None)
        return begun + lasts if begun is not None and begun <= now < begun + lasts else None


def _check(cron: str, zone: str) -> None:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"“{cron}” is no cron expression: {error}") from error
    check_zone(zone)


def check_zone(zone: str) -> None:
    """Raises `ValueError` for what is not in the tz database."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"“{zone}” is no time zone; one is named as in the tz database: “Europe/Berlin”") from error


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    cooldown_s: float = 300.0
    max_share_of_nodes: float = 0.34
    node_groups: tuple[str, ...] = ("topology.kubernetes.io/zone",)
    """Labels of nodes by which they belong together: zones, pools."""
    max_share_of_node_group: float = 0.5
    """Nodes of one group that may be out at once; one may always be, unless it is the last."""
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
    max_actions_per_minute: int = 6
    """In all; what is more waits."""
    max_ineffective: int = 2
    """After so many times in a day that a playbook did not help a target, a person is asked instead."""
    breaker_failures: int = 3
    """So many actions in a row that failed or did not help open the circuit breaker."""
    breaker_share: float = 0.5
    """So many of the last actions have to help, once there are `breaker_sample`."""
    breaker_sample: int = 6
    breaker_window_s: float = 3600.0
    """How far back outcomes count."""
    breaker_open_s: float = 1800.0
    """How long it stays open."""
    max_api_latency_s: float = 3.0
    """An API server whose answers take longer (90th percentile of a minute) opens it too."""
    tier_label: str = "kt.io/tier"
    """Label of a workload or namespace: 0 is the most important."""
    freezes: tuple[Window, ...] = ()
    maintenance: tuple[Window, ...] = ()
    webhooks: tuple[str, ...] = ()
    """Addresses under which the action `call-webhook` may ask."""
