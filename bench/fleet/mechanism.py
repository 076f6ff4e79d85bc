"""How an application fares, second by second: requests as flows through queues, with time-outs, retries, contention for
processors and memory, networks that lose, names that are not resolved. Nothing here knows KT's catalogue.

The queue in front of a pod's slots is the twin's (`twin.simulation.queueing`); what is added is what a shop of four
services does not need. Services learn of each other's state with one step of delay a hop.
"""

from __future__ import annotations

import copy

import numpy as np

from bench.fleet.application import LOOKED_UP, TAIL, Application
from bench.fleet.pods import OOM, SAID_S, Bools, Floats, Ints, Pods, Rollout
from twin.simulation.queueing import serve

STEP_S = 1.0
PATIENCE_S = 2.0
RESOLVER_S = 5.0
"""The time-out of a look-up (resolv.conf)."""
PACKETS, RETRANSMIT_S = 4, 0.25
"""Packets of a request and its answer, and what one that is lost costs."""
ON_CPU = 0.7
"""Share of the own work that stretches when processor time is short."""
STRETCH = 0.5
NOISE = 0.04
"""Relative noise of the traffic from outside."""
PRESSURE = 0.95
"""Share of a node's memory in use from which on its kubelet puts pods out."""
EVICT_EVERY_S = 15.0
WRITES = 0.4
"""Share of the requests to a database that write."""


def summed(of: Ints, values: Floats, count: int) -> Floats:
    """The sum of the values of each number."""
    found: Floats = np.bincount(of, values, count).astype(float)
    return found


class Mechanism:
    """The state of an application; `step` moves it on. Arrays are by workload, call, node, or place of a pod."""

    def __init__(self, made: Application, seed: int) -> None:
        self.made = made
        self.now = 0.0
        self._chance = np.random.default_rng(seed)
        self.pods = Pods(made)
        self.rollouts: list[Rollout] = []
        workloads, calls, nodes = made.workloads, made.calls, made.nodes
        count = len(workloads)
        self._work = np.array([each.work_s for each in workloads])
        self._cpu = np.array([each.cpu_s for each in workloads])
        self._slots = np.array([each.slots for each in workloads])
        self._cores = np.array([each.cores for each in workloads])
        self._entry = np.array([each.entry_per_s for each in workloads])
        self._external = np.array([each.role == "external" for each in workloads])
        self.caller = np.array([each.caller for each in calls], np.int64)
        self.callee = np.array([each.callee for each in calls], np.int64)
        self._share = np.array([each.share for each in calls])
        self._timeout = np.array([each.timeout_s for each in calls])
        self._retries = np.array([each.retries for each in calls])
        self._falls = np.flatnonzero(np.array([each.instead for each in calls]) >= 0)
        self._instead = np.array([calls[each].instead for each in self._falls], np.int64)
        self._node_cores = np.array([each.cores for each in nodes])
        self.node_mb = np.array([each.memory_mb for each in nodes])
        # What disturbances change.
        self.extra = np.zeros(count)
        """Requests per second from outside that are not usual."""
        self.selects, self.port_right = np.ones(count, bool), np.ones(count, bool)
        self.cut, self.untrusted = np.zeros(count, bool), np.zeros(count, bool)
        self.slots_share, self.stall = np.ones(count), np.ones(count)
        """Of the slots, what is free for use; how many times longer the own work takes."""
        self.volume, self.filling = np.full(count, 0.5), np.zeros(count)
        """How full the volume of a database is, and how much that grows a second; when it is, what writes fails."""
        self.outside_fails, self.call_fails = np.zeros(count), np.zeros(len(calls))
        self.up, self.down_since = np.ones(len(nodes), bool), np.full(len(nodes), np.inf)
        self.grabbed, self.loss = np.zeros(len(nodes)), np.zeros(len(nodes))
        self.taken_mb = np.zeros(len(nodes))
        # What follows.
        self._queue, self._wait = np.zeros(len(self.pods.of)), np.zeros(len(self.pods.of))
        self.throttle, self.crowded = np.ones(len(self.pods.of)), np.ones(len(nodes))
        self._calls_s, self._calls_err = np.zeros(count), np.zeros(count)
        self._demand = np.array([each.usual_per_s - each.entry_per_s for each in workloads])
        self.fails, self.late = np.zeros(count), self._work.copy()
        """Share of calls that fail and mean seconds of a call, as callers feel it."""
        self.asked = np.zeros(count)
        self.seen, self.seen_failed, self.seen_s = np.zeros(count), np.zeros(count), np.zeros(count)
        """Requests a second that reached its pods, those of them that failed, and their seconds."""
        self.p99, self.saturation = np.zeros(count), np.zeros(count)
        self.pressed, self.node_used = np.zeros(len(nodes), bool), np.zeros(len(nodes))
        self._evicted_at = np.full(len(nodes), -1e6)

    def fork(self, seed: int) -> Mechanism:
        """Another future of the same present."""
        other = copy.copy(self)
        other._chance = np.random.default_rng(seed)
        other.pods = copy.copy(self.pods)
        for thing in (other, other.pods):
            for name, value in vars(thing).items():
                if isinstance(value, np.ndarray | list):
                    setattr(thing, name, value.copy())
        return other

    def said_down(self) -> Bools:
        """Nodes that are known to be silent."""
        return self.now - self.down_since >= SAID_S

    def step(self) -> None:
        self.now += STEP_S
        pods = self.pods
        for each in self.rollouts:
            each.step(pods, self.now)
        pods.live(self.now, STEP_S, self._queue, self._wait, self.up[pods.node], self.said_down()[pods.node])
        self.volume = np.minimum(1.0, self.volume + self.filling * STEP_S)
        self._memory()
        self._serve()
        self._call()

    def _memory(self) -> None:
        """Nodes short of memory put out the pod that is furthest above what it asked for; the kernel is less polite."""
        pods = self.pods
        used = np.bincount(pods.node, pods.memory_mb * pods.there, len(self.node_mb)) + self.taken_mb
        self.node_used = used / self.node_mb
        self.pressed = self.up & (used > PRESSURE * self.node_mb)
        for node in np.flatnonzero(self.pressed & (self.now - self._evicted_at >= EVICT_EVERY_S)):
            here = np.flatnonzero(pods.running(self.now) & (pods.node == node))
            if not len(here):
                continue
            self._evicted_at[node] = self.now
            worst = int(here[np.argmax((pods.memory_mb - pods.base_mb)[here] * 1000 + pods.memory_mb[here])])
            if used[node] > self.node_mb[node]:
                chosen = np.zeros(len(pods.of), bool)
                chosen[worst] = True
                pods.end(chosen, OOM, self.now)
            else:
                pods.evicted.append((worst, int(pods.generation[worst])))
                pods.generation[worst] += 1
                pods.node[worst] = (node + 1) % len(self.node_mb)
                pods.starts_at[worst], pods.ready[worst], pods.why[worst] = self.now + 2.0, False, 0

    def _serve(self) -> None:
        pods, count = self.pods, len(self._work)
        of, node = pods.of, pods.node
        ends = pods.there & pods.ready & self.selects[of]
        number = np.bincount(of, ends, count)
        noise = 1 + NOISE * self._chance.standard_normal(count)
        # Without trust in its certificate nobody gets past the ingress.
        asked = self._entry * noise * ~self.untrusted + self.extra + self._demand
        arriving = np.where(ends, asked[of] / np.maximum(number[of], 1), 0.0)
        reached = ends & self.up[node] & ~pods.hangs & pods.running(self.now) & (self.port_right & ~self.cut)[of]
        mine = arriving * reached
        short = np.maximum(self.throttle, self.crowded[node])
        held = (self._work * self.stall)[of] * pods.slower * (1 + ON_CPU * (short - 1)) + self._calls_s[of]
        rate = np.maximum(self._slots[of] * self.slots_share[of] / held, 1e-3)
        here = serve(mine, self._queue * reached, rate, held, PATIENCE_S, STEP_S)
        self._queue, self._wait = here.waiting, np.where(reached, here.waiting / rate, 0.0)
        self._shorten(here.done / STEP_S * self._cpu[of])
        lost = self.loss[node]
        through = (1 - lost**3) ** PACKETS
        writes = np.where(self.volume >= 1.0, WRITES, 0.0)[of]
        failed = 1 - (1 - pods.fails) * (1 - writes) * (1 - self._calls_err[of]) * (1 - here.timed_out) * through
        late = here.latency_s + PACKETS * lost / (1 - lost) * RETRANSMIT_S
        felt = np.where(reached, late, np.where(self.port_right[of], PATIENCE_S, 0.001))
        whole = np.maximum(np.bincount(of, arriving, count), 1e-9)
        served = number > 0
        self.fails = np.where(served, np.bincount(of, arriving * np.where(reached, failed, 1.0), count) / whole, 1.0)
        self.late = np.where(served, np.bincount(of, arriving * felt, count) / whole, 0.001)
        self.fails = np.where(self._external, self.outside_fails, self.fails)
        self.late = np.where(self._external, self._work * self.stall, self.late)
        self._note(asked, mine, failed, late, here.saturation, here.done)

    def _shorten(self, use: Floats) -> None:
        """Processor time: a pod is held to its limit, a node to its cores; what wants more gets slower."""
        pods = self.pods
        self.throttle = np.clip(self.throttle * (use / (self._cores[pods.of] * pods.cores)) ** STRETCH, 1.0, 50.0)
        demand = np.bincount(pods.node, use, len(self.up))
        room = self._node_cores * (1 - self.grabbed)
        self.crowded = np.clip(self.crowded * (demand / room) ** STRETCH, 1.0, 50.0)

    def _note(self, asked: Floats, mine: Floats, failed: Floats, late: Floats, full: Floats, done: Floats) -> None:
        of, count = self.pods.of, len(self._work)
        self.asked = asked
        self.seen = summed(of, mine, count)
        self.seen_failed = summed(of, mine * failed, count)
        self.seen_s = summed(of, mine * late, count)
        self.p99 = np.zeros(count)
        told = mine > 0.01 * asked[of]
        np.maximum.at(self.p99, of[told], np.minimum(TAIL * late[told], PATIENCE_S + 1))
        self.saturation = np.bincount(of, mine * full, count) / np.maximum(self.seen, 1e-9)
        self._done = np.bincount(of, done / STEP_S, count)

    def _call(self) -> None:
        """What callers feel of those that they call, and what they ask of them next."""
        once_s = self.late[self.callee]
        too_late = np.clip((once_s / self._timeout - 0.6) / 0.8, 0.0, 1.0)
        dns = self.made.dns
        unknown = LOOKED_UP * self.fails[dns]
        once = 1 - (1 - self.fails[self.callee]) * (1 - too_late) * (1 - self.call_fails) * (1 - unknown)
        once_s = np.minimum(once_s, self._timeout) + LOOKED_UP * min(self.late[dns], RESOLVER_S)
        attempts = np.ones(len(once))
        for number in range(1, int(self._retries.max(initial=0)) + 1):
            attempts += np.where(self._retries >= number, once**number, 0.0)
        lost = once ** (self._retries + 1)
        share = self._share.copy()
        np.add.at(share, self._instead, self._share[self._falls] * lost[self._falls])
        hurts = lost.copy()
        hurts[self._falls] = 0.0
        count = len(self._work)
        spared = np.log1p(-np.minimum(np.minimum(share, 1.0) * hurts, 1 - 1e-9))
        self._calls_err = 1 - np.exp(np.bincount(self.caller, spared, count))
        now = np.bincount(self.caller, share * once_s * attempts, count)
        self._calls_s = 0.5 * self._calls_s + 0.5 * now
        asks = self._done[self.caller] * share * attempts
        self._demand = np.bincount(self.callee, asks, count)
        self._demand[dns] += LOOKED_UP * asks.sum()
