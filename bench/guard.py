"""How long a decision takes in a large cluster: the plan (prepared, tried dry, judged by the guard), and the look again
right before acting.

    python -m bench.guard [--workloads 10000] [--decisions 400]

The cluster is the twin's API server over HTTP with that many Deployments, each with two ReplicaSets and two pods, and a
node for each 40 pods; it stands still. Remedies are drawn at random: scale out, restart, roll back. Beside wall time
stands the processor time of this process, which a busy machine hardly changes; the API server's is not in it. The last
line is JSON: `p99_ms` of a plan with its guard, `own_p99_ms` of that without the waiting for the API server,
`again_p99_ms` of the second look, `rules_p99_ms` of the rules alone, `cpu_…` the same by processor time, `first_ms` of
the very first plan, which knows nothing of the nodes yet, `asked_p50` and `asked_most` the requests of a plan,
`drain_…` plans that empty a node of 40 pods.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from graph_schema.model import Hypothesis
from kt.runtime import Runtime
from kt.sections import Guard, Kubernetes
from kt.settings import Settings
from remediate.brakes import Spent
from remediate.cluster import Cluster
from remediate.plan import Plan
from remediate.revisions import REVISION
from remediate.rules import review
from twin.api import defaults
from twin.api.app import create_app
from twin.objects import Object, Store
from twin.server import Twin

SPACES = 200
ON_A_NODE = 40
IMAGES = 50
"""That a node tells of in its status, as the kubelet does: they are most of what a list of nodes weighs."""
SPENT = 300
"""Actions in the account of the last day."""
WARM = 20
DRAINS = 20
"""Plans that empty a node, told apart: each of its pods is asked whether it may go, and whose it is."""
NAMES = {
    "plan": "p99_ms", "own": "own_p99_ms", "again": "again_p99_ms", "rules": "rules_p99_ms",
    "drain": "drain_p99_ms", "cpu drain": "cpu_drain_p99_ms",
    "cpu plan": "cpu_p99_ms", "cpu again": "cpu_again_p99_ms", "cpu rules": "cpu_rules_p99_ms",
}  # fmt: skip
FAULTS = ("Workload.Overload", "Workload.Stuck", "Workload.BadRevision")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", type=int, default=10_000)
    parser.add_argument("--decisions", type=int, default=400)
    given = parser.parse_args()
    twin = Twin()
    server = _serve(twin, given.workloads)
    try:
        with tempfile.TemporaryDirectory(prefix="kt-bench-") as folder:
            settings = Settings(
                data_dir=folder,
                broker_url="memory://",
                kubernetes=Kubernetes(kubeconfig=str(twin.kubeconfig)),
                guard=Guard(enabled=True),
            )
            runtime = Runtime(settings)
            _spend(runtime)
            found = _measure(runtime, given.workloads, given.decisions)
            runtime.close()
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    requests, first = found.pop("requests"), found.pop("first")[0]
    answer = {"workloads": given.workloads, "decisions": len(requests), "first_ms": first}
    for name, times in found.items():
        print(f"{name:<10} p50 {_share(times, 0.5):7.2f} ms   p99 {_share(times, 0.99):7.2f} ms   of {len(times)}")
        answer[NAMES[name]] = _share(times, 0.99)
    print(f"requests   p50 {_share(requests, 0.5):7.0f}      most {max(requests):6.0f}")
    answer |= {"p50_ms": _share(found["plan"], 0.5), "asked_p50": _share(requests, 0.5), "asked_most": max(requests)}
    print(json.dumps({key: round(value, 3) for key, value in answer.items()}))
    return 0


def _serve(twin: Twin, workloads: int) -> int:
    """The API server alone, in a process of its own: what moves in a cluster is not what is measured, nor is what its
    objects cost a garbage collector."""
    parent, server = os.getpid(), os.fork()
    if server == 0:
        _fill(twin.cluster.store, workloads)
        gc.freeze()
        twin.api_url = twin._serve(create_app(twin.cluster))
        twin._write_kubeconfig()
        while os.getppid() == parent:  # it must not outlive a bench that was killed
            time.sleep(0.5)
        os._exit(0)
    deadline = time.monotonic() + 300
    while not twin.kubeconfig.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the API server did not begin to serve")
        time.sleep(0.05)
    return server


def _measure(runtime: Runtime, workloads: int, decisions: int) -> dict[str, list[float]]:
    rng, times = random.Random(1), defaultdict[str, list[float]](list)
    remediator, guard = runtime.remediator, runtime.remediator.guard
    asked = _Asked(runtime.cluster)
    for number in range(decisions + WARM):
        place = rng.randrange(workloads)
        # The very first one makes pods, so that it has to look at all nodes.
        fault = rng.choice(FAULTS) if number else FAULTS[0]
        cause = Hypothesis(entity=f"Deployment/{_space(place)}/w{place}", fault=fault, probability=0.9)
        asked.seconds, asked.times = 0.0, 0
        before = _now()
        plan = remediator.propose([cause], tried=frozenset())
        planned, own, requests = _now(), asked.seconds, asked.times
        if not isinstance(plan, Plan):
            raise TypeError(f"no plan for {cause.fault} of {cause.entity}: {plan.why}")
        looked = _now()
        against = remediator.current(plan)
        decided = _now()
        if against is not None:
            raise ValueError(f"the plan does not fit at once after it was made: {against}")
        facts = guard.facts(plan.playbook, plan.steps, [])
        ruled = _now()
        review(facts, guard.limits)
        if number == 0:
            times["first"].append(planned[0] - before[0])
        if number < WARM:  # connections and caches are warm by then
            continue
        times["requests"].append(requests)
        times["own"].append(planned[0] - before[0] - own)
        for name, begun, ended in (("plan", before, planned), ("again", looked, decided), ("rules", ruled, _now())):
            times[name].append(ended[0] - begun[0])
            times[f"cpu {name}"].append(ended[1] - begun[1])
    for number in range(DRAINS):
        cause = Hypothesis(entity=f"Node/n{number % _nodes(workloads)}", fault="Node.MemoryPressure", probability=0.9)
        before = _now()
        plan = remediator.propose([cause], tried=frozenset())
        planned = _now()
        if not isinstance(plan, Plan):
            raise TypeError(f"no plan for Node n{number}: {plan.why}")
        times["drain"].append(planned[0] - before[0])
        times["cpu drain"].append(planned[1] - before[1])
    return times


def _now() -> tuple[float, float]:
    """Wall time and this process' processor time, in milliseconds."""
    return time.perf_counter() * 1000, time.process_time() * 1000


class _Asked:
    """How long was waited for the cluster, and how often it was asked."""

    def __init__(self, cluster: Cluster) -> None:
        self.seconds, self.times = 0.0, 0
        ask = cluster._ask

        def timed(*where: Any, **how: Any) -> Object:
            begun = time.perf_counter()
            try:
                answer: Object = ask(*where, **how)
                return answer
            finally:
                self.seconds += (time.perf_counter() - begun) * 1000
                self.times += 1

        cluster._ask = timed  # type: ignore[method-assign]


def _share(times: Sequence[float], share: float) -> float:
    return statistics.quantiles(times, n=1000, method="inclusive")[round(share * 1000) - 1]


def _space(number: int) -> str:
    return f"s{number % SPACES}"


def _spend(runtime: Runtime) -> None:
    now = datetime.now(UTC)
    for number in range(SPENT):
        at = now - timedelta(seconds=4000 + 200 * number)
        spent = Spent(action=f"a{number}", at=at, target=f"Deployment/x/{number}", namespace="x", playbook="restart")
        runtime.brakes.spend(spent, at, lambda before: "")
        runtime.brakes.conclude(spent.action, "held")


def _fill(store: Store, workloads: int) -> None:
    for number in range(SPACES):
        store.create("Namespace", {"metadata": {"name": f"s{number}", "labels": {"kt.io/remediate": "enabled"}}})
    nodes = _nodes(workloads)
    for number in range(nodes):
        store.create("Node", _node(number))
    for number in range(workloads):
        deployment = _made(store, "Deployment", _deployment(number))
        for revision in (1, 2):
            replica_set = _made(store, "ReplicaSet", _replica_set(deployment, number, revision))
        for pod in range(2):
            _made(store, "Pod", _pod(replica_set, number, pod, f"n{(2 * number + pod) * 7919 % nodes}"))


def _nodes(workloads: int) -> int:
    return max(2, 2 * workloads // ON_A_NODE)


def _made(store: Store, kind: str, given: Object) -> Object:
    defaults.fill(store, kind, given)
    return store.create(kind, given)


def _template(number: int, image: str) -> Object:
    asked = {"requests": {"cpu": f"{100 + 50 * (number % 5)}m", "memory": "256Mi"}}
    container = {"name": "w", "image": image, "resources": asked}
    return {"metadata": {"labels": {"app": f"w{number}"}}, "spec": {"containers": [container]}}


def _node(number: int) -> Object:
    images = [
        {"names": [f"registry/{each}@sha256:{each:064x}", f"registry/{each}:v1"], "sizeBytes": 10**8}
        for each in range(IMAGES)
    ]
    offered = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    return {
        "metadata": {"name": f"n{number}", "labels": {"topology.kubernetes.io/zone": f"z{number % 3}"}},
        "spec": {},
        "status": {
            "allocatable": offered, "capacity": offered, "conditions": [{"type": "Ready", "status": "True"}],
            "images": images,
        },
    }  # fmt: skip


def _deployment(number: int) -> Object:
    return {
        "metadata": {"name": f"w{number}", "namespace": _space(number), "annotations": {REVISION: "2"}},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": f"w{number}"}},
            "template": _template(number, "shop:v2"),
        },
        "status": {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "observedGeneration": 1},
    }  # fmt: skip


def _replica_set(deployment: Object, number: int, revision: int) -> Object:
    hashed = f"{revision}{number}"
    template = _template(number, f"shop:v{revision}")
    template["metadata"]["labels"]["pod-template-hash"] = hashed
    return {
        "metadata": {
            "name": f"w{number}-{hashed}", "namespace": _space(number), "annotations": {REVISION: str(revision)},
            "labels": template["metadata"]["labels"],
            "ownerReferences": [_owned_by(deployment, "Deployment")],
        },
        "spec": {
            "replicas": 2 if revision == 2 else 0,
            "selector": {"matchLabels": {"app": f"w{number}", "pod-template-hash": hashed}}, "template": template,
        },
    }  # fmt: skip


def _pod(replica_set: Object, number: int, pod: int, node: str) -> Object:
    made = msgspec.json.decode(msgspec.json.encode(replica_set["spec"]["template"]), type=dict)
    made["metadata"] |= {
        "name": f"{replica_set['metadata']['name']}-{pod}", "namespace": _space(number),
        "ownerReferences": [_owned_by(replica_set, "ReplicaSet")],
    }  # fmt: skip
    made["spec"]["nodeName"] = node
    return dict(made)


def _owned_by(thing: Object, kind: str) -> Object:
    name, uid = thing["metadata"]["name"], thing["metadata"]["uid"]
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": True}


if __name__ == "__main__":
    sys.exit(main())
