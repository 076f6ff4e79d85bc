"""A made-up application of N services as it runs in a cluster: who calls whom, replicas, nodes, what they rest on.

Calls go down layers, mostly within a team, rather to what many call already (fan-in is heavy-tailed, as in Alibaba's
traces, Luo et al., SoCC 2021). Teams share databases and caches, everybody shares the cluster's DNS. How long the
program works, its slots and its share of a processor are chosen so that each service is used to a third or a half.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

TEAM = 25
"""Services of a team, which has a namespace of its own."""
STORES = (("postgres", 0.5), ("mysql", 0.3), ("mongodb", 0.2))
ENTRY_PER_S = (20.0, 120.0)
SLOWEST_P99_S = 0.3
"""What the slowest service needs when all is well."""
LAYERS = (0.08, 0.24, 0.3, 0.22, 0.1, 0.06)
"""Shares of the services by how far they are from the front."""
FAME = 4
"""How many times likelier one is called for each caller that it has, against one that nobody calls."""
TAIL = 2.5
"""p99 over mean of a time that is well (a little more than that of an Erlang-2 law)."""


class Workload(msgspec.Struct):
    """A workload and the Service before it, which bears its name."""

    name: str
    namespace: str
    role: str
    """web, store, cache, dns, or external: outside of the cluster, without pods."""
    replicas: int = 0
    work_s: float = 0.01
    """Its own work for a request."""
    cpu_s: float = 0.005
    """Of it, on a processor."""
    slots: float = 8.0
    """Requests that one pod can have in hand."""
    cores: float = 1.0
    """Processor limit of a pod."""
    memory_mb: float = 200.0
    limit_mb: float = 400.0
    entry_per_s: float = 0.0
    """Requests from outside."""
    usual_per_s: float = 0.0
    """All requests when all is well."""
    config: list[str] = []
    secrets: list[str] = []
    claim: str = ""
    liveness: bool = False
    """Whether the kubelet ends a container that answers its probe late for long."""
    recreate: bool = False
    start_s: float = 8.0

    @property
    def kind(self) -> str:
        if self.role == "external":
            return "ExternalDependency"
        return "StatefulSet" if self.role in ("store", "cache") else "Deployment"

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name}" if self.role == "external" else f"{self.kind}/{self.namespace}/{self.name}"

    @property
    def service(self) -> str:
        """What is called: the Service, or the external thing itself."""
        name = "kube-dns" if self.role == "dns" else self.name
        return self.id if self.role == "external" else f"Service/{self.namespace}/{name}"


class Call(msgspec.Struct):
    """One workload calls another; both are numbers."""

    caller: int
    callee: int
    share: float
    """Calls for each request of the caller."""
    timeout_s: float = 1.0
    retries: int = 0
    instead: int = -1
    """Number of the call that is made instead when this one fails: the database where the cache is away."""


class Node(msgspec.Struct):
    name: str
    zone: str
    cores: float
    memory_mb: float
    address: str


class Application(msgspec.Struct):
    services: int
    seed: int
    workloads: list[Workload]
    calls: list[Call]
    nodes: list[Node]
    pods: list[tuple[int, int]]
    """(workload, node) of each pod."""
    quotas: dict[str, str]
    """Namespace → its quota."""
    policies: dict[str, int]
    """NetworkPolicy → the workload that it applies to."""
    certificates: dict[str, int]
    """Certificate → the entry that it secures, by its ingress."""
    jobs: list[tuple[str, int]]
    """(Job, node of its pod)."""
    dns: int

    def namespaces(self) -> list[str]:
        return sorted({each.namespace for each in self.workloads if each.role != "external"})


def build(services: int, seed: int) -> Application:
    """An application of `services` services, databases and caches among them."""
    chance = random.Random(f"application {services} {seed}")
    made = Application(services, seed, [], [], [], [], {}, {}, {}, [], 0)
    teams = max(1, round(services / TEAM))
    web: list[list[int]] = []
    stores: list[list[int]] = []
    caches: list[list[int]] = []
    for team in range(teams):
        size = services // teams + (team < services % teams)
        for found in (web, stores, caches):
            found.append([])
        databases, cached = max(1, round(size * 0.1)), round(size * 0.06 + chance.random() * 0.5)
        for number in range(size):
            if number < databases:
                name = chance.choices([each for each, _ in STORES], [share for _, share in STORES])[0]
                stores[team].append(_add(made, chance, f"{name}-{number}", team, "store"))
            elif number < databases + cached:
                caches[team].append(_add(made, chance, f"redis-{number}", team, "cache"))
            else:
                web[team].append(_add(made, chance, f"svc-{team}-{number}", team, "web"))
    made.dns = _add(made, chance, "coredns", -1, "dns")
    for number in range(max(1, services // 60)):
        made.workloads.append(Workload(f"{chance.choice(('stripe', 'smtp', 's3', 'maps'))}-{number}", "", "external",
                                       work_s=0.06, slots=1e6))  # fmt: skip
    _wire(made, chance, web, stores, caches)
    _size(made, chance)
    _place(made, chance)
    _around(made, chance)
    return made


def _add(made: Application, chance: random.Random, name: str, team: int, role: str) -> int:
    one = Workload(name, "kube-system" if team < 0 else f"team-{team}", role)
    one.work_s = {"web": chance.uniform(0.004, 0.03), "store": 0.004, "cache": 0.001, "dns": 0.001}[role]
    one.replicas = {"web": chance.choice((1, 2, 2, 3, 3, 4, 6)), "store": 1, "cache": 1, "dns": 2}[role]
    one.liveness = role == "web" and chance.random() < 0.5
    one.recreate = role == "web" and chance.random() < 0.15
    one.start_s = chance.uniform(3, 15)
    made.workloads.append(one)
    return len(made.workloads) - 1


def _wire(
    made: Application, chance: random.Random, web: list[list[int]], stores: list[list[int]], caches: list[list[int]]
) -> None:
    external = [number for number, each in enumerate(made.workloads) if each.role == "external"]
    popular: list[int] = [each for team in web for each in team]
    """One entry for each service and one more for each time it is called: who is called is called more."""
    layer = {each: chance.choices(range(6), LAYERS)[0] for team in web for each in team}
    team_of = {each: number for number, team in enumerate(web) for each in team}
    known: set[tuple[int, int]] = set()
    for each in sorted(layer, key=lambda number: (layer[number], number)):
        wanted = chance.choice((0, 1, 2, 2, 3)) if layer[each] else chance.choice((2, 3, 4))
        for _ in range(wanted):
            pool = web[team_of[each]] if chance.random() < 0.7 else popular
            callee = next((one for one in (chance.choice(pool) for _ in range(8)) if layer[one] > layer[each]), None)
            if callee is None or (each, callee) in known:
                continue
            known.add((each, callee))
            popular += [callee] * FAME
            _call(made, chance, each, callee, chance.choice((0.2, 0.5, 1.0, 1.0)))
        team = team_of[each]
        if chance.random() < 0.6:
            database = chance.choice(stores[team])
            share = chance.choice((0.5, 1.0, 1.0, 2.0))
            if caches[team] and chance.random() < 0.5:
                _call(made, chance, each, database, 0.15 * share)
                _call(made, chance, each, chance.choice(caches[team]), share, instead=len(made.calls) - 1)
            else:
                _call(made, chance, each, database, share)
        if chance.random() < 0.05:
            _call(made, chance, each, chance.choice(external), chance.choice((0.2, 1.0)))
    called = {each.callee for each in made.calls}
    for each in sorted(set(layer) - called):
        above = [one for one in web[team_of[each]] if layer[one] < layer[each]]
        if above and chance.random() < 0.8:
            _call(made, chance, chance.choice(above), each, chance.choice((0.2, 0.5, 1.0)))
            called.add(each)
    for number in layer:
        if number not in called:
            made.workloads[number].entry_per_s = chance.uniform(*ENTRY_PER_S)


def _call(made: Application, chance: random.Random, caller: int, callee: int, share: float, instead: int = -1) -> None:
    timeout, retries = chance.choice((0.5, 1.0, 1.0, 2.0)), chance.choice((0, 0, 1, 2))
    made.calls.append(Call(caller, callee, share, timeout, retries, instead))


def order(made: Application) -> Iterator[int]:
    """Every workload after those that call it; there are no cycles."""
    waiting = [0] * len(made.workloads)
    onward: dict[int, list[int]] = {}
    for call in made.calls:
        waiting[call.callee] += 1
        onward.setdefault(call.caller, []).append(call.callee)
    front = [number for number, count in enumerate(waiting) if not count]
    while front:
        here = front.pop()
        yield here
        for callee in onward.get(here, ()):
            waiting[callee] -= 1
            if not waiting[callee]:
                front.append(callee)


LOOKED_UP = 0.2
"""Share of calls for which a name is looked up; the rest go over connections that are there."""


def _size(made: Application, chance: random.Random) -> None:
    """What each gets when all is well, and slots, processors and memory for it."""
    below: dict[int, list[Call]] = {}
    for call in made.calls:
        below.setdefault(call.caller, []).append(call)
    sequence = list(order(made))
    total = 0.0
    for number in sequence:
        each = made.workloads[number]
        each.usual_per_s += each.entry_per_s
        for call in below.get(number, ()):
            made.workloads[call.callee].usual_per_s += each.usual_per_s * call.share
            total += each.usual_per_s * call.share
    made.workloads[made.dns].usual_per_s += total * LOOKED_UP
    held: dict[int, float] = {}

    def measure(factor: float) -> float:
        for number in reversed(sequence):
            waits = sum(call.share * held[call.callee] for call in below.get(number, ()))
            held[number] = made.workloads[number].work_s * factor + waits
        return max(held.values()) * TAIL

    factor = min(1.0, SLOWEST_P99_S / measure(1.0))
    measure(factor)
    for number, each in enumerate(made.workloads):
        if each.role == "external":
            each.work_s *= factor
            continue
        each.work_s *= factor
        used = chance.uniform(0.25, 0.5)
        each.replicas = max(each.replicas, min(20, round(each.usual_per_s / 250)))
        per_pod = each.usual_per_s / each.replicas
        each.slots = max(2.0, per_pod * held[number] / used)
        each.cpu_s = each.work_s * (0.7 if each.role == "web" else 0.5)
        each.cores = max(0.1, per_pod * each.cpu_s / chance.uniform(0.25, 0.5))
        each.memory_mb = chance.uniform(80, 400) * (3 if each.role in ("store", "cache") else 1)
        each.limit_mb = each.memory_mb * chance.uniform(1.6, 2.5)


def _place(made: Application, chance: random.Random) -> None:
    """Pods of a workload on different nodes where there are enough; nodes as large as what runs on them asks."""
    wanted = sum(each.replicas for each in made.workloads)
    count = max(3, wanted // 14)
    taken = [0] * count
    for number, each in enumerate(made.workloads):
        for node in sorted(range(count), key=lambda one: (taken[one], chance.random()))[: each.replicas]:
            made.pods.append((number, node))
            taken[node] += 1
        for _ in range(each.replicas - count):
            made.pods.append((number, chance.randrange(count)))
    for node in range(count):
        address = f"10.{node // 200}.7.{node % 200 + 10}"
        made.nodes.append(Node(f"node-{node}", f"zone-{'abc'[node % 3]}", 0.0, 0.0, address))
    for number, place in made.pods:
        each = made.workloads[number]
        made.nodes[place].cores += each.usual_per_s / each.replicas * each.cpu_s
        made.nodes[place].memory_mb += each.memory_mb
    for one in made.nodes:
        one.cores = max(1.0, one.cores / chance.uniform(0.35, 0.6))
        one.memory_mb = max(1000.0, one.memory_mb / chance.uniform(0.5, 0.75))


def _around(made: Application, chance: random.Random) -> None:
    """Configuration, volumes, quotas, policies, certificates, jobs."""
    shared = {space: f"ConfigMap/{space}/common" for space in made.namespaces() if chance.random() < 0.6}
    for space in made.namespaces():
        if space != "kube-system" and chance.random() < 0.7:
            made.quotas[space] = f"ResourceQuota/{space}/quota"
    for number, each in enumerate(made.workloads):
        if each.role == "external":
            continue
        here = f"{each.namespace}/{each.name}"
        if chance.random() < 0.7 or each.role == "dns":
            each.config.append(f"ConfigMap/{here}-config")
        if each.namespace in shared and chance.random() < 0.3:
            each.config.append(shared[each.namespace])
        if chance.random() < 0.5:
            each.secrets.append(f"Secret/{here}-credentials")
        if each.role == "store":
            each.claim = f"PersistentVolumeClaim/{each.namespace}/data-{each.name}-0"
        if chance.random() < 0.2 and each.namespace != "kube-system":
            made.policies[f"NetworkPolicy/{each.namespace}/allow-{each.name}"] = number
        if each.entry_per_s and chance.random() < 0.4:
            made.certificates[f"Certificate/{each.namespace}/{each.name}-tls"] = number
    for number in range(max(1, len(made.workloads) // 40)):
        space = chance.choice([each for each in made.namespaces() if each != "kube-system"] or ["default"])
        made.jobs.append((f"Job/{space}/nightly-{number}", chance.randrange(len(made.nodes))))
