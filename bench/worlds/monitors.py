"""The watching: which alerts a site has, how they are called and labelled, when they fire, what goes wrong with it."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bench.worlds.cluster import World
from bench.worlds.flow import Felt

KUBE = {
    "crash": [("KubePodCrashLooping", "warning", 900)],
    "oom": [("ContainerOOMKilled", "warning", 0), ("KubePodCrashLooping", "warning", 900)],
    "image": [("KubeContainerWaiting", "warning", 600), ("KubePodNotReady", "warning", 900)],
    "config": [("KubeContainerWaiting", "warning", 600), ("KubePodNotReady", "warning", 900)],
    "unready": [("KubePodNotReady", "warning", 900)],
    "evicted": [("PodEvicted", "warning", 0)],
    "replicas": [("KubeDeploymentReplicasMismatch", "warning", 900)],
    "rollout": [("KubeDeploymentRolloutStuck", "warning", 900)],
    "node-down": [
        ("KubeNodeNotReady", "critical", 900),
        ("KubeNodeUnreachable", "warning", 900),
        ("KubeletDown", "critical", 900),
    ],
    "node-memory": [("KubeNodePressure", "info", 600), ("NodeMemoryHighUtilization", "warning", 900)],
    "node-network": [("NodeNetworkReceiveErrs", "warning", 600), ("NodeHighNumberConntrackEntriesUsed", "warning", 60)],
    "node-cpu": [("NodeSystemSaturation", "warning", 900), ("NodeCPUHighUsage", "info", 900)],
    "volume": [("KubePersistentVolumeFillingUp", "critical", 60)],
    "quota": [("KubeQuotaExceeded", "warning", 900)],
    "hpa": [("KubeHpaMaxedOut", "warning", 900)],
    "cpu": [("CPUThrottlingHigh", "info", 900)],
}
"""What kube-prometheus and sites like it call it: (name, severity, usual `for` in seconds)."""
ERRORS = (
    "{N}HighErrorRate",
    "HTTP5xxRatioHigh",
    "ServiceErrorBudgetBurn",
    "{N}Errors",
    "TooManyRequestFailures",
    "IstioHigh5xxErrorRate",
)
LATENCY = ("{N}LatencyHigh", "RequestLatencyP99High", "{N}Slow", "ServiceSlowResponses", "IstioHighRequestLatency")
DOWN = ("{N}Down", "ServiceUnavailable", "BlackboxProbeFailed", "EndpointDown")
TRAFFIC = ("{N}TrafficDrop", "NoRequestsReceived")
SURGE = ("{N}HighTraffic", "RequestRateSpike")
SATURATED = ("{N}SaturationHigh", "WorkersExhausted", "CPUUsageHigh")
STORES = {
    "postgres": "PostgresqlTooManyConnections",
    "mysql": "MysqlTooManyConnections",
    "redis": "RedisTooManyConnections",
    "mongodb": "MongodbTooManyConnections",
    "kafka": "KafkaConsumerGroupLag",
}
SLOW_STORES = {
    "mysql": "MysqlSlowQueries",
    "postgres": "PostgresqlTooManyLocksAcquired",
    "elasticsearch": "ElasticsearchHighQueryLatency",
}


class Site(msgspec.Struct):
    """The habits of one site."""

    errors: str
    latency: str
    down: str
    traffic: str
    surge: str
    saturated: str
    labels: str
    watched: dict[str, set[str]]
    """Service → what is watched of it."""
    missing: float
    holds: bool
    """Whether alerts wait out their usual `for`."""


def habits(world: World, chance: random.Random) -> Site:
    watched: dict[str, set[str]] = {}
    for name in world.workloads:
        watched[name] = {
            what
            for what, share in (("errors", 0.88), ("latency", 0.75), ("down", 0.5), ("traffic", 0.25), ("load", 0.45))
            if chance.random() < share
        }
    return Site(
        chance.choice(ERRORS),
        chance.choice(LATENCY),
        chance.choice(DOWN),
        chance.choice(TRAFFIC),
        chance.choice(SURGE),
        chance.choice(SATURATED),
        chance.choice(["service", "service", "app", "workload", "destination", "job"]),
        watched,
        chance.choice([0.05, 0.15, 0.3]),
        chance.random() < 0.5,
    )


class Alerts:
    """Alerts as they come in; `at` is when the fault began."""

    def __init__(self, world: World, site: Site, chance: random.Random, at: datetime) -> None:
        self._world, self._site, self._chance, self._at = world, site, chance, at
        self.found: list[dict[str, Any]] = []
        self.entities: list[str] = []
        """What each alert speaks of, for the baselines."""

    def fire(
        self, name: str, entity: str, severity: str, held_s: float, labels: dict[str, str], after: float = 0.0
    ) -> None:
        """One alert, unless it is missed."""
        if self._chance.random() < self._site.missing:
            return
        late = after + self._chance.uniform(5, 60) + (held_s if self._site.holds else self._chance.uniform(0, 60))
        if self._chance.random() < 0.05:
            late += self._chance.uniform(60, 600)
        starts = self._at + timedelta(seconds=late)
        self.found.append(
            {
                "status": "firing",
                "labels": {"alertname": name, "severity": severity, **labels},
                "annotations": {},
                "startsAt": starts.isoformat(),
                "endsAt": "0001-01-01T00:00:00Z",
            }
        )
        self.entities.append(entity)

    def services(self, felt: dict[str, Felt], usual: dict[str, Felt], unreachable: set[str]) -> None:
        """What the golden signals of each service say."""
        chance, site = self._chance, self._site
        for name, each in self._world.workloads.items():
            if not each.service:
                continue
            now, watched = felt[name], site.watched[name]
            hops = chance.uniform(0, 20)
            seen = "".join(part.capitalize() for part in name.split("-"))
            errors, latency = now.errors, now.ms / max(usual[name].ms, 1.0)
            if name in unreachable:
                # Nothing reaches it: its own figures stop, and the probe from outside fails.
                if "down" in watched and chance.random() < 0.6:
                    self.fire(site.down.format(N=seen), each.service, "critical", 60, self._labels(name), hops)
                if "traffic" in watched:
                    self.fire(site.traffic.format(N=seen), each.service, "warning", 120, self._labels(name), hops)
                continue
            if "errors" in watched and errors > 0.05 and chance.random() < min(1.0, 0.5 + errors):
                self.fire(site.errors.format(N=seen), each.service, "critical", 120, self._labels(name), hops)
            if "latency" in watched and latency > 3 and errors < 0.98:
                self.fire(site.latency.format(N=seen), each.service, "warning", 120, self._labels(name), hops)
            if "down" in watched and errors > 0.97:
                self.fire(site.down.format(N=seen), each.service, "critical", 60, self._labels(name), hops)
            if "traffic" in watched and now.traffic < 0.3:
                self.fire(site.traffic.format(N=seen), each.service, "warning", 120, self._labels(name), hops)
            if "load" in watched and now.load > 1.8:
                self.fire(site.surge.format(N=seen), each.service, "warning", 120, self._labels(name), hops)
            if "load" in watched and now.saturation > 0.92:
                self.fire(site.saturated.format(N=seen), each.service, "warning", 120, self._labels(name), hops)

    def kubernetes(self, complains: list[tuple[str, str, float]]) -> None:
        for entity, what, watched in complains:
            if self._chance.random() < watched:
                for name, severity, held in KUBE.get(what, [])[: self._chance.choice([1, 1, 2, 3])]:
                    self.fire(
                        *self._named(name, entity, severity),
                        held,
                        self._about(entity, what),
                        self._chance.uniform(0, 40),
                    )
                self._other(entity, what)

    def _other(self, entity: str, what: str) -> None:
        thing = self._world.entities[entity]
        labels = self._about(entity, what)
        match what:
            case "connections":
                name = STORES.get(thing.name, "ConnectionPoolExhausted")
                self.fire(name, entity, "critical", 120, {**labels, "job": f"{thing.name}-exporter"})
            case "slow":
                name = SLOW_STORES.get(
                    thing.name, "QueryLatencyHigh" if thing.kind == "StatefulSet" else "DependencySlow"
                )
                self.fire(name, entity, "warning", 120, labels)
            case "probe":
                self.fire("BlackboxProbeFailed", entity, "critical", 60, labels)
            case "dns":
                self.fire("CoreDNSErrorsHigh", entity, "critical", 300, labels)
            case "certificate":
                self.fire("CertManagerCertNotReady", entity, "critical", 300, labels)
            case "endpoints":
                self.fire("ServiceNoEndpoints", entity, "critical", 120, labels)

    def _named(self, name: str, entity: str, severity: str) -> tuple[str, str, str]:
        kind = self._world.entities[entity].kind
        if kind in ("StatefulSet", "DaemonSet") and name.startswith("KubeDeployment"):
            name = {"StatefulSet": "KubeStatefulSetReplicasMismatch", "DaemonSet": "KubeDaemonSetRolloutStuck"}[kind]
        return name, entity, severity

    def _about(self, entity: str, what: str) -> dict[str, str]:
        """The labels that alerts of kube-prometheus carry about a thing."""
        thing = self._world.entities[entity]
        space = {"namespace": thing.namespace} if thing.namespace else {}
        exporter = {"job": "kube-state-metrics", "instance": "10.9.9.9:8080"}
        match thing.kind:
            case "Pod":
                reason = {
                    "image": {"reason": "ImagePullBackOff"},
                    "config": {"reason": "CreateContainerConfigError"},
                }.get(what, {})
                return {**space, **exporter, "pod": thing.name, "container": "main", **reason}
            case "Node" if what in ("node-network", "node-cpu") or self._chance.random() < 0.3:
                port = {"instance": f"{thing.properties['address']}:9100", "job": "node-exporter"}
                return {**port, "condition": "MemoryPressure"} if what == "node-memory" else port
            case "Node":
                return {
                    "node": thing.name,
                    **exporter,
                    **({"condition": "MemoryPressure"} if what == "node-memory" else {}),
                }
            case "ResourceQuota":
                named = {"resourcequota": thing.name} if self._chance.random() < 0.6 else {}
                return {**space, **exporter, **named, "resource": "pods"}
            case "ExternalDependency":
                return {self._chance.choice(["target", "dependency", "external"]): thing.name}
            case "Certificate":
                return {**space, "name": thing.name, "exported_namespace": thing.namespace}
        return {**space, **exporter, thing.kind.lower(): thing.name}

    def _labels(self, name: str) -> dict[str, str]:
        """How the alerts of this site name a service."""
        each = self._world.workloads[name]
        service = self._world.entities[each.service].name
        match self._site.labels:
            case "destination":
                return {
                    "destination_service_name": service,
                    "destination_service_namespace": each.namespace,
                    "reporter": "source",
                }
            case "workload":
                return {"workload": each.name, "namespace": each.namespace}
            case "app":
                return {"app": service, "namespace": each.namespace}
            case "job":
                return {"job": service, "namespace": each.namespace, "instance": "10.1.2.3:8080"}
        return {"service": service, "namespace": each.namespace}

    def spurious(self, count: int) -> None:
        """Alerts that have nothing to do with it."""
        world, chance = self._world, self._chance
        for _ in range(count):
            match chance.choice(["node", "service", "pod", "job", "hpa"]):
                case "node":
                    entity = chance.choice(world.nodes)
                    self.fire(
                        "NodeCPUHighUsage",
                        entity,
                        "info",
                        0,
                        self._about(entity, "node-cpu"),
                        chance.uniform(-1800, 300),
                    )
                case "service":
                    name = chance.choice([key for key, each in world.workloads.items() if each.service])
                    self.fire(
                        self._site.latency.format(N=name.capitalize()),
                        world.workloads[name].service,
                        "warning",
                        0,
                        self._labels(name),
                        chance.uniform(-1800, 300),
                    )
                case "pod":
                    entity = chance.choice([pod for each in world.workloads.values() for pod in each.pods])
                    self.fire(
                        "CPUThrottlingHigh", entity, "info", 0, self._about(entity, "cpu"), chance.uniform(-3000, 300)
                    )
                case "job" if world.jobs:
                    entity = chance.choice(world.jobs)
                    thing = world.entities[entity]
                    self.fire(
                        "KubeJobFailed",
                        entity,
                        "warning",
                        0,
                        {"namespace": thing.namespace, "job_name": thing.name, "job": "kube-state-metrics"},
                        chance.uniform(-7200, 0),
                    )
                case _:
                    self.found.append(
                        {
                            "status": "firing",
                            "labels": {"alertname": "Watchdog", "severity": "none"},
                            "annotations": {},
                            "startsAt": self._at.isoformat(),
                            "endsAt": "0001-01-01T00:00:00Z",
                        }
                    )
                    self.entities.append("")
