"""What can go wrong: each fault disturbs workloads, tells which things complain, and which change brought it about."""

from __future__ import annotations

import random
from collections.abc import Callable

from bench.worlds.cluster import World
from bench.worlds.fault import Fault, crash, some
from bench.worlds.flow import Local


def bad_revision(world: World, chance: random.Random) -> Fault | None:
    each = some(world, chance, store=False)
    if each is None:
        return None
    how = chance.choice(["crash", "crash", "errors", "slow", "oom", "image", "probe"])
    share = chance.choice([0.3, 0.5, 1.0, 1.0])
    modes = ["Workload.BadRevision"]
    local, says = Local(), []
    match how:
        case "crash":
            local.up, says = 1 - share, crash(each, share)
            modes += ["Workload.WrongCommand", "Workload.ProbeWrong"]
        case "errors":
            local.errors = chance.uniform(0.2, 0.9)
        case "slow":
            local.slower = chance.uniform(8, 60)
        case "oom":
            local.up, says = 1 - 0.6 * share, crash(each, share, "oom")
            modes += ["Workload.LimitTooLow", "Workload.MemoryLeak"]
        case "image":
            local.up, says = 1 - 0.3 * share, [*crash(each, share, "image"), (each.id, "rollout", 0.7)]
            modes += ["Workload.ImageMissing", "Workload.RolloutStuck"]
        case "probe":
            local.up, says = 1 - share, crash(each, share, "unready")
            modes += ["Workload.ProbeWrong", "Workload.RolloutStuck"]
    return Fault(
        f"rollout-{how}",
        (each.id,),
        tuple(modes),
        {each.name: local},
        complains=says,
        change=(each.id, "rollout", f"{each.name}:1.{chance.randint(1, 40)}"),
    )


def overload(world: World, chance: random.Random) -> Fault | None:
    each = some(world, chance, store=False)
    if each is None:
        return None
    local = Local(surge=each.capacity * chance.uniform(0.98, 1.6))
    says = [(pod, "cpu", 0.6) for pod in each.pods]
    if each.hpa:
        says.append((each.hpa, "hpa", 0.8))
    return Fault(
        "overload", (each.id,), ("Workload.Overload", "Workload.ScaledDown"), {each.name: local}, complains=says
    )


def scaled(world: World, chance: random.Random) -> Fault | None:
    each = some(world, chance, store=False)
    if each is None:
        return None
    if chance.random() < 0.5:
        return Fault(
            "scaled-to-zero",
            (each.id,),
            ("Workload.ScaledToZero",),
            {each.name: Local(up=0)},
            change=(each.id, "scale", f"{len(each.pods)} → 0"),
            certain_change=True,
        )
    local = Local(capacity=chance.uniform(0.2, 0.45))
    return Fault(
        "scaled-down",
        (each.id,),
        ("Workload.ScaledDown", "Workload.Overload"),
        {each.name: local},
        complains=[(pod, "cpu", 0.6) for pod in each.pods[:1]],
        change=(each.id, "scale", f"{len(each.pods) + 3} → {len(each.pods)}"),
    )


def config(world: World, chance: random.Random) -> Fault | None:
    things = sorted({thing for each in world.workloads.values() for thing in [*each.config, *each.secret]})
    if not things:
        return None
    thing = chance.choice(things)
    secret = thing.startswith("Secret/")
    deleted = chance.random() < 0.35
    local, says = {}, []
    for each in world.workloads.values():
        if thing in each.config or thing in each.secret:
            if deleted or chance.random() < 0.5:
                share = chance.choice([0.5, 1.0])
                local[each.name] = Local(up=1 - share)
                says += crash(each, share, "config" if deleted else "crash")
            else:
                local[each.name] = Local(errors=chance.uniform(0.2, 0.9))
    modes = (
        ("ConfigMap.Missing",) if deleted else ("ConfigMap.Wrong", "Secret.Rotated") if secret else ("ConfigMap.Wrong",)
    )
    change = (thing, "delete" if deleted else "config", "" if deleted else "keys url")
    gone = thing if deleted and chance.random() < 0.7 else ""
    name = f"{'secret' if secret else 'config'}-{'deleted' if deleted else 'wrong'}"
    return Fault(name, (thing,), modes, local, complains=says, change=change, certain_change=deleted, gone=gone)


def policy(world: World, chance: random.Random) -> Fault | None:
    if not world.policies:
        return None
    thing, name = chance.choice(sorted(world.policies.items()))
    return Fault(
        "policy",
        (thing,),
        ("NetworkPolicy.Blocks",),
        {name: Local(unreachable=True)},
        change=(thing, "policy", "spec changed"),
    )


def quota(world: World, chance: random.Random) -> Fault | None:
    spaces = sorted(world.quotas)
    if not spaces:
        return None
    space = chance.choice(spaces)
    hit = [each for each in world.workloads.values() if each.namespace == space]
    hit = chance.sample(hit, min(len(hit), chance.randint(1, 3)))
    if not hit:
        return None
    local = {each.name: Local(up=1 - 1 / (len(each.pods) + 1)) for each in hit}
    says = [(each.id, "replicas", 0.85) for each in hit] + [(world.quotas[space], "quota", 0.7)]
    return Fault(
        "quota",
        (world.quotas[space],),
        ("ResourceQuota.Full",),
        local,
        complains=says,
        change=(world.quotas[space], "policy", "hard limits lowered"),
    )


def claim(world: World, chance: random.Random) -> Fault | None:
    each = some(world, chance, store=True)
    if each is None or not each.claim:
        return None
    local = Local(errors=chance.uniform(0.3, 1.0), up=chance.choice([1.0, 0.5, 0.0]))
    says = [(each.claim, "volume", 0.85), *(crash(each, 1 / len(each.pods)) if local.up < 1 else [])]
    return Fault(
        "claim-full",
        (each.claim,),
        ("PersistentVolumeClaim.Full", "PersistentVolumeClaim.InodesFull"),
        {each.name: local},
        complains=says,
    )


def node(world: World, chance: random.Random) -> Fault | None:
    thing = chance.choice(world.nodes)
    how = chance.choice(["down", "down", "memory", "network"])
    local: dict[str, Local] = {}
    says: list[tuple[str, str, float]] = [(thing, f"node-{how}", 0.85)]
    for each in world.workloads.values():
        there = [pod for pod, at in zip(each.pods, each.pod_nodes, strict=True) if at == thing]
        if not there:
            continue
        share = len(there) / len(each.pods)
        if how == "down":
            local[each.name] = Local(up=1 - share)
            says += [
                (each.id, "replicas" if each.kind != "DaemonSet" else "rollout", 0.75),
                *((pod, "unready", 0.3) for pod in there),
            ]
        elif how == "memory" and chance.random() < 0.6:
            local[each.name] = Local(up=1 - 0.5 * share, slower=1 + 2 * share)
            says += [(pod, chance.choice(["evicted", "oom"]), 0.5) for pod in there]
        elif how == "network":
            local[each.name] = Local(errors=0.5 * share, slower=1 + 6 * share)
    modes = {
        "down": ("Node.NotReady", "Node.Unreachable", "Node.Flapping"),
        "memory": ("Node.MemoryPressure",),
        "network": ("Node.NetworkUnavailable", "Node.ConntrackFull", "Node.Unreachable"),
    }[how]
    change = (thing, "node", "kernel update") if chance.random() < 0.3 else None
    return Fault(f"node-{how}", (thing,), modes, local, complains=says, change=change)


def service(world: World, chance: random.Random) -> Fault | None:
    each = some(world, chance, called=True)
    if each is None or not each.service:
        return None
    local = {each.name: Local(unreachable=True)}
    if chance.random() < 0.5:
        gone = each.service if chance.random() < 0.6 else ""
        return Fault(
            "service-deleted",
            (each.service,),
            ("Service.Deleted",),
            local,
            change=(each.service, "delete", ""),
            certain_change=True,
            gone=gone,
        )
    return Fault(
        "service-selector",
        (each.service,),
        ("Service.SelectorMismatch", "Service.WrongTargetPort", "Service.NoEndpoints"),
        local,
        complains=[(each.service, "endpoints", 0.4)],
        change=(each.service, "config", "spec changed"),
    )


def workload_deleted(world: World, chance: random.Random) -> Fault | None:
    each = some(world, chance, called=True)
    if each is None:
        return None
    return Fault(
        "workload-deleted",
        (each.id,),
        ("Workload.Deleted",),
        {each.name: Local(up=0)},
        change=(each.id, "delete", ""),
        certain_change=True,
        gone=each.id,
    )


def dns(world: World, chance: random.Random) -> Fault | None:
    each = world.workloads.get("coredns")
    if each is None:
        return None
    local = {other.name: Local(errors=chance.uniform(0.1, 0.6)) for other in world.workloads.values() if other.calls}
    local["coredns"] = Local(errors=0.7)
    says = crash(each, 1.0) if chance.random() < 0.6 else [(each.id, "dns", 0.7)]
    entities = (each.id, each.service, *each.config)
    change = (each.id, "rollout", "coredns:1.11") if chance.random() < 0.5 else None
    return Fault(
        "dns", entities, ("DNS.Fail", "DNS.Overload", "Workload.BadRevision"), local, complains=says, change=change
    )


def store(world: World, chance: random.Random) -> Fault | None:
    each = some(world, chance, store=True)
    if each is None:
        return None
    if chance.random() < 0.5:
        return Fault(
            "store-connections",
            (each.id,),
            (
                "Database.ConnectionsExhausted",
                "Workload.Overload",
                "Cache.Full",
                "Queue.Full",
                "Workload.PoolExhausted",
            ),
            {each.name: Local(errors=chance.uniform(0.2, 0.7), slower=5)},
            complains=[(each.id, "connections", 0.75)],
        )
    return Fault(
        "store-slow",
        (each.id,),
        ("Database.SlowQueries", "Database.Deadlocks", "Workload.Stuck", "Workload.Deadlock", "Workload.Overload"),
        {each.name: Local(slower=chance.uniform(20, 150))},
        complains=[(each.id, "slow", 0.6)],
    )


def external(world: World, chance: random.Random) -> Fault | None:
    used = sorted({callee for each in world.workloads.values() for callee in each.calls} & set(world.external))
    if not used:
        return None
    thing = chance.choice(used)
    down = chance.random() < 0.6
    return Fault(
        f"external-{'down' if down else 'slow'}",
        (thing,),
        ("ExternalDependency.Down",) if down else ("ExternalDependency.Slow",),
        {},
        {thing: Local(up=0) if down else Local(slower=40)},
        [(thing, "probe" if down else "slow", 0.6)],
    )


def custom(world: World, chance: random.Random) -> Fault | None:
    if not world.custom:
        return None
    thing, name = chance.choice(sorted(world.custom.items()))
    deleted = chance.random() < 0.4
    return Fault(
        "custom",
        (thing,),
        ("Other.Deleted",) if deleted else ("Other.Misconfigured", "Other.Faulty"),
        {name: Local(errors=chance.uniform(0.3, 0.9))},
        change=(thing, "delete" if deleted else "config", ""),
        certain_change=True,
        gone=thing if deleted and chance.random() < 0.5 else "",
    )


def pod(world: World, chance: random.Random) -> Fault | None:
    each = some(world, chance)
    if each is None or len(each.pods) < 2:
        return None
    thing = chance.choice(each.pods)
    says = [(thing, chance.choice(["crash", "unready", "oom"]), 0.9), (each.id, "replicas", 0.6)]
    return Fault(
        "pod",
        (thing,),
        ("Pod.CrashLoop", "Pod.Stuck", "Pod.OOMKilled"),
        {each.name: Local(up=1 - 1 / len(each.pods))},
        complains=says,
    )


def certificate(world: World, chance: random.Random) -> Fault | None:
    if not world.certificates:
        return None
    thing, name = chance.choice(sorted(world.certificates.items()))
    return Fault(
        "certificate",
        (thing,),
        ("Certificate.Expired", "Certificate.Wrong"),
        {name: Local(unreachable=True)},
        complains=[(thing, "certificate", 0.7)],
    )


def noisy(world: World, chance: random.Random) -> Fault | None:
    if not world.jobs:
        return None
    job = chance.choice(world.jobs)
    mine = next(each.target for each in world.relations if each.source == job)
    at = next(each.target for each in world.relations if each.source == mine and each.kind == "RUNS_ON")
    local = {}
    for each in world.workloads.values():
        share = each.pod_nodes.count(at) / len(each.pods)
        if share > 0 and chance.random() < 0.8:
            local[each.name] = Local(slower=1 + 8 * share)
    return Fault(
        "noisy",
        (job, mine, at),
        ("Job.NoisyNeighbour", "Pod.NoisyNeighbour", "Node.Saturated"),
        local,
        complains=[(at, "node-cpu", 0.8), (mine, "cpu", 0.5)],
        change=(job, "rollout", "started"),
    )


Maker = Callable[[World, random.Random], Fault | None]
MAKERS: tuple[tuple[Maker, int], ...] = (
    (bad_revision, 7),
    (overload, 3),
    (scaled, 2),
    (config, 5),
    (policy, 2),
    (quota, 2),
    (claim, 2),
    (node, 4),
    (service, 3),
    (workload_deleted, 1),
    (dns, 2),
    (store, 3),
    (external, 2),
    (custom, 2),
    (pod, 2),
    (certificate, 1),
    (noisy, 1),
)
