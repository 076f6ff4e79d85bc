"""How many invalid containers the SMART matrix ends, and how many it should have left, beside a plain threshold rule
and the descheduler with the policies that it publishes.

Containers of many kinds of life run on the twin's nodes (bench seeds, each a cluster of its own) and are seen at one
moment as the API server tells of them. What is right is not taken from how they were made but from what becomes of
them: the twin is asked how each fares in the hour after. One that ends again, or is not ready for more than a tenth
of that hour, is invalid. TUNING was looked at while the policy was made; what is reported is HELD_OUT.

    python -m bench.termination [--seeds N] [--scale N] [--tuning] [--program] [--recorded bench/data/containers]

`--program`: the same pods on kwok's nodes at a real API server (testbed/kubernetes/alone.py, kwok.py), read by KT from
there, and the descheduler's rows are what its own program, built with Go, evicts there. Without it they are its
policies written anew. `--scale`: clusters so many times as large; 5 is some 1,000 pods on 40 nodes. `--recorded`:
instead of the twin's, the states that bench/containers.py recorded of a real cluster.
Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from bench.containers import Recording, read
from bench.descheduler import PUBLISHED, Pod
from remediate.cluster import Object
from remediate.containers_seen import seen
from remediate.termination import Container, Policy, by_thresholds, judge
from twin.api import defaults
from twin.objects import Store
from twin.simulation import containers, kubelets

TUNING, HELD_OUT = 1_000, 2_000
"""The first seed of each set."""
NODES, WORKLOADS = 8, 60
ROOM = 60
"""Pods that fit on a node."""
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOOK_EVERY, LOOKS = timedelta(seconds=30), 40
AHEAD_S, STEP_S, MOST_UNREADY = 3600, 15, 0.1
MISSING = "shop:missing"


class Labelled(NamedTuple):
    container: Container
    invalid: bool
    kind: str
    pod: Pod


class Counts(NamedTuple):
    terminated: int
    invalid: int
    wrong: int
    valid: int
    tier0: int


def lives(rng: random.Random) -> tuple[str, dict[str, str], float]:
    """A kind of life, what makes a program live it, and for how many seconds it has."""
    old = rng.uniform(1200, 20_000)
    made: dict[str, tuple[dict[str, float], float]] = {
        "healthy": ({"BUSY": rng.uniform(0.1, 0.7)}, old),
        "busy": ({"BUSY": rng.uniform(0.86, 1.0)}, old),
        "recovered": ({"CRASH_AFTER_S": rng.uniform(5, 60), "CRASH_TIMES": rng.randint(4, 7), "BUSY": 0.3}, old),
        "coming up": ({"CRASH_AFTER_S": rng.uniform(5, 20), "CRASH_TIMES": rng.randint(1, 4)}, rng.uniform(30, 400)),
        "slow start": ({"START_S": rng.uniform(120, 280)}, rng.uniform(20, 270)),
        "crash loop": ({"CRASH_AFTER_S": rng.uniform(1, 40)}, rng.uniform(300, 20_000)),
        "crashing slowly": ({"CRASH_AFTER_S": rng.uniform(120, 900)}, old),
        "leak": ({"LEAK_S": rng.uniform(300, 2400)}, old),
        "hanging": ({"HANG_AFTER_S": rng.uniform(100, 5000)}, old),
        "image missing": ({}, rng.uniform(60, 20_000)),
    }
    weights = (40, 8, 8, 4, 4, 12, 6, 6, 6, 6)
    kind = rng.choices(list(made), weights)[0]
    given, age = made[kind]
    return kind, {key: f"{value:.3f}" for key, value in given.items()}, age


def labelled(seed: int, scale: int = 1) -> Iterator[Labelled]:
    """The containers of one cluster, each with whether it is invalid."""
    rng = random.Random(seed)
    store = Store(lambda: NOW, rng)
    nodes = _nodes(store, rng, NODES * scale)
    kinds: dict[str, tuple[str, dict[str, str], float]] = {}
    tiers = {f"tier-{tier}": tier for tier in range(4)}
    for space in tiers:
        _put(store, "Namespace", {"metadata": {"name": space}})
    for number in range(WORKLOADS * scale):
        space, kind = rng.choices(list(tiers), (10, 20, 40, 30))[0], lives(rng)
        # A workload shares its program; some of its pods live a life of their own.
        for replica in range(rng.randint(1, 6)):
            name = f"w{number}-{replica}"
            kinds[name] = kind if rng.random() < 0.6 else lives(rng)
            _pod(store, space, name, f"w{number}", rng.choices(nodes, range(1, len(nodes) + 1))[0], kinds[name])
    heartbeats: dict[str, datetime] = {}
    for visit in reversed(range(LOOKS)):
        kubelets.run(store, heartbeats, set(), NOW - visit * LOOK_EVERY)
    yield from _looked_at(store, kinds, tiers)


def _looked_at(
    store: Store, kinds: dict[str, tuple[str, dict[str, str], float]], tiers: dict[str, int]
) -> Iterator[Labelled]:
    pods = list(store.all("Pod"))
    on = Counter(pod["spec"]["nodeName"] for pod in pods)
    loads = {node["metadata"]["name"]: on[node["metadata"]["name"]] / ROOM for node in store.all("Node")}
    serving: dict[str, int] = defaultdict(int)
    for pod in pods:
        serving[pod["metadata"]["labels"]["app"]] += _serves(pod)
    for pod in pods:
        meta = pod["metadata"]
        kind, knobs, age = kinds[meta["name"]]
        fares = containers.life(knobs, age)
        usage = {f"{meta['namespace']}/{meta['name']}/a": (fares.cpu, fares.memory)}
        (one,) = seen(
            pod, NOW, tier=tiers[meta["namespace"]], siblings=serving[meta["labels"]["app"]] - _serves(pod),
            load=loads[pod["spec"]["nodeName"]], least=min(loads.values()), usage=usage,
        )  # fmt: skip
        yield Labelled(one, invalid(kind, knobs, age), kind, Pod(pod, age))


def recorded(recording: Recording) -> Iterator[Labelled]:
    """The containers of a real cluster; how much of their limits they use is not known there."""
    for each in recording.containers:
        begun = datetime.fromisoformat(each.pod["metadata"]["creationTimestamp"])
        for one in seen(
            each.pod, recording.at, tier=each.tier, siblings=each.siblings, load=each.load, least=each.least
        ):
            yield Labelled(one, each.invalid, each.kind, Pod(each.pod, (recording.at - begun).total_seconds()))


def invalid(kind: str, knobs: dict[str, str], age_s: float) -> bool:
    """Whether a container, left alone, ends again or is hardly ready in the hour to come."""
    if kind == "image missing":
        return True
    ahead = [containers.life(knobs, age_s + after) for after in range(0, AHEAD_S + 1, STEP_S)]
    unready = sum(1 for each in ahead if not each.ready) / len(ahead)
    # Ends that only just are over, of a start that waited for something, are over.
    return unready > MOST_UNREADY or ahead[-1].restarts > ahead[len(ahead) // 6].restarts


def _serves(pod: Object) -> bool:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return bool(statuses[0].get("ready"))


def _nodes(store: Store, rng: random.Random, count: int) -> list[str]:
    names = [f"n{number}" for number in range(count)]
    for name in names:
        _put(store, "Node", {"metadata": {"name": name}, "spec": {}, "status": {"conditions": []}})
    rng.shuffle(names)
    return names


def _pod(store: Store, space: str, name: str, app: str, node: str, kind: tuple[str, dict[str, str], float]) -> None:
    what, knobs, age = kind
    bound = (NOW - timedelta(seconds=age)).isoformat()
    container = {"name": "a", "image": MISSING if what == "image missing" else "shop:v1",
                 "env": [{"name": key, "value": value} for key, value in knobs.items()]}  # fmt: skip
    meta = {"name": name, "namespace": space, "labels": {"app": app}, "annotations": {"twin/bound-at": bound}}
    _put(store, "Pod", {"metadata": meta, "spec": {"containers": [container], "nodeName": node},
                        "status": {"phase": "Pending", "startTime": bound}})  # fmt: skip


def _put(store: Store, kind: str, made: Object) -> None:
    defaults.fill(store, kind, made)
    store.create(kind, made)


def counted(found: list[Labelled], ends: list[bool]) -> Counts:
    """`ends`: for each, whether a rule ends it."""
    mine = [(each, end) for each, end in zip(found, ends, strict=True) if each.container.tier != 0]
    return Counts(
        terminated=sum(1 for each, end in mine if each.invalid and end),
        invalid=sum(1 for each, _ in mine if each.invalid),
        wrong=sum(1 for each, end in mine if not each.invalid and end),
        valid=sum(1 for each, _ in mine if not each.invalid),
        tier0=sum(1 for each, end in zip(found, ends, strict=True) if each.container.tier == 0 and end),
    )


def _rewritten(clusters: list[list[Labelled]]) -> dict[str, list[bool]]:
    """Policy → for each container of all clusters whether it is evicted."""
    return {
        name: [end for cluster in clusters for end in rule([each.pod for each in cluster], ROOM)]
        for name, rule in PUBLISHED.items()
    }


def _program(clusters: list[list[Labelled]]) -> tuple[list[list[Labelled]], dict[str, list[bool]]]:
    """The same clusters as a real API server tells of them, and what the descheduler's program evicts there."""
    from bench import descheduler_program
    from testbed.kubernetes import alone, kwok

    read_back: list[list[Labelled]] = []
    evicted: dict[str, list[bool]] = {name: [] for name in PUBLISHED}
    with alone.running() as plane, kwok.playing(plane):
        for cluster in clusters:
            played = descheduler_program.Played(plane, [each.pod for each in cluster], NOW, ROOM)
            now = datetime.now(UTC)
            read_back.append([_as_read(each, pod, now) for each, pod in zip(cluster, played.read(), strict=True)])
            for name, plugins in descheduler_program.PUBLISHED.items():
                evicted[name] += played.evicted_by(plugins)
            played.leave()
    return read_back, evicted


def _as_read(known: Labelled, pod: Object, now: datetime) -> Labelled:
    """The container as KT sees it in what the API server tells; metrics and loads are not the API server's to tell."""
    was = known.container
    (one,) = seen(
        pod, now, tier=was.tier, siblings=was.siblings, load=was.node_load, least=was.least_load,
        usage={was.name: (was.cpu, was.memory)},
    )  # fmt: skip
    return known._replace(container=one, pod=Pod(pod, known.pod.age_s))


def _share(some: int, of: int) -> float:
    return some / of if of else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="clusters")
    parser.add_argument("--scale", type=int, default=1, help="how many times as large a cluster is")
    parser.add_argument("--tuning", action="store_true", help="look at the seeds that the policy was tuned on")
    parser.add_argument("--program", action="store_true", help="run the descheduler itself, on a real API server")
    parser.add_argument("--recorded", type=Path, help="a folder of recordings of a real cluster")
    options = parser.parse_args()
    first, policy = TUNING if options.tuning else HELD_OUT, Policy()
    if options.recorded:
        clusters = [list(recorded(each)) for each in read(options.recorded)]
    else:
        clusters = [list(labelled(seed, options.scale)) for seed in range(first, first + options.seeds)]
    if not any(clusters):
        parser.error(f"nothing is recorded in {options.recorded}; python -m bench.containers records")
    evicted = _rewritten(clusters)
    if options.program:
        if options.recorded:
            parser.error("--program takes no --recorded: what was recorded has ended since")
        again = evicted
        clusters, evicted = _program(clusters)
        for name, ends in again.items():
            apart = sum(1 for one, other in zip(ends, evicted[name], strict=True) if one != other)
            print(f"{name:<46}{sum(evicted[name]):>6} evicted, {sum(ends):>4} written anew, {apart:>4} of them others")
        print()
    found = [each for cluster in clusters for each in cluster]
    verdicts = [judge(each.container, policy) for each in found]
    touched = [each.decision in ("terminate", "restart", "move") for each in verdicts]
    matrix = counted(found, [each.decision == "terminate" for each in verdicts])
    plain = counted(found, [by_thresholds(each.container, policy) for each in found])
    print(f"{'life':<18}{'':>8}" + "".join(f"{name:>11}" for name in ("leave", "restart", "move", "terminate", "rule")))
    for kind in sorted({each.kind for each in found}):
        for bad in (False, True):
            of = [index for index, each in enumerate(found) if each.kind == kind and each.invalid is bad]
            if of:
                decided = Counter(verdicts[index].decision for index in of)
                row = [decided[name] for name in ("leave", "restart", "move", "terminate")]
                row.append(sum(1 for index in of if by_thresholds(found[index].container, policy)))
                print(f"{kind:<18}{'invalid' if bad else 'valid':>8}" + "".join(f"{count:>11}" for count in row))
    rules = {"KT's matrix": matrix, "any threshold exceeded": plain}
    rules |= {name: counted(found, ends) for name, ends in evicted.items()}
    print(f"\n{'':<46}{'invalid ended':>14}{'valid ended':>14}{'tier 0':>8}")
    for name, count in rules.items():
        share, wrong = _share(count.terminated, count.invalid), _share(count.wrong, count.valid)
        print(f"{name:<46}{share:>14.3f}{wrong:>14.3f}{count.tier0:>8}")
    published, fitted = rules["all of these"], rules["fitted: more than 3 restarts, failed, stuck"]
    print(json.dumps({
        "containers": len(found),
        "descheduler": "program" if options.program else "written anew",
        "invalid": matrix.invalid,
        "terminated_share": round(_share(matrix.terminated, matrix.invalid), 4),
        "wrong_share": round(_share(matrix.wrong, matrix.valid), 4),
        "tier0_interruptions": sum(
            1 for each, touch in zip(found, touched, strict=True) if touch and each.container.tier == 0
        ),
        "threshold_share": round(_share(plain.terminated, plain.invalid), 4),
        "threshold_wrong_share": round(_share(plain.wrong, plain.valid), 4),
        "threshold_tier0_interruptions": plain.tier0,
        "descheduler_share": round(_share(published.terminated, published.invalid), 4),
        "descheduler_wrong_share": round(_share(published.wrong, published.valid), 4),
        "descheduler_tier0_interruptions": published.tier0,
        "descheduler_fitted_share": round(_share(fitted.terminated, fitted.invalid), 4),
        "descheduler_fitted_wrong_share": round(_share(fitted.wrong, fitted.valid), 4),
        "descheduler_fitted_tier0_interruptions": fitted.tier0,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
