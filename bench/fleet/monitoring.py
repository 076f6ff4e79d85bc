"""What a site's monitoring makes of an application: series over a window, and the alert rules on them.

The rules of deploy/prometheus/kt-rules.yaml are there everywhere, with their thresholds, windows and holds. Beside them
each site has some of the well-known rules of kube-prometheus, CoreDNS, databases and probes from outside, held for a
minute or two instead of ten or fifteen, since an incident here lasts minutes.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from bench.fleet.application import TAIL, Application
from bench.fleet.mechanism import PATIENCE_S, STEP_S, Mechanism
from bench.fleet.pods import CONFIG, CRASHES, IMAGE, OOM, WAITING, Bools, Floats

EVERY_S = 5.0
WINDOW = 12
"""Looks of a window: a minute."""
KEPT = 132
"""Looks whose series are kept: eleven minutes."""
QUIET_S = 360
METERED = 0.92
"""Share of the services that tell of their requests."""
MESHES = 0.4
"""Share of the applications whose requests are counted where they are made (a mesh), not where they arrive."""
SHIPPED, OFTEN = 1.0, 0.6
"""How many sites have a rule."""
DATABASES = {"postgres": "Postgresql", "mysql": "Mysql", "mongodb": "Mongodb"}


class Rule(msgspec.Struct, frozen=True):
    alert: str
    severity: str
    hold_s: float
    about: str
    """service, entry (as probed from outside, by its ingress where it has one), workload, pod, node, claim, quota,
    certificate, external."""
    when: Callable[[Looked], Bools]
    sites: float = OFTEN


class Looked:
    """The application as the rules see it."""

    def __init__(self, world: Mechanism, mesh: bool, metered: Bools) -> None:
        self._mesh, self._metered = mesh, metered
        self._made = world.made
        self.world = world
        self.expired: set[str] = set()
        self.exhausted: set[str] = set()
        """Certificates that ended, quotas that are used up."""
        self.kept: deque[tuple[float, Floats, Floats, Floats, Floats, Floats]] = deque(maxlen=KEPT)
        """(time, requests per second, errors per second, seconds per second, p99, saturation) by workload."""
        self.role = np.array([each.role for each in self._made.workloads])
        self.usual = np.array([each.usual_per_s for each in self._made.workloads])
        self.wanted = np.array([each.replicas for each in self._made.workloads])
        self.entry = np.array([each.entry_per_s > 0 for each in self._made.workloads])
        self.usual_p99 = np.zeros(len(self.role))

    def fork(self, world: Mechanism) -> Looked:
        other = copy.copy(self)
        other.world, other.kept = world, self.kept.copy()
        other.expired, other.exhausted = set(self.expired), set(self.exhausted)
        return other

    def look(self) -> None:
        """Scrape: once in `EVERY_S`."""
        world = self.world
        requests, failed, waited, p99 = world.seen, world.seen_failed, world.seen_s, world.p99
        if self._mesh:
            requests, failed, waited = world.asked, world.asked * world.fails, world.asked * world.late
            p99 = np.minimum(TAIL * world.late, PATIENCE_S + 1)
        told = (self._metered & (self.role != "external")).astype(float)
        full = world.saturation
        self.kept.append((world.now, requests * told, failed * told, waited * told, p99 * told, full * told))

    def _recent(self, column: int) -> Floats:
        return np.array([each[column] for each in list(self.kept)[-WINDOW:]])

    def settle(self) -> None:
        """What is seen now is what is usual."""
        self.usual_p99 = self._recent(4).max(axis=0)

    def update(self) -> None:
        """What the rules read, over the last minute."""
        requests = self._recent(1).sum(axis=0)
        self.error_ratio = self._recent(2).sum(axis=0) / np.maximum(requests, 1e-9)
        self.p99 = self._recent(4).max(axis=0)
        self.saturation = self._recent(5).mean(axis=0)
        self.rate = requests / len(self.kept) if len(self.kept) < WINDOW else requests / WINDOW
        pods = self.world.pods
        count = len(self.role)
        self.ready = np.bincount(pods.of, pods.ready, count)
        self.waiting = pods.waiting(self.world.now)
        self.down = self.world.said_down()


def _named(mechanism_names: tuple[str, ...]) -> Callable[[Looked], Bools]:
    return lambda seen: np.isin(seen.role, mechanism_names)


STORE, CACHE, DNS = _named(("store",)), _named(("cache",)), _named(("dns",))
RULES: tuple[Rule, ...] = (
    Rule("KtErrorRatioHigh", "critical", 30, "service", lambda s: s.error_ratio > 0.05, SHIPPED),
    Rule("KtLatencyHigh", "warning", 30, "service", lambda s: s.p99 > 0.5, SHIPPED),
    Rule("KtSaturationHigh", "warning", 30, "service", lambda s: s.saturation > 0.9, SHIPPED),
    Rule(
        "KtReplicasUnavailable",
        "warning",
        120,
        "workload",
        lambda s: (s.wanted > s.ready) & (s.role != "external"),
        SHIPPED,
    ),
    Rule("KtNodeNotReady", "critical", 30, "node", lambda s: s.down, SHIPPED),
    Rule("KtRestarts", "warning", 30, "pod", lambda s: s.world.pods.restarts > 3, SHIPPED),
    Rule("KtCrashLooping", "warning", 30, "pod", lambda s: s.waiting == CRASHES, SHIPPED),
    Rule("KtImagePull", "warning", 30, "pod", lambda s: s.waiting == IMAGE, SHIPPED),
    Rule(
        "KtOomKilled",
        "warning",
        30,
        "pod",
        lambda s: (s.world.pods.ended == OOM) & (s.world.pods.restarts > 0),
        SHIPPED,
    ),
    Rule("KubePodNotReady", "warning", 120, "pod", lambda s: s.world.pods.there & ~s.world.pods.ready),
    Rule("KubeContainerWaiting", "warning", 60, "pod", lambda s: (s.waiting == CONFIG) | (s.waiting == IMAGE)),
    Rule("CPUThrottlingHigh", "info", 60, "pod", lambda s: s.world.throttle > 1.3),
    Rule("NodeSystemSaturation", "warning", 60, "node", lambda s: s.world.crowded > 1.2),
    Rule("KubeNodePressure", "warning", 30, "node", lambda s: s.world.pressed),
    Rule("NodeMemoryHighUtilization", "warning", 60, "node", lambda s: s.world.node_used > 0.92),
    Rule("NodeNetworkReceiveErrs", "warning", 60, "node", lambda s: s.world.loss > 0.02),
    Rule("KubeNodeUnreachable", "warning", 30, "node", lambda s: s.down),
    Rule("KubePersistentVolumeFillingUp", "critical", 60, "claim", lambda s: s.world.volume > 0.97),
    Rule(
        "KubeQuotaFullyUsed",
        "info",
        60,
        "quota",
        lambda s: np.array([each in s.exhausted for each in s.world.made.quotas.values()], bool),
    ),
    Rule("CoreDNSErrorsHigh", "critical", 60, "workload", lambda s: DNS(s) & (s.world.fails > 0.03)),
    Rule("CoreDNSLatencyHigh", "warning", 60, "workload", lambda s: DNS(s) & (s.world.late > 0.2)),
    Rule("{Store}TooManyConnections", "critical", 60, "workload", lambda s: STORE(s) & (s.world.saturation > 0.9)),
    Rule(
        "QueryLatencyHigh",
        "warning",
        60,
        "workload",
        lambda s: STORE(s) & (s.world.late * TAIL > 10 * s.usual_p99) & (s.usual_p99 > 0),
    ),
    Rule("RedisDown", "critical", 30, "workload", lambda s: CACHE(s) & (s.ready == 0)),
    Rule("{Store}Down", "critical", 30, "workload", lambda s: STORE(s) & (s.ready == 0)),
    Rule(
        "CertManagerCertNotReady",
        "critical",
        60,
        "certificate",
        lambda s: np.array([each in s.expired for each in s.world.made.certificates], bool),
    ),
    Rule(
        "BlackboxProbeFailed", "critical", 60, "entry", lambda s: s.entry & ((s.world.fails > 0.5) | s.world.untrusted)
    ),
    Rule("DependencyUnreachable", "critical", 60, "external", lambda s: (s.role == "external") & (s.world.fails > 0.5)),
    Rule(
        "ServiceTrafficDrop",
        "warning",
        60,
        "service",
        lambda s: (s.rate < 0.3 * s.usual) & (s.usual > 2) & (s.usual_p99 > 0),
        0.35,
    ),
    Rule("RequestRateSpike", "warning", 60, "service", lambda s: (s.rate > 2 * s.usual) & (s.usual > 2), 0.35),
    Rule(
        "ServiceNoEndpoints",
        "critical",
        60,
        "service",
        lambda s: ((s.ready == 0) | ~s.world.selects) & (s.role != "external"),
    ),
)


class Fired(msgspec.Struct, frozen=True):
    rule: Rule
    index: int
    """Workload, node, place of a pod, or the number of the quota or certificate."""
    at: float


class Monitoring:
    """One site's rules; `step` after each step of the mechanism."""

    def __init__(self, world: Mechanism, chance: random.Random) -> None:
        self.rules = list(RULES)
        metered = np.array([chance.random() < METERED for _ in world.made.workloads])
        self.seen = Looked(world, chance.random() < MESHES, metered)
        self._since: dict[str, Floats] = {}
        self._next = world.now

    def fork(self, seed: int, chance: random.Random) -> Monitoring:
        """Another future of the same application, watched by another choice of rules."""
        other = copy.copy(self)
        other.rules = [each for each in RULES if chance.random() < each.sites]
        other.seen = self.seen.fork(self.seen.world.fork(seed))
        other._since = {}
        return other

    def calm(self) -> None:
        """Look at an application that is well until it is known how it is then."""
        for _ in range(int(QUIET_S / STEP_S)):
            self.seen.world.step()
            self.step(judge=False)
        self.seen.settle()

    def step(self, *, judge: bool = True) -> None:
        world = self.seen.world
        if world.now < self._next:
            return
        self._next = world.now + EVERY_S
        self.seen.look()
        if not judge:
            return
        self.seen.update()
        for rule in self.rules:
            now = rule.when(self.seen)
            since = self._since.get(rule.alert)
            before = np.full(len(now), np.inf) if since is None else since
            self._since[rule.alert] = np.where(now, np.minimum(before, world.now), np.inf)

    def firing(self) -> list[Fired]:
        """What fires now, and since when."""
        return list(self._firing())

    def _firing(self) -> Iterator[Fired]:
        for rule in self.rules:
            since = self._since.get(rule.alert)
            if since is not None:
                for index in np.flatnonzero(self.seen.world.now - since >= rule.hold_s):
                    yield Fired(rule, int(index), float(since[index]) + rule.hold_s)


def labels(made: Application, fired: Fired, pod: str) -> dict[str, str]:
    """The labels of an alert. `pod`: the name of the pod, where it is about one."""
    found = {"alertname": fired.rule.alert, "severity": fired.rule.severity}
    exporter = {"job": "kube-state-metrics", "instance": "10.9.9.9:8080"}
    match fired.rule.about:
        case "node":
            node = made.nodes[fired.index]
            if fired.rule.alert.startswith("Node"):
                return {**found, "instance": f"{node.address}:9100", "job": "node-exporter"}
            pressure = {"condition": "MemoryPressure"} if fired.rule.alert == "KubeNodePressure" else {}
            return {**found, **exporter, "node": node.name, **pressure}
        case "quota":
            space = list(made.quotas)[fired.index]
            return {**found, **exporter, "namespace": space, "resourcequota": "quota", "resource": "pods"}
        case "certificate":
            _, space, name = list(made.certificates)[fired.index].split("/")
            return {**found, "name": name, "certificate": name, "namespace": space, "exported_namespace": space}
        case "external":
            return {**found, "dependency": made.workloads[fired.index].name}
    return {**found, **_of_workload(made, fired, exporter, pod)}


def _of_workload(made: Application, fired: Fired, exporter: dict[str, str], pod: str) -> dict[str, str]:
    if fired.rule.about == "pod":
        space, name = pod.split("/")
        return {"namespace": space, "pod": name, "container": "main", **exporter}
    each = made.workloads[fired.index]
    inside = {"namespace": each.namespace}
    match fired.rule.about:
        case "entry" if fired.index in made.certificates.values():
            return {**inside, "ingress": each.name}
        case "service" | "entry":
            return {**inside, "service": each.service.rsplit("/", 1)[1]}
        case "claim":
            return {**inside, **exporter, "persistentvolumeclaim": each.claim.rsplit("/", 1)[1]}
    return {**inside, **exporter, each.kind.lower(): each.name}


def title(made: Application, fired: Fired) -> str:
    """The alert's name: that of a database names its technology."""
    if "{Store}" not in fired.rule.alert:
        return fired.rule.alert
    name = made.workloads[fired.index].name.split("-")[0]
    return fired.rule.alert.replace("{Store}", DATABASES[name])


def reason(fired: Fired, seen: Looked) -> dict[str, str]:
    """The label that tells why a container waits."""
    if fired.rule.alert != "KubeContainerWaiting":
        return {}
    return {"reason": WAITING[int(seen.waiting[fired.index])]}
