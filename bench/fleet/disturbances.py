"""What can be done to an application, and what the right answer is. Each changes the mechanism, never what is seen of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from bench.fleet.monitoring import Monitoring
from bench.fleet.pods import CONFIG, ERROR, IMAGE, PENDING, Rollout, Template

REVISION = "Workload.BadRevision"


class Done(msgspec.Struct):
    kind: str
    entities: tuple[str, ...]
    """Naming any of these is right."""
    modes: tuple[str, ...]
    changes: list[tuple[str, str, str]] = []
    """(entity, kind, detail) of what was altered on purpose."""
    gone: list[str] = []
    """Deleted: no longer in the topology."""
    states: dict[str, dict[str, object]] = {}
    """What the cluster's API tells of it beside what follows from pods and nodes."""


Maker = Callable[[Monitoring, random.Random], "Done | None"]


def _some(site: Monitoring, chance: random.Random, *roles: str, least: int = 1) -> int | None:
    """A workload that gets requests."""
    world = site.seen.world
    fitting = [
        number
        for number, each in enumerate(world.made.workloads)
        if each.role in roles and each.usual_per_s > 1 and each.replicas >= least and not _touched(site, number)
    ]
    return chance.choice(fitting) if fitting else None


def _touched(site: Monitoring, number: int) -> bool:
    """Whether something was done to it already: of two faults at once each has its own place."""
    world = site.seen.world
    here = world.pods.of == number
    return bool(world.cut[number] or not world.selects[number] or world.extra[number] or world.stall[number] != 1
                or world.slots_share[number] != 1 or (world.pods.revision[here] > 0).any()
                or (world.pods.why[here] > 0).any() or world.pods.hangs[here].any())  # fmt: skip


def _places(site: Monitoring, numbers: Iterable[int]) -> np.ndarray:  # type: ignore[type-arg]
    pods = site.seen.world.pods
    return np.flatnonzero(pods.there & np.isin(pods.of, list(numbers)))


def revision(site: Monitoring, chance: random.Random) -> Done | None:
    number = _some(site, chance, "web", "web", "store")
    if number is None:
        return None
    each = site.seen.world.made.workloads[number]
    how = chance.choice(("crash", "errors", "slow", "image", "probe", "oom", "leak", "throttled", "pending"))
    left_s = chance.uniform(60, 180)
    template, modes = {
        "crash": (Template(crash_after_s=chance.uniform(0.5, 20)), ("Workload.WrongCommand", "Workload.ProbeWrong")),
        "errors": (Template(fails=chance.uniform(0.15, 0.9)), ()),
        "slow": (Template(slower=chance.uniform(15, 80)), ()),
        "image": (Template(waits=IMAGE), ("Workload.ImageMissing", "Image.Missing", "Workload.RolloutStuck")),
        "probe": (Template(ready=False), ("Workload.ProbeWrong", "Workload.RolloutStuck")),
        "oom": (Template(memory=each.memory_mb / each.limit_mb * chance.uniform(0.4, 0.9)), ("Workload.LimitTooLow", "Workload.MemoryLeak")),
        "leak": (Template(leak_mb_s=(each.limit_mb - each.memory_mb) / left_s), ("Workload.MemoryLeak", "Workload.LimitTooLow")),
        "throttled": (Template(cores=chance.uniform(0.05, 0.2)), ("Workload.CPUThrottled", "Workload.LimitTooLow")),
        "pending": (Template(waits=PENDING), ("Workload.CannotSchedule", "Workload.RolloutStuck")),
    }[how]  # fmt: skip
    world = site.seen.world
    world.rollouts.append(Rollout(world.pods, number, each, template, len(world.made.nodes)))
    return Done(f"rollout-{how}", (each.id,), (REVISION, *modes), [(each.id, "rollout", f"{each.name}:2")])


def scaled(site: Monitoring, chance: random.Random) -> Done | None:
    number = _some(site, chance, "web", least=2)
    if number is None:
        return None
    each, places = site.seen.world.made.workloads[number], _places(site, [number])
    left = 0 if chance.random() < 0.5 else 1
    site.seen.world.pods.drop(places[left:])
    site.seen.wanted = site.seen.wanted.copy()
    site.seen.wanted[number] = left
    name = "scaled-down" if left else "scaled-to-zero"
    modes = ("Workload.ScaledDown", "Workload.Overload") if left else ("Workload.ScaledToZero",)
    return Done(name, (each.id,), modes, [(each.id, "scale", f"{len(places)} → {left} replicas")])


def overload(site: Monitoring, chance: random.Random) -> Done | None:
    number = _some(site, chance, "web")
    if number is None:
        return None
    world = site.seen.world
    each = world.made.workloads[number]
    used = max(0.1, float(world.saturation[number]))
    world.extra[number] = each.usual_per_s * (chance.uniform(1.2, 2.0) / used - 1)
    return Done("overload", (each.id,), ("Workload.Overload", "Workload.ScaledDown"))


def config(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    things = sorted({thing for each in world.made.workloads if each.role != "dns" for thing in each.config})
    thing = chance.choice(things)
    readers = [number for number, each in enumerate(world.made.workloads) if thing in each.config]
    if any(_touched(site, number) for number in readers):
        return None
    places = _places(site, readers)
    if chance.random() < 0.35:
        # Deleted, and its readers restarted by hand when the first of them went wrong.
        world.pods.drop(places)
        for place in places:
            world.pods.make(int(place), Template(waits=CONFIG), world.now)
        kept = [] if chance.random() < 0.7 else [thing]
        return Done("config-deleted", (thing,), ("ConfigMap.Missing",), [(thing, "delete", "")], [] if kept else [thing])
    match chance.choice(("errors", "slow", "crash")):
        case "errors":
            world.pods.fails[places] = chance.uniform(0.15, 0.9)
        case "slow":
            world.pods.slower[places] = chance.uniform(15, 60)
        case _:
            world.pods.crash_after_s[places] = chance.uniform(0.5, 8)
    return Done("config-wrong", (thing,), ("ConfigMap.Wrong",), [(thing, "config", "keys url, timeout")])


def secret(site: Monitoring, chance: random.Random) -> Done | None:
    """The database got other credentials, who reads the Secret did not."""
    world = site.seen.world
    known = [
        (number, call)
        for call, each in enumerate(world.made.calls)
        if world.made.workloads[(number := each.caller)].secrets and world.made.workloads[each.callee].role == "store"
    ]
    if not known:
        return None
    number, call = chance.choice(known)
    world.call_fails[call] = chance.uniform(0.8, 1.0)
    thing = world.made.workloads[number].secrets[0]
    return Done("secret-rotated", (thing,), ("Secret.Rotated", "ConfigMap.Wrong"), [(thing, "config", "contents were written")])


def policy(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    known = sorted((name, number) for name, number in world.made.policies.items() if world.made.workloads[number].usual_per_s > 1)
    if not known:
        return None
    thing, number = chance.choice(known)
    world.cut[number] = True
    return Done("policy", (thing,), ("NetworkPolicy.Blocks",), [(thing, "policy", "spec changed")])


def service(site: Monitoring, chance: random.Random) -> Done | None:
    number = _some(site, chance, "web", "store", "cache")
    if number is None:
        return None
    world = site.seen.world
    thing = world.made.workloads[number].service
    match chance.choice(("selector", "port", "deleted")):
        case "selector":
            world.selects[number] = False
            state: dict[str, object] = {"selected_pods": 0, "ready_endpoints": 0, "not_ready_endpoints": 0}
            return Done("service-selector", (thing,), ("Service.SelectorMismatch", "Service.NoEndpoints"),
                        [(thing, "config", "spec changed")], states={thing: state})  # fmt: skip
        case "port":
            world.port_right[number] = False
            return Done("service-port", (thing,), ("Service.WrongTargetPort",), [(thing, "config", "spec changed")],
                        states={thing: {"port_declared": False}})  # fmt: skip
    world.selects[number] = False
    return Done("service-deleted", (thing,), ("Service.Deleted",), [(thing, "delete", "")], [thing])


def deleted(site: Monitoring, chance: random.Random) -> Done | None:
    number = _some(site, chance, "web", "cache")
    if number is None:
        return None
    thing = site.seen.world.made.workloads[number].id
    site.seen.world.pods.drop(_places(site, [number]))
    site.seen.wanted = site.seen.wanted.copy()
    site.seen.wanted[number] = 0
    return Done("workload-deleted", (thing,), ("Workload.Deleted",), [(thing, "delete", "")], [thing])


def node(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    used = np.unique(world.pods.node[world.pods.there & world.up[world.pods.node]])
    number = int(chance.choice(list(used)))
    thing = f"Node/{world.made.nodes[number].name}"
    changes = [(thing, "node", "kernel update")] if chance.random() < 0.2 else []
    match chance.choice(("down", "down", "memory", "network")):
        case "down":
            world.up[number], world.down_since[number] = False, world.now
            return Done("node-down", (thing,), ("Node.NotReady", "Node.Unreachable", "Node.Flapping", "Node.KubeletSick"), changes)
        case "memory":
            room = world.node_mb[number] * (1 - float(world.node_used[number]))
            world.taken_mb[number] = room + world.node_mb[number] * chance.uniform(-0.04, 0.1)
            return Done("node-memory", (thing,), ("Node.MemoryPressure",), changes)
    world.loss[number] = chance.uniform(0.2, 0.6)
    return Done("node-network", (thing,), ("Node.NetworkUnavailable", "Node.ConntrackFull", "Node.Unreachable"), changes)


def noisy(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    job, number = chance.choice(world.made.jobs)
    world.grabbed[number] = chance.uniform(0.75, 0.95)
    pod = f"Pod/{job.split('/')[1]}/{job.split('/')[2]}-x"
    named = (job, pod, f"Node/{world.made.nodes[number].name}")
    return Done("noisy", named, ("Job.NoisyNeighbour", "Pod.NoisyNeighbour", "Node.Saturated"), [(job, "rollout", "started")])


def dns(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    each = world.made.workloads[world.made.dns]
    named = (each.id, each.service, *each.config[:1])
    if chance.random() < 0.5:
        world.stall[world.made.dns] = 400 * chance.uniform(1, 4)
        return Done("dns-overload", named, ("DNS.Overload", "DNS.Fail", "Workload.Overload"))
    places = _places(site, [world.made.dns])
    world.pods.crash_after_s[places] = chance.uniform(0.5, 5)
    return Done("dns-crash", named, ("DNS.Fail", "ConfigMap.Wrong", REVISION), [(each.config[0], "config", "keys Corefile")])


def database(site: Monitoring, chance: random.Random) -> Done | None:
    number = _some(site, chance, "store")
    if number is None:
        return None
    world = site.seen.world
    each = world.made.workloads[number]
    match chance.choice(("slow", "connections", "crash", "volume", "volume")):
        case "slow":
            world.stall[number] = chance.uniform(60, 400)
            modes: tuple[str, ...] = ("Database.SlowQueries", "Database.Deadlocks", "Workload.Stuck", "Workload.Deadlock", "Workload.Overload")
            return Done("store-slow", (each.id,), modes)
        case "connections":
            world.slots_share[number] = chance.uniform(0.05, 0.25)
            modes = ("Database.ConnectionsExhausted", "Workload.PoolExhausted", "Workload.Overload")
            return Done("store-connections", (each.id,), modes)
        case "crash":
            places = _places(site, [number])
            world.pods.crash_after_s[places] = chance.uniform(0.5, 8)
            pod = (f"Pod/{each.namespace}/{each.name}-0",)
            return Done("store-crash", (each.id, *pod), ("Database.Down", "Pod.CrashLoop", REVISION, "Workload.WrongCommand"))
    world.filling[number] = chance.uniform(0.005, 0.02)
    return Done("volume-full", (each.claim,), ("PersistentVolumeClaim.Full", "PersistentVolumeClaim.InodesFull", "Database.DiskFull"))


def cache(site: Monitoring, chance: random.Random) -> Done | None:
    """A cache ends for want of memory again and again; who has one asks the database instead."""
    number = _some(site, chance, "cache")
    if number is None:
        return None
    world = site.seen.world
    each, places = world.made.workloads[number], _places(site, [number])
    world.pods.leak_mb_s[places] = each.limit_mb / chance.uniform(5, 20)
    world.pods.starts_at[places] = world.now - world.pods.start_s[places]
    named = (each.id, f"Pod/{each.namespace}/{each.name}-0")
    return Done("cache-oom", named, ("Cache.Full", "Cache.Down", "Workload.MemoryLeak", "Workload.LimitTooLow", "Pod.OOMKilled"))


def quota(site: Monitoring, chance: random.Random) -> Done | None:
    """A quota that is full, told by pods that go and do not come back."""
    world = site.seen.world
    if not world.made.quotas:
        return None
    space = chance.choice(sorted(world.made.quotas))
    here = [number for number, each in enumerate(world.made.workloads) if each.namespace == space and each.usual_per_s > 1
            and each.role == "web" and not _touched(site, number)]  # fmt: skip
    for number in chance.sample(here, min(len(here), chance.randint(1, 3))):
        places = _places(site, [number])
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


def pod(site: Monitoring, chance: random.Random) -> Done | None:
    """One pod of several stands still, or ends again and again."""
    number = _some(site, chance, "web", least=2)
    if number is None:
        return None
    world = site.seen.world
    place = int(chance.choice(list(_places(site, [number]))))
    thing = f"Pod/{world.made.workloads[number].namespace}/{pod_name(site, place)}"
    if chance.random() < 0.5:
        world.pods.hangs[place] = True
        return Done("pod-hangs", (thing,), ("Pod.Stuck",))
    world.pods.crash_after_s[place] = chance.uniform(1, 10)
    chosen = np.zeros(len(world.pods.of), bool)
    chosen[place] = True
    world.pods.end(chosen, ERROR, world.now)
    return Done("pod-crashes", (thing,), ("Pod.CrashLoop",))


def certificate(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    if not world.made.certificates:
        return None
    thing, number = chance.choice(sorted(world.made.certificates.items()))
    world.untrusted[number] = True
    site.seen.expired.add(thing)
    return Done("certificate", (thing,), ("Certificate.Expired", "Certificate.Wrong"), states={thing: {"ready": False}})


def pod_name(site: Monitoring, place: int) -> str:
    """The name of the pod that has a place now: another one for each pod that ever had it."""
    pods = site.seen.world.pods
    each = site.seen.world.made.workloads[int(pods.of[place])]
    if each.kind == "StatefulSet":
        return f"{each.name}-{place - int(np.flatnonzero(pods.of == pods.of[place])[0])}"
    return f"{each.name}-r{int(pods.revision[place])}-{place}x{int(pods.generation[place])}"


MAKERS: tuple[tuple[Maker, int], ...] = (
    (revision, 9), (scaled, 2), (overload, 3), (config, 4), (secret, 1), (policy, 1), (service, 3), (deleted, 1), (node, 4), (noisy, 1),
    (dns, 2), (database, 4), (cache, 1), (quota, 2), (external, 2), (pod, 2), (certificate, 1),
)  # fmt: skip
