"""Probes for Chaos Toolkit experiments: `chaos run` finds them by this module's name. All only read."""

from __future__ import annotations

import time
from typing import Any

from verify.kubernetes import Api, Refused
from verify.prometheus import PrometheusUnavailable, instant

__all__ = ["firing_alerts", "settled_alerts", "stays_quiet", "workload_ready"]
BLIND_S = 30.0


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


def stays_quiet(prometheus_url: str, selectors: list[str], watch_s: float = 600.0) -> dict[str, Any]:
    """Whether these selectors have no series for that long: `{"met", "why", "seconds"}`. Ends as soon as one has.

    A Prometheus that does not answer for `BLIND_S` fails it: what was not watched did not stay quiet.
    """
    begun = answered = time.monotonic()
    while (took := time.monotonic() - begun) < watch_s:
        try:
            back = firing_alerts(prometheus_url, selectors)
            answered = time.monotonic()
        except PrometheusUnavailable:
            if time.monotonic() - answered > BLIND_S:
                raise
            back = 0
        if back:
            return {
                "met": False,
                "why": f"it came back after {took:.0f} s: {back} alerts fire",
                "seconds": round(took, 1),
            }
        time.sleep(min(1.0, watch_s / 10))
    return {"met": True, "why": f"no alert for {watch_s:.0f} s", "seconds": round(watch_s, 1)}


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
