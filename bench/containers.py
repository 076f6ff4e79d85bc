"""Records labelled container states of a cluster: what the API server tells of them at one moment, and whether they
were invalid, by what became of each in the time after.

    python -m bench.containers [--pods 48] [--warm-s 900] [--ahead-s 900] [--seed 1] [--into bench/data/containers]

Pods of many kinds of life (bench/termination.py has the same on the twin) are started one after the other in a
namespace of the testbed's Kubernetes, so that they are of many ages when they are looked at; then they are watched and
left alone. One that ends again, or is not ready for more than a tenth of the looks, is invalid. The namespace is
deleted at the end. It takes `warm_s` and `ahead_s` and little of the machine. What is recorded is measured by `python
-m bench.termination --recorded bench/data/containers`. Not among the lives: what uses up its limits (no metrics API in
the testbed).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from remediate.cluster import Cluster, ClusterError, Object
from remediate.placement import Rooms

INTO = Path(__file__).parent / "data" / "containers"
NAMESPACE = "kt-containers"
TIER = "kt.io/tier"
LOOK_EVERY_S = 5.0
MOST_UNREADY = 0.1
SETTLED = 6
"""Ends within the first of so many parts of the time after are of a start that waited for something, and are over."""
MOST_TRIES = 20
PORT = 8080
PROGRAM = f"""
n=0; [ -f /state/n ] && n=$(cat /state/n); echo $((n + 1)) > /state/n
/bin/busybox rm -rf /tmp/www; /bin/busybox mkdir -p /tmp/www; /bin/busybox httpd -p {PORT} -h /tmp/www
(sleep "${{START_S:-1}}"; : > /tmp/www/ready) &
[ -n "$HANG_AFTER_S" ] && (sleep "$HANG_AFTER_S"; /bin/busybox rm -f /tmp/www/ready) &
[ -n "$CRASH_AFTER_S" ] && [ "$n" -lt "${{CRASH_TIMES:-100000}}" ] && sleep "$CRASH_AFTER_S" && exit 1
while :; do sleep 3600; done
"""
"""Lives as the environment says (twin/simulation/containers.py), for an image with busybox in it."""


class Images(NamedTuple):
    good: str
    missing: str
    pull: str


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A container as it was seen, and its label."""

    pod: Object
    kind: str
    tier: int
    siblings: int
    load: float
    least: float
    invalid: bool
    unready: float
    """Share of the looks in the time after at which it was not ready."""
    restarts: int
    """How often it was started again in that time."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    cluster: str
    """The version of its API server."""
    ahead_s: float
    containers: tuple[Recorded, ...]


class Moments(NamedTuple):
    """The cluster's time, and how one waits for it to pass."""

    now: Callable[[], datetime]
    wait: Callable[[float], None]


def lives(rng: random.Random, warm_s: float) -> tuple[str, dict[str, int]]:
    """A kind of life, and what makes a program live it in a time of about `warm_s`."""
    made = {
        "healthy": {},
        "recovered": {"CRASH_AFTER_S": rng.randint(2, 10), "CRASH_TIMES": rng.randint(4, 5)},
        "coming up": {"CRASH_AFTER_S": rng.randint(5, 15), "CRASH_TIMES": rng.randint(1, 3)},
        "slow start": {"START_S": rng.randint(60, 240)},
        "crash loop": {"CRASH_AFTER_S": rng.randint(1, 30)},
        "crashing slowly": {"CRASH_AFTER_S": rng.randint(90, 240)},
        "hanging": {"HANG_AFTER_S": rng.randint(30, max(60, int(warm_s)))},
        "image missing": {},
    }
    kind = rng.choices(list(made), (40, 10, 8, 6, 14, 8, 8, 6))[0]
    return kind, made[kind]


def record(cluster: Cluster, images: Images, times: Moments, *, pods: int, warm_s: float, ahead_s: float,
           rng: random.Random) -> Recording:  # fmt: skip
    """Raises `ClusterError`."""
    kinds: dict[str, str] = {}
    for name, kind, pod in _made(images, pods, warm_s, rng):
        kinds[name] = kind
        _create(cluster, pod, times)
        times.wait(warm_s / pods)
    at, seen = times.now(), _seen(cluster)
    rooms = Rooms(cluster.list("Node"), cluster.list("Pod"))
    loads = {name: rooms.load(name) for name in rooms.offered}
    looks = _watched(cluster, times, ahead_s)
    serving = Counter(pod["metadata"]["labels"]["app"] for pod in seen.values() if _ready(pod))
    found = []
    for name, pod in sorted(seen.items()):
        after = [look[name] for look in looks if name in look]
        unready, restarts, invalid = label(pod, after)
        labels = pod["metadata"]["labels"]
        found.append(
            Recorded(
                pod=_slim(pod), kind=kinds[name], tier=int(labels[TIER]),
                siblings=serving[labels["app"]] - _ready(pod), load=loads.get(pod["spec"].get("nodeName", ""), 0.0),
                least=min(loads.values()), invalid=invalid, unready=unready, restarts=restarts,
            )
        )  # fmt: skip
    return Recording(at=at, cluster="", ahead_s=ahead_s, containers=tuple(found))


def label(pod: Object, after: list[Object]) -> tuple[float, int, bool]:
    """Share of the looks at which it was not ready, how often it was started again, and whether it is invalid."""
    if not after:  # somebody else has ended it
        return 1.0, 0, True
    unready = sum(1 for each in after if not _ready(each)) / len(after)
    last = _restarts(after[-1])
    again = last > _restarts(after[len(after) // SETTLED])
    return unready, last - _restarts(pod), unready > MOST_UNREADY or again


def _made(images: Images, pods: int, warm_s: float, rng: random.Random) -> Iterator[tuple[str, str, Object]]:
    """Name, kind of life and pod; a workload shares its life, and some of its pods live one of their own."""
    number, workload = 0, 0
    while number < pods:
        shared, tier = lives(rng, warm_s), rng.choices(range(4), (10, 20, 40, 30))[0]
        workload += 1
        for replica in range(rng.randint(1, 5)):
            if number == pods:
                return
            number += 1
            kind, knobs = shared if rng.random() < 0.6 else lives(rng, warm_s)
            name = f"w{workload}-{replica}"
            yield name, kind, _pod(name, f"w{workload}", tier, kind, knobs, images)


def _pod(name: str, app: str, tier: int, kind: str, knobs: dict[str, int], images: Images) -> Object:
    probe = {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 2, "timeoutSeconds": 2}
    container = {
        "name": "a", "image": images.missing if kind == "image missing" else images.good,
        "imagePullPolicy": images.pull, "command": ["/bin/sh", "-c", PROGRAM], "readinessProbe": probe,
        "env": [{"name": key, "value": str(value)} for key, value in knobs.items()],
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }  # fmt: skip
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "state", "emptyDir": {}}]}  # fmt: skip
    return {"metadata": {"name": name, "labels": {"app": app, TIER: str(tier)}}, "spec": spec}


def _create(cluster: Cluster, pod: Object, times: Moments) -> None:
    """A namespace takes pods once its service account is there."""
    for attempt in range(1, MOST_TRIES + 1):
        try:
            cluster.create("Pod", NAMESPACE, pod)
        except ClusterError as error:
            if error.code != 403 or attempt == MOST_TRIES:
                raise
            times.wait(1.0)
        else:
            return


def _seen(cluster: Cluster) -> dict[str, Object]:
    return {pod["metadata"]["name"]: pod for pod in cluster.list("Pod", NAMESPACE)}


def _watched(cluster: Cluster, times: Moments, ahead_s: float) -> list[dict[str, Object]]:
    looks, begun = [], times.now()
    while (times.now() - begun).total_seconds() < ahead_s:
        times.wait(LOOK_EVERY_S)
        with suppress(ClusterError):  # one look less
            looks.append(_seen(cluster))
    return looks


def _ready(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return bool(statuses[0].get("ready"))


def _restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return int(statuses[0].get("restartCount") or 0)


def _slim(pod: Object) -> Object:
    """What the judge of containers and the descheduler's policies look at."""
    meta, status = pod["metadata"], pod["status"]
    kept = ("name", "ready", "restartCount", "state", "lastState")
    containers = [
        {key: _plain(each[key]) for key in kept if key in each} for each in status.get("containerStatuses") or []
    ]
    return {
        "metadata": {key: meta[key] for key in ("name", "namespace", "labels", "creationTimestamp")},
        "spec": {"nodeName": pod["spec"].get("nodeName", "")},
        "status": {
            **{key: status[key] for key in ("phase", "reason", "startTime", "conditions") if key in status},
            "containerStatuses": containers,
        },
    }


def _plain(value: Any) -> Any:
    """Without the ids of containers, which say nothing to anybody later."""
    if not isinstance(value, dict):
        return value
    return {key: _plain(each) for key, each in value.items() if key not in ("containerID", "message")}


def read(folder: Path) -> list[Recording]:
    """The recordings of a folder, by name."""
    return [msgspec.json.decode(file.read_bytes(), type=Recording) for file in sorted(folder.glob("*.json"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=48)
    parser.add_argument("--warm-s", type=float, default=900.0, help="over how long they are started")
    parser.add_argument("--ahead-s", type=float, default=900.0, help="how long they are watched")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path, default=INTO)
    given = parser.parse_args()
    import testbed.servers
    from testbed.kubernetes import cluster as real
    from testbed.kubernetes.images import BUSYBOX

    testbed.servers.ensure(["kubernetes"])
    with real.Api(real.kubeconfig("admin")) as api:
        api.apply(f"/api/v1/namespaces/{NAMESPACE}", {"apiVersion": "v1", "kind": "Namespace",
                                                      "metadata": {"name": NAMESPACE}})  # fmt: skip
        version = str(api.get("/version")["gitVersion"])
        try:
            made = record(
                _cluster(real.kubeconfig("admin")), Images(BUSYBOX, f"{BUSYBOX}-missing", "Never"),
                Moments(lambda: datetime.now(UTC), time.sleep), pods=given.pods, warm_s=given.warm_s,
                ahead_s=given.ahead_s, rng=random.Random(given.seed),
            )  # fmt: skip
        finally:
            api.delete(f"/api/v1/namespaces/{NAMESPACE}")
    given.into.mkdir(parents=True, exist_ok=True)
    file = given.into / f"seed-{given.seed}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(made, cluster=version)), indent=1))
    counts: dict[str, Counter[bool]] = defaultdict(Counter)
    for each in made.containers:
        counts[each.kind][each.invalid] += 1
    for kind, found in sorted(counts.items()):
        print(f"{kind:<18}{found[True]:>4} invalid{found[False]:>4} valid", file=sys.stderr)
    print(json.dumps({"file": str(file), "containers": len(made.containers),
                      "invalid": sum(each.invalid for each in made.containers)}))  # fmt: skip
    return 0


def _cluster(kubeconfig: Path) -> Cluster:
    from kubernetes import config

    client: Any = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]  # no types
    return Cluster(client, 10.0)


if __name__ == "__main__":
    sys.exit(main())
