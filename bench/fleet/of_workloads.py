"""What can be done to one workload, what it reads, and what stands before it."""

from __future__ import annotations

import random

import numpy as np

from bench.fleet.disturbance import Done, places_of, pod_name, some, touched
from bench.fleet.monitoring import Monitoring
from bench.fleet.pods import CONFIG, ERROR, IMAGE, PENDING, Rollout, Template

REVISION = "Workload.BadRevision"
MEMORY = ("Workload.LimitTooLow", "Workload.MemoryLeak")


def revision(site: Monitoring, chance: random.Random) -> Done | None:
    number = some(site, chance, "web", "web", "store")
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
        "oom": (Template(memory=each.memory_mb / each.limit_mb * chance.uniform(0.4, 0.9)), MEMORY),
        "leak": (Template(leak_mb_s=(each.limit_mb - each.memory_mb) / left_s), MEMORY),
        "throttled": (Template(cores=chance.uniform(0.05, 0.2)), ("Workload.CPUThrottled", "Workload.LimitTooLow")),
        "pending": (Template(waits=PENDING), ("Workload.CannotSchedule", "Workload.RolloutStuck")),
    }[how]
    world = site.seen.world
    world.rollouts.append(Rollout(world.pods, number, each, template, len(world.made.nodes)))
    return Done(f"rollout-{how}", (each.id,), (REVISION, *modes), [(each.id, "rollout", f"{each.name}:2")])


def scaled(site: Monitoring, chance: random.Random) -> Done | None:
    number = some(site, chance, "web", least=2)
    if number is None:
        return None
    each, places = site.seen.world.made.workloads[number], places_of(site, [number])
    left = 0 if chance.random() < 0.5 else 1
    site.seen.world.pods.drop(places[left:])
    site.seen.wanted = site.seen.wanted.copy()
    site.seen.wanted[number] = left
    name = "scaled-down" if left else "scaled-to-zero"
    modes = ("Workload.ScaledDown", "Workload.Overload") if left else ("Workload.ScaledToZero",)
    return Done(name, (each.id,), modes, [(each.id, "scale", f"{len(places)} → {left} replicas")])


def overload(site: Monitoring, chance: random.Random) -> Done | None:
    number = some(site, chance, "web")
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
    if any(touched(site, number) for number in readers):
        return None
    places = places_of(site, readers)
    if chance.random() < 0.35:
        # Deleted, and its readers restarted by hand when the first of them went wrong.
        world.pods.drop(places)
        for place in places:
            world.pods.make(int(place), Template(waits=CONFIG), world.now)
        kept = [] if chance.random() < 0.7 else [thing]
        return Done(
            "config-deleted", (thing,), ("ConfigMap.Missing",), [(thing, "delete", "")], [] if kept else [thing]
        )
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
    return Done(
        "secret-rotated", (thing,), ("Secret.Rotated", "ConfigMap.Wrong"), [(thing, "config", "contents were written")]
    )


def policy(site: Monitoring, chance: random.Random) -> Done | None:
    world = site.seen.world
    known = sorted(
        (name, number) for name, number in world.made.policies.items() if world.made.workloads[number].usual_per_s > 1
    )
    if not known:
        return None
    thing, number = chance.choice(known)
    world.cut[number] = True
    return Done("policy", (thing,), ("NetworkPolicy.Blocks",), [(thing, "policy", "spec changed")])


def service(site: Monitoring, chance: random.Random) -> Done | None:
    number = some(site, chance, "web", "store", "cache")
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
    number = some(site, chance, "web", "cache")
    if number is None:
        return None
    thing = site.seen.world.made.workloads[number].id
    site.seen.world.pods.drop(places_of(site, [number]))
    site.seen.wanted = site.seen.wanted.copy()
    site.seen.wanted[number] = 0
    return Done("workload-deleted", (thing,), ("Workload.Deleted",), [(thing, "delete", "")], [thing])


def pod(site: Monitoring, chance: random.Random) -> Done | None:
    """One pod of several stands still, or ends again and again."""
    number = some(site, chance, "web", least=2)
    if number is None:
        return None
    world = site.seen.world
    place = int(chance.choice(list(places_of(site, [number]))))
    thing = f"Pod/{world.made.workloads[number].namespace}/{pod_name(site, place)}"
    if chance.random() < 0.5:
        world.pods.hangs[place] = True
        return Done("pod-hangs", (thing,), ("Pod.Stuck",))
    world.pods.crash_after_s[place] = chance.uniform(1, 10)
    chosen = np.zeros(len(world.pods.of), bool)
    chosen[place] = True
    world.pods.end(chosen, ERROR, world.now)
    return Done("pod-crashes", (thing,), ("Pod.CrashLoop",))
