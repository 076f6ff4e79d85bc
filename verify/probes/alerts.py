"""Probes for Chaos Toolkit experiments: `chaos run` finds them by this module's name. All only read."""

from __future__ import annotations

import time

from verify.kubernetes import Api, Refused
from verify.prometheus import instant

__all__ = ["firing_alerts", "settled_alerts", "workload_ready"]


def firing_alerts(prometheus_url: str, selectors: list[str]) -> int:
    """How many series these selectors of `ALERTS` have now."""
    return sum(len(instant(prometheus_url, selector)) for selector in selectors)


def settled_alerts(prometheus_url: str, selectors: list[str], within_s: float = 30.0, quiet_s: float = 2.0) -> int:
    """How many series are left once none was there for `quiet_s`, or after `within_s`."""
    deadline = time.monotonic() + within_s
    quiet_since: float | None = None
    while True:
        found, now = firing_alerts(prometheus_url, selectors), time.monotonic()
        quiet_since = None if found else quiet_since or now
        if now >= deadline or (quiet_since is not None and now - quiet_since >= quiet_s):
            return found
        time.sleep(0.25)


def workload_ready(kind: str, name: str, namespace: str, within_s: float = 60.0) -> bool:
    """Whether all wanted replicas of a Deployment or StatefulSet are updated and ready within this time."""
    api = Api()
    deadline = time.monotonic() + within_s
    while True:
        found = api.get(kind, namespace, name)
        if found is None:
            raise Refused(f"{kind} {namespace}/{name} is not there", 404)
        wanted, status = found["spec"].get("replicas", 1), found.get("status") or {}
        whole = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0)) >= wanted
        if whole and status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.25)
