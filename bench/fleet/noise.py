"""What goes wrong between an incident and what is known of it: alerts lost, late, made up or doubled, calls unknown."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bench.fleet.incident import Told, moment
from graph_schema.model import Entity, Relation

AGAIN = {
    "KtErrorRatioHigh": "HighErrorRate",
    "KtLatencyHigh": "RequestLatencyP99High",
    "KtCrashLooping": "KubePodCrashLooping",
    "KtReplicasUnavailable": "KubeDeploymentReplicasMismatch",
    "KtNodeNotReady": "KubeNodeNotReady",
}
"""A second rule that says the same."""
LATE_S = 60.0
USUAL_SERVICES = 50


class Noise(msgspec.Struct, frozen=True):
    lost: float = 0.1
    """Share of the alerts."""
    late: float = 0.1
    """Share of the alerts that come later, by `late_s` on average; what would come after the look is not there."""
    late_s: float = LATE_S
    spurious: float = 1.0
    """Alerts with nothing behind them, on average, among 50 services; it grows with the root of their number."""
    duplicated: float = 0.15
    missing: float = 0.05
    """Share of the calls that nobody knows of."""
    wrong: float = 0.02
    """Calls that are no calls, as a share of all."""


class Heard(msgspec.Struct):
    alerts: list[dict[str, Any]]
    relations: list[Relation]


def hear(told: Told, noise: Noise) -> Heard:
    """An incident with this noise; the same for the same seed."""
    chance = random.Random(f"noise {told.services} {told.seed}")
    # Each alert draws its own numbers, whatever the shares are: curves differ by the shares alone.
    draws = [
        (each, chance.random(), chance.random(), chance.expovariate(1.0), chance.random(), chance.random())
        for each in told.alerts
    ]
    kept = [draw for draw in draws if draw[1] >= noise.lost] or [max(draws, key=lambda draw: draw[1])]
    found: list[dict[str, Any]] = []
    for alert, _, late, by, twice, how in kept:
        starts = datetime.fromisoformat(alert["startsAt"])
        if late < noise.late:
            starts += timedelta(seconds=by * noise.late_s)
            if starts > moment(told.looked):
                continue
        one = {**alert, "startsAt": starts.isoformat()}
        found.append(one)
        if twice < noise.duplicated:
            found.append(_again(one, how))
    found = found or [kept[0][0]]
    found += _spurious(told, random.Random(f"spurious {told.services} {told.seed}"), noise.spurious)
    calls = random.Random(f"calls {told.services} {told.seed}")
    relations = [each for each in told.relations if each.kind != "CALLS" or calls.random() >= noise.missing]
    services = sorted(each.id for each in told.entities.values() if each.kind == "Service")
    count = sum(each.kind == "CALLS" for each in told.relations)
    pairs = [calls.sample(services, 2) for _ in range(round(noise.wrong * count))]
    relations += [Relation(one, other, "CALLS") for one, other in pairs]
    return Heard(found, list(dict.fromkeys(relations)))


def _again(alert: dict[str, Any], how: float) -> dict[str, Any]:
    """The same alert from another replica of Prometheus, or by another rule."""
    labels = dict(alert["labels"])
    if how < 0.5 and labels["alertname"] in AGAIN:
        labels["alertname"] = AGAIN[labels["alertname"]]
    else:
        labels["prometheus_replica"] = "b"
    return {**alert, "labels": labels}


def _spurious(told: Told, chance: random.Random, mean: float) -> Iterable[dict[str, Any]]:
    things: dict[str, list[Entity]] = {}
    for key in sorted(told.entities):
        things.setdefault(told.entities[key].kind, []).append(told.entities[key])
    expected, count = mean * (told.services / USUAL_SERVICES) ** 0.5, 0
    arrived = chance.expovariate(1.0)
    while arrived < expected:
        count, arrived = count + 1, arrived + chance.expovariate(1.0)
    for _ in range(count):
        name, severity, kind, label = chance.choice((
            ("CPUThrottlingHigh", "info", "Pod", "pod"), ("KtLatencyHigh", "warning", "Service", "service"),
            ("KtErrorRatioHigh", "critical", "Service", "service"), ("NodeSystemSaturation", "warning", "Node", "node"),
            ("KubeJobFailed", "warning", "Job", "job_name"), ("KubePodNotReady", "warning", "Pod", "pod"),
        ))  # fmt: skip
        thing = chance.choice(things[kind])
        space = {"namespace": thing.namespace} if thing.namespace else {}
        exporter = {} if label == "service" else {"job": "kube-state-metrics"}
        labels = {"alertname": name, "severity": severity, **exporter, **space, label: thing.name}
        at = told.looked - chance.uniform(0, 1800)
        yield {"status": "firing", "labels": labels, "annotations": {}, "startsAt": moment(at).isoformat(),
               "endsAt": "0001-01-01T00:00:00Z"}  # fmt: skip
