"""A random cluster: nodes, workloads, services that call each other, and what they rest on."""

from __future__ import annotations

import random

import msgspec

from graph_schema.model import Entity, Relation

NAMES = [
    "front",
    "checkout",
    "cart",
    "catalogue",
    "search",
    "payment",
    "billing",
    "orders",
    "inventory",
    "shipping",
    "accounts",
    "profile",
    "pricing",
    "reviews",
    "recommendations",
    "notify",
    "mailer",
    "media",
    "gateway",
    "basket",
    "ledger",
    "risk",
    "quote",
    "tracking",
    "returns",
    "loyalty",
    "promo",
    "tax",
    "ads",
    "feed",
]
STORES = (
    ("postgres", "StatefulSet"),
    ("mysql", "StatefulSet"),
    ("redis", "StatefulSet"),
    ("kafka", "StatefulSet"),
    ("mongodb", "StatefulSet"),
    ("userstore", "StatefulSet"),
    ("sessions", "Deployment"),
)


class Workload(msgspec.Struct):
    """A workload with the Service before it, and what it does per request."""

    name: str
    namespace: str
    kind: str
    id: str
    service: str
    pods: list[str]
    pod_nodes: list[str]
    replica_set: str = ""
    config: list[str] = []
    secret: list[str] = []
    claim: str = ""
    hpa: str = ""
    image: str = ""
    calls: dict[str, float] = {}
    """Name of a workload, or id of something external → share of requests that need it."""
    work_ms: float = 10.0
    capacity: float = 2.0
    """How many times its usual load it can take."""
    store: bool = False
    depth: int = 0


class World(msgspec.Struct):
    entities: dict[str, Entity]
    relations: list[Relation]
    workloads: dict[str, Workload]
    nodes: list[str]
    external: list[str]
    policies: dict[str, str]
    """NetworkPolicy → workload that it applies to."""
    quotas: dict[str, str]
    """Namespace → quota."""
    custom: dict[str, str]
    """Custom resource → workload that it steers or that rests on it."""
    certificates: dict[str, str]
    jobs: list[str]
    ingress: str
    namespaces: list[str]

    def add(self, kind: str, name: str, namespace: str = "", **properties: object) -> str:
        key = f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}"
        self.entities[key] = Entity(id=key, kind=kind, name=name, namespace=namespace, properties=properties)
        return key

    def join(self, source: str, kind: str, target: str) -> None:
        self.relations.append(Relation(source, target, kind))


def build(chance: random.Random) -> World:
    """A cluster of 3–9 nodes and 6–26 workloads."""
    world = World({}, [], {}, [], [], {}, {}, {}, {}, [], "", [])
    zones = [world.add("Zone", f"zone-{letter}") for letter in "abc"[: chance.choice([0, 2, 3])]]
    for number in range(chance.randint(3, 9)):
        address = f"10.{chance.randint(0, 9)}.{chance.randint(0, 250)}.{number + 10}"
        node = world.add("Node", f"worker-{number}", address=address)
        world.nodes.append(node)
        if zones:
            world.join(node, "IN", chance.choice(zones))
    world.namespaces = chance.sample(["shop", "prod", "platform", "data", "web"], chance.randint(1, 3))
    for namespace in world.namespaces:
        world.add("Namespace", namespace)
        if chance.random() < 0.7:
            quota = world.add("ResourceQuota", f"{namespace}-quota", namespace)
            world.quotas[namespace] = quota
            world.join(quota, "APPLIES_TO", f"Namespace/{namespace}")
    for place, name in enumerate(chance.sample(NAMES, chance.randint(5, 20))):
        _workload(world, chance, name, chance.choice(world.namespaces), "Deployment", depth=place)
    for name, kind in chance.sample(STORES, chance.randint(1, 4)):
        _workload(world, chance, name, chance.choice(world.namespaces), kind, store=True)
    if chance.random() < 0.8:
        _workload(world, chance, "coredns", "kube-system", "Deployment", service="kube-dns")
    if chance.random() < 0.5:
        _workload(world, chance, "node-agent", "kube-system", "DaemonSet")
    for number in range(chance.randint(0, 2)):
        world.external.append(
            world.add("ExternalDependency", chance.choice(["stripe", "smtp", "s3", "maps", "auth0"]) + f"-{number}")
        )
    _calls(world, chance)
    _around(world, chance)
    for key, thing in list(world.entities.items()):
        if thing.namespace in world.namespaces and thing.kind not in ("Pod", "ReplicaSet"):
            world.join(f"Namespace/{thing.namespace}", "CONTAINS", key)
    return world


def _workload(
    world: World,
    chance: random.Random,
    name: str,
    namespace: str,
    kind: str,
    *,
    store: bool = False,
    service: str = "",
    depth: int = 0,
) -> None:
    replicas = chance.choice([1, 2, 2, 3, 3, 4, 6]) if kind != "DaemonSet" else len(world.nodes)
    me = world.add(kind, name, namespace, replicas=replicas)
    front = world.add("Service", service or name, namespace) if kind != "DaemonSet" else ""
    owner = me
    replica_set = ""
    if kind == "Deployment":
        replica_set = world.add("ReplicaSet", f"{name}-{chance.randrange(16**8):08x}", namespace)
        world.join(me, "OWNS", replica_set)
        owner = replica_set
    made = Workload(name, namespace, kind, me, front, [], [], replica_set, store=store, depth=depth)
    for number in range(replicas):
        node = world.nodes[number] if kind == "DaemonSet" else chance.choice(world.nodes)
        suffix = str(number) if kind == "StatefulSet" else f"{chance.randrange(36**5):05d}"[:5] + str(number)
        pod = world.add("Pod", f"{world.entities[owner].name}-{suffix}", namespace, node=world.entities[node].name)
        world.join(owner, "OWNS", pod)
        world.join(pod, "RUNS_ON", node)
        if front:
            world.join(front, "SELECTS", pod)
        made.pods.append(pod)
        made.pod_nodes.append(node)
    made.work_ms = chance.choice([3, 5, 10, 20, 40])
    made.capacity = chance.uniform(1.3, 3.5)
    world.workloads[name] = made


def _calls(world: World, chance: random.Random) -> None:
    ordered = sorted(
        (each for each in world.workloads.values() if each.namespace in world.namespaces and not each.store),
        key=lambda each: each.depth,
    )
    stores = [each for each in world.workloads.values() if each.store]
    for place, caller in enumerate(ordered):
        below = ordered[place + 1 : place + 8]
        callees = chance.sample(below, min(len(below), chance.choice([0, 1, 1, 2, 2, 3])))
        if place == 0 and not callees and below:
            callees = below[:2]
        callees += chance.sample(stores, min(len(stores), chance.choice([0, 1, 1, 1, 2])))
        if place > 3 and chance.random() < 0.04:
            callees.append(chance.choice(ordered[:place]))
        for callee in callees:
            caller.calls[callee.name] = chance.choice([0.3, 0.6, 1.0, 1.0])
            world.join(caller.service, "CALLS", callee.service)
        for external in world.external:
            if chance.random() < 0.2:
                caller.calls[external] = chance.choice([0.3, 1.0])
                world.join(caller.service, "CALLS", external)
    front = ordered[0]
    world.ingress = world.add("Ingress", "public", front.namespace)
    world.join(world.ingress, "ROUTES_TO", front.service)


def _around(world: World, chance: random.Random) -> None:
    """Configuration, volumes, policies, autoscalers, custom resources."""
    shared = {
        space: world.add("ConfigMap", f"{space}-common", space) for space in world.namespaces if chance.random() < 0.6
    }
    for each in world.workloads.values():
        for kind, share, kept in (("ConfigMap", 0.7, each.config), ("Secret", 0.5, each.secret)):
            if chance.random() < share:
                kept.append(
                    world.add(kind, f"{each.name}-{'config' if kind == 'ConfigMap' else 'credentials'}", each.namespace)
                )
        if each.namespace in shared and chance.random() < 0.4:
            each.config.append(shared[each.namespace])
        for thing in [*each.config, *each.secret]:
            for pod in each.pods:
                world.join(pod, "MOUNTS", thing)
        if each.kind == "StatefulSet":
            each.claim = world.add("PersistentVolumeClaim", f"data-{each.name}-0", each.namespace)
            world.join(each.pods[0], "MOUNTS", each.claim)
        if each.kind == "Deployment" and chance.random() < 0.3:
            each.hpa = world.add("HorizontalPodAutoscaler", each.name, each.namespace)
            world.join(each.hpa, "SCALES", each.id)
        if chance.random() < 0.3 and each.namespace in world.namespaces:
            policy = world.add("NetworkPolicy", f"allow-{each.name}", each.namespace)
            world.policies[policy] = each.name
            for pod in each.pods:
                world.join(policy, "APPLIES_TO", pod)
        if chance.random() < 0.15 and each.namespace in world.namespaces:
            custom = world.add(
                chance.choice(["FeatureFlag", "RateLimit", "Tenant", "MLModel", "Pipeline"]), each.name, each.namespace
            )
            world.custom[custom] = each.name
            world.join(each.id, chance.choice(["DEPENDS_ON", "USES", "READS"]), custom)
        if chance.random() < 0.08 and each.service:
            certificate = world.add("Certificate", f"{each.name}-tls", each.namespace)
            world.certificates[certificate] = each.name
            world.join(certificate, "SECURES", each.service)
    for number in range(chance.randint(0, 2)):
        space = chance.choice(world.namespaces)
        job = world.add("Job", f"nightly-{number}", space)
        pod = world.add("Pod", f"nightly-{number}-x", space)
        world.join(job, "OWNS", pod)
        world.join(pod, "RUNS_ON", chance.choice(world.nodes))
        world.jobs.append(job)
