"""What can be done to what many share: nodes, DNS, databases and caches, quotas, what is outside of the cluster."""

from __future__ import annotations

import random

import numpy as np

from bench.fleet.disturbance import Done, places_of, some, touched
from bench.fleet.monitoring import Monitoring
from bench.fleet.of_workloads import REVISION


def node(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    used = np.unique(world.pods.node[world.pods.there & world.up[world.pods.node]])
    number = int(chance.choice(list(used)))
    thing = f"Node/{world.made.nodes[number].name}"
    changes = [(thing, "node", "kernel update")] if chance.random() < 0.2 else []
    match chance.choice(("down", "down", "memory", "network")):
        case "down":
            world.up[number], world.down_since[number] = False, world.now
            return Done(
                "node-down",
                (thing,),
                ("Node.NotReady", "Node.Unreachable", "Node.Flapping", "Node.KubeletSick"),
                changes,
            )
        case "memory":
            room = world.node_mb[number] * (1 - float(world.node_used[number]))
            world.taken_mb[number] = room + world.node_mb[number] * chance.uniform(-0.04, 0.1)
            return Done("node-memory", (thing,), ("Node.MemoryPressure",), changes)
    world.loss[number] = chance.uniform(0.2, 0.6)
    return Done(
        "node-network", (thing,), ("Node.NetworkUnavailable", "Node.ConntrackFull", "Node.Unreachable"), changes
    )


def noisy(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    job, number = chance.choice(world.made.jobs)
    world.grabbed[number] = chance.uniform(0.75, 0.95)
    pod = f"Pod/{job.split('/')[1]}/{job.split('/')[2]}-x"
    named = (job, pod, f"Node/{world.made.nodes[number].name}")
    return Done(
        "noisy", named, ("Job.NoisyNeighbour", "Pod.NoisyNeighbour", "Node.Saturated"), [(job, "rollout", "started")]
    )


def dns(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    each = world.made.workloads[world.made.dns]
    named = (each.id, each.service, *each.config[:1])
    if chance.random() < 0.5:
        world.stall[world.made.dns] = 400 * chance.uniform(1, 4)
        return Done("dns-overload", named, ("DNS.Overload", "DNS.Fail", "Workload.Overload"))
    places = places_of(site, [world.made.dns])
    world.pods.crash_after_s[places] = chance.uniform(0.5, 5)
    return Done(
        "dns-crash", named, ("DNS.Fail", "ConfigMap.Wrong", REVISION), [(each.config[0], "config", "keys Corefile")]
    )


def database(site: Monitoring, chance: random.Random) -> Done | None:
    number = some(site, chance, "store")
    if number is None:
        return None
    world = site.seen.world
    each = world.made.workloads[number]
    match chance.choice(("slow", "connections", "crash", "volume", "volume")):
        case "slow":
            world.stall[number] = chance.uniform(60, 400)
            modes: tuple[str, ...] = (
                "Database.SlowQueries",
                "Database.Deadlocks",
                "Workload.Stuck",
                "Workload.Deadlock",
                "Workload.Overload",
            )
            return Done("store-slow", (each.id,), modes)
        case "connections":
            world.slots_share[number] = chance.uniform(0.05, 0.25)
            modes = ("Database.ConnectionsExhausted", "Workload.PoolExhausted", "Workload.Overload")
            return Done("store-connections", (each.id,), modes)
        case "crash":
            places = places_of(site, [number])
            world.pods.crash_after_s[places] = chance.uniform(0.5, 8)
            pod = (f"Pod/{each.namespace}/{each.name}-0",)
            return Done(
                "store-crash", (each.id, *pod), ("Database.Down", "Pod.CrashLoop", REVISION, "Workload.WrongCommand")
            )
    world.filling[number] = chance.uniform(0.005, 0.02)
    return Done(
        "volume-full",
        (each.claim,),
        ("PersistentVolumeClaim.Full", "PersistentVolumeClaim.InodesFull", "Database.DiskFull"),
    )


def cache(site: Monitoring, chance: random.Random) -> Done | None:
    """A cache ends for want of memory again and again; who has one asks the database instead."""
    number = some(site, chance, "cache")
    if number is None:
        return None
    world = site.seen.world
    each, places = world.made.workloads[number], places_of(site, [number])
    world.pods.leak_mb_s[places] = each.limit_mb / chance.uniform(5, 20)
    world.pods.starts_at[places] = world.now - world.pods.start_s[places]
    named = (each.id, f"Pod/{each.namespace}/{each.name}-0")
    return Done(
        "cache-oom", named, ("Cache.Full", "Cache.Down", "Workload.MemoryLeak", "Workload.LimitTooLow", "Pod.OOMKilled")
    )


def quota(site: Monitoring, chance: random.Random) -> Done | None:
    """A quota that is full, told by pods that go and do not come back."""
    world = site.seen.world
    if not world.made.quotas:
        return None
    space = chance.choice(sorted(world.made.quotas))
    here = [
        number
        for number, each in enumerate(world.made.workloads)
        if each.namespace == space and each.usual_per_s > 1 and each.role == "web" and not touched(site, number)
    ]
    for number in chance.sample(here, min(len(here), chance.randint(1, 3))):
        places = places_of(site, [number])
        world.pods.drop(places[: chance.randint(1, max(1, len(places) - 1))])
    thing = world.made.quotas[space]
    site.seen.exhausted.add(thing)
    return Done("quota", (thing,), ("ResourceQuota.Full",), [(thing, "policy", "spec changed")]) if here else None


def external(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    used = sorted({each.callee for each in world.made.calls if world.made.workloads[each.callee].role == "external"})
    if not used:
        return None
    number = chance.choice(used)
    thing = world.made.workloads[number].id
    if chance.random() < 0.6:
        world.outside_fails[number] = chance.uniform(0.6, 1.0)
        return Done("external-down", (thing,), ("ExternalDependency.Down",))
    world.stall[number] = chance.uniform(20, 80)
    return Done("external-slow", (thing,), ("ExternalDependency.Slow",))


def certificate(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    if not world.made.certificates:
        return None
    thing, number = chance.choice(sorted(world.made.certificates.items()))
    world.untrusted[number] = True
    site.seen.expired.add(thing)
    return Done("certificate", (thing,), ("Certificate.Expired", "Certificate.Wrong"), states={thing: {"ready": False}})
