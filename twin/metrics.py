"""What Prometheus would know of the twin: the recorded series, and the alerts with their `for`."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import deque
from datetime import datetime, timedelta

import msgspec

from twin.api import budgets
from twin.objects import Store
from twin.simulation.traffic import Traffic

Series = tuple[dict[str, str], float]


class Rule(msgspec.Struct, frozen=True):
    """Fires when a series is above (or, `below`, under) its threshold for long enough."""

    alert: str
    series: str
    threshold: float
    hold_s: float
    symptom: str
    severity: str = "warning"
    below: bool = False


RULES = (
    Rule("KtErrorRatioHigh", "kt:error_ratio", 0.05, 3, "errors", "critical"),
    Rule("KtLatencyHigh", "kt:latency_p99_seconds", 0.5, 3, "latency"),
    Rule("KtSaturationHigh", "kt:saturation", 0.9, 3, "saturation"),
    Rule("KtReplicasUnavailable", "kt:missing_replicas", 0, 10, "replicas_mismatch"),
    Rule("KtNodeNotReady", "kt:node_ready", 1, 2, "node_not_ready", "critical", below=True),
)


class Alert(msgspec.Struct):
    rule: Rule
    labels: dict[str, str]
    pending_since: datetime
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def fingerprint(self) -> str:
        text = "\x00".join(f"{key}\x01{value}" for key, value in sorted(self.labels.items()))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


Samples = list[tuple[float, float]]
KEPT = 2400
"""Moments that are remembered."""


class History:
    """The last moments of every series, as a range query sees them."""

    def __init__(self) -> None:
        self._moments: deque[tuple[float, dict[str, list[Series]]]] = deque(maxlen=KEPT)

    def add(self, at: float, series: dict[str, list[Series]]) -> None:
        self._moments.append((at, series))

    def ranges(self, name: str, start: float, end: float, step: float) -> list[tuple[dict[str, str], Samples]]:
        """(labels, samples) of each series: at each step the newest value that is not older than `STALE_S`."""
        found: dict[tuple[tuple[str, str], ...], Samples] = {}
        at, moments = start, list(self._moments)
        times = [seen for seen, _ in moments]
        while at <= end and step > 0:
            newest = bisect_right(times, at) - 1
            now = moments[newest][1] if newest >= 0 and times[newest] >= at - STALE_S else {}
            for labels, value in now.get(name, []):
                found.setdefault(tuple(sorted(labels.items())), []).append((at, value))
            at += step
        return [(dict(labels), samples) for labels, samples in found.items()]


STALE_S = 300.0
"""As long as Prometheus looks back for a sample."""


class Metrics:
    def __init__(self) -> None:
        self.series: dict[str, list[Series]] = {}
        self.history = History()
        self.alerts: dict[str, Alert] = {}
        """Pending and firing ones, by fingerprint."""
        self.news: list[Alert] = []
        """Alerts that began or ended to fire, not yet told to anybody."""

    def observe(self, store: Store, traffic: Traffic, now: datetime) -> None:
        """Record the series of this moment and evaluate the rules."""
        self.series = _services(traffic) | _workloads(store) | _nodes(store)
        over = {}
        for rule in RULES:
            for labels, value in self.series[rule.series]:
                if value < rule.threshold if rule.below else value > rule.threshold:
                    full = {"alertname": rule.alert, "severity": rule.severity, "symptom": rule.symptom, **labels}
                    alert = Alert(rule, full, now)
                    over[alert.fingerprint] = alert
        for fingerprint, alert in over.items():
            known = self.alerts.setdefault(fingerprint, alert)
            held = now - known.pending_since >= timedelta(seconds=known.rule.hold_s)
            if known.starts_at is None and held:
                known.starts_at = now
                self.news.append(known)
        for fingerprint in sorted(set(self.alerts) - set(over)):
            ended = self.alerts.pop(fingerprint)
            if ended.starts_at is not None:
                ended.ends_at = now
                self.news.append(ended)
        firing = [each for each in self.alerts.values() if each.starts_at]
        self.history.add(now.timestamp(), self.series)
        self.series["ALERTS"] = [({**each.labels, "alertstate": "firing"}, 1.0) for each in firing]


def _services(traffic: Traffic) -> dict[str, list[Series]]:
    found: dict[str, list[Series]] = {
        "kt:requests_per_second": [],
        "kt:error_ratio": [],
        "kt:latency_p99_seconds": [],
        "kt:saturation": [],
    }
    for (namespace, service), flow in sorted(traffic.measured.items()):
        labels = {"namespace": namespace, "service": service}
        found["kt:requests_per_second"].append((labels, flow.arriving))
        found["kt:error_ratio"].append((labels, flow.error_ratio))
        found["kt:latency_p99_seconds"].append((labels, flow.latency_s))
        found["kt:saturation"].append((labels, flow.saturation))
    return found


def _workloads(store: Store) -> dict[str, list[Series]]:
    wanted, ready, missing = [], [], []
    for each in store.all("Deployment"):
        meta, status = each["metadata"], each.get("status", {})
        labels = {"namespace": meta["namespace"], "workload": meta["name"]}
        want, have = float(each["spec"]["replicas"]), float(status.get("readyReplicas", 0))
        wanted.append((labels, want))
        ready.append((labels, have))
        missing.append(({"namespace": meta["namespace"], "deployment": meta["name"]}, max(0.0, want - have)))
    return {"kt:wanted_replicas": wanted, "kt:ready_replicas": ready, "kt:missing_replicas": missing}


def _nodes(store: Store) -> dict[str, list[Series]]:
    return {
        "kt:node_ready": [
            ({"node": node["metadata"]["name"]}, 1.0 if budgets.ready(node) else 0.0) for node in store.all("Node")
        ]
    }
