"""The pods of an application as arrays: containers that start, fill their memory, end and are started again, probes,
rollouts. Times are simulated seconds.

The laws are the kubelet's and the controllers' (Kubernetes docs: pod lifecycle, Deployments, StatefulSets).
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.fleet.application import Application, Workload
from twin.simulation.containers import BACK_OFF_S, MOST_BACK_OFF_S

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
RUNS, CRASHES, IMAGE, CONFIG, PENDING = range(5)
"""Why a container waits."""
WAITING = ("", "CrashLoopBackOff", "ImagePullBackOff", "CreateContainerConfigError", "")
ERROR, OOM = 1, 2
TERMINATED = ("", "Error", "OOMKilled")
LATE_S = 1.0
"""The time-out of a probe."""
UNREADY_S, LIVENESS_S = 15.0, 45.0
"""For how long a probe fails before the pod gets no more traffic, and before its container is ended."""
SAID_S = 40.0
"""How long a node may be silent before it counts as not ready (kube-controller-manager: node-monitor-grace-period)."""
QUEUED_MB = 0.2
"""Memory of a request that waits."""


class Template(msgspec.Struct, frozen=True):
    """What a revision changes against the one before."""

    waits: int = RUNS
    """Why its containers do not start, if they do not."""
    slower: float = 1.0
    fails: float = 0.0
    crash_after_s: float = np.inf
    leak_mb_s: float = 0.0
    memory: float = 1.0
    """Factors on the limits."""
    cores: float = 1.0
    ready: bool = True
    """Whether its probe can succeed."""


WELL = Template()


class Pods:
    def __init__(self, made: Application) -> None:
        spare = [number for number, each in enumerate(made.workloads) if each.kind == "Deployment"]
        self.of: Ints = np.array([*(number for number, _ in made.pods), *spare], np.int64)
        """Workload of each place for a pod; the last ones are free: rollouts need them."""
        count = len(self.of)
        self.node: Ints = np.array(
            [*(node for _, node in made.pods), *(each % len(made.nodes) for each in spare)], np.int64
        )
        self.there: Bools = np.arange(count) < len(made.pods)
        self.generation: Ints = np.zeros(count, np.int64)
        self.revision: Ints = np.zeros(count, np.int64)
        self.why: Ints = np.zeros(count, np.int64)
        self.starts_at: Floats = np.full(count, -1e6)
        self.restarts: Ints = np.zeros(count, np.int64)
        self.ended: Ints = np.zeros(count, np.int64)
        self.ready: Bools = self.there.copy()
        self.late_s: Floats = np.zeros(count)
        self.hangs: Bools = np.zeros(count, bool)
        self.evicted: list[tuple[int, int]] = []
        """(place, generation) of the pods that were put out."""
        of = [made.workloads[each] for each in self.of]
        self.start_s = np.array([each.start_s for each in of])
        self.liveness = np.array([each.liveness for each in of])
        self.base_mb = np.array([each.memory_mb for each in of])
        self.usual_limit_mb = np.array([each.limit_mb for each in of])
        self.memory_mb = self.base_mb.copy()
        self.limit_mb = self.usual_limit_mb.copy()
        self.slower, self.fails = np.ones(count), np.zeros(count)
        self.crash_after_s, self.leak_mb_s = np.full(count, np.inf), np.zeros(count)
        self.cores, self.probe = np.ones(count), np.ones(count, bool)

    def running(self, now: float) -> Bools:
        found: Bools = self.there & (now >= self.starts_at)
        return found

    def started(self, now: float) -> Bools:
        found: Bools = self.there & (now >= self.starts_at + self.start_s)
        return found

    def live(self, now: float, dt: float, queue: Floats, wait_s: Floats, up: Bools, said: Bools) -> None:
        """Move on. `queue`, `wait_s`: what waits in each pod and for how long; `up`, `said`: whether its node answers,
        and whether that is known to have ended."""
        runs = self.running(now) & up
        aged = now - self.starts_at
        self.memory_mb = np.where(runs, self.base_mb + self.leak_mb_s * np.maximum(0.0, aged) + queue * QUEUED_MB, 0.0)
        started = self.started(now)
        answers = started & self.probe & ~self.hangs & (wait_s <= LATE_S)
        self.late_s = np.where(started & ~answers, self.late_s + dt, 0.0)
        self.end(runs & (self.memory_mb > self.limit_mb), OOM, now)
        self.end(self.running(now) & up & (aged >= self.crash_after_s), ERROR, now)
        self.end(self.running(now) & up & self.liveness & (self.late_s >= LIVENESS_S), ERROR, now)
        started &= self.running(now)
        well = started & (answers | (self.ready & (self.late_s < UNREADY_S)))
        self.ready = np.where(up, well, self.ready & ~said) & self.there

    def end(self, which: Bools, how: int, now: float) -> None:
        """Containers end; the kubelet starts them again after a back-off."""
        if not which.any():
            return
        back_off = np.minimum(MOST_BACK_OFF_S, BACK_OFF_S * 2.0 ** np.minimum(self.restarts[which], 6))
        self.restarts[which] += 1
        self.ended[which] = how
        self.starts_at[which] = now + back_off
        self.why[which] = CRASHES
        self.late_s[which] = 0.0
        self.hangs[which] = False

    def make(
        self, place: int, template: Template, now: float, *, node: int | None = None, revision: int | None = None
    ) -> None:
        """A new pod in a place."""
        self.there[place] = True
        self.generation[place] += 1
        self.node[place] = self.node[place] if node is None else node
        self.revision[place] = self.revision[place] if revision is None else revision
        self.restarts[place] = self.ended[place] = 0
        self.late_s[place] = 0.0
        self.hangs[place] = self.ready[place] = False
        self.dress(place, template, now)

    def dress(self, places: Any, template: Template, now: float) -> None:
        """Containers of these places start anew as the template says."""
        self.why[places] = template.waits
        self.starts_at[places] = np.inf if template.waits in (IMAGE, CONFIG, PENDING) else now + 1.0
        self.slower[places], self.fails[places] = template.slower, template.fails
        self.crash_after_s[places], self.leak_mb_s[places] = template.crash_after_s, template.leak_mb_s
        self.limit_mb[places] = self.usual_limit_mb[places] * template.memory
        self.cores[places], self.probe[places] = template.cores, template.ready

    def drop(self, places: Any) -> None:
        self.there[places] = self.ready[places] = False

    def waiting(self, now: float) -> Ints:
        """Why each container waits now: `RUNS` for those that run or are about to."""
        return np.where(self.there & (now < self.starts_at), self.why, RUNS)


class Rollout:
    """A controller that brings a new revision in; `step` is one visit."""

    def __init__(self, pods: Pods, number: int, workload: Workload, template: Template, nodes: int) -> None:
        self._template, self._nodes, self._number = template, nodes, number
        self._places = np.flatnonzero(pods.of == number)
        self._wanted = int(pods.there[self._places].sum())
        together = workload.kind == "Deployment"
        self._surge = 1 if together and not workload.recreate else 0
        self._unavailable = self._wanted if workload.recreate else self._wanted // 4 if together else 1
        self._new = int(pods.revision[self._places].max()) + 1

    def step(self, pods: Pods, now: float) -> None:
        here = self._places
        old = here[pods.there[here] & (pods.revision[here] < self._new)]
        new = here[pods.there[here] & (pods.revision[here] == self._new)]
        spare = int(pods.ready[here].sum()) - (self._wanted - self._unavailable)
        for place in sorted(old, key=lambda each: bool(pods.ready[each])):
            if pods.ready[place]:
                if spare <= 0:
                    break
                spare -= 1
            pods.drop(place)
        free = here[~pods.there[here]]
        room = self._wanted + self._surge - int(pods.there[here].sum())
        for place in free[: max(0, min(room, self._wanted - len(new)))]:
            node = (int(pods.node[place]) + 1) % self._nodes
            pods.make(int(place), self._template, now, node=node, revision=self._new)
