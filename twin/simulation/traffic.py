"""Requests as a flow through services, each step by a queue in front of the pods' slots.

A pod serves `CAPACITY` requests at once. Each takes `WORK_MS` and, for the share that calls on, as long as the services
it calls answer. What arrives faster than the slots come free waits in the pod's queue; what would wait longer than the
time-out fails at once. Little's law ties slots, time and throughput (Little 1961).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import msgspec

from twin.api import budgets
from twin.api.selectors import labels_of, selects
from twin.objects import Object, Store
from twin.simulation.queueing import serve
from twin.simulation.writing import CALLED, FAILED, WAITED

TIMEOUT_S = 2.0
CALLS = "kt.io/calls"
FAILING = {"shop:bad": 0.6}
"""Images with a fault built in, and the share of their answers that fail."""
LEAKED = 0.7
"""Share of failing answers of a pod that is older than its `LEAK_S`: what leaks has run out then."""
SMOOTHING_S = 3.0
"""Measured rates follow the flow with this time constant, as a rate over a window does."""


class Flow(msgspec.Struct):
    """One service now: what arrives, and how it is answered."""

    arriving: float = 0.0
    """Requests per second."""
    error_ratio: float = 0.0
    latency_s: float = 0.0
    saturation: float = 0.0
    queue: float = 0.0
    """Requests waiting in front of all its pods."""


class Traffic:
    """Flows by (namespace, service). `entry` gets `per_second` from outside."""

    def __init__(self, entry: tuple[str, str], per_second: float) -> None:
        self.entry, self.per_second = entry, per_second
        self.extra: dict[tuple[str, str], float] = {}
        """Requests of people and experiments since the last step."""
        self.flows: dict[tuple[str, str], Flow] = {}
        self.measured: dict[tuple[str, str], Flow] = {}
        self.failing: dict[tuple[str, str], float] = {}
        """(uid of a pod, why) → answers that fail there in a second."""

    def step(self, store: Store, dt: float, dead: set[str], now: datetime | None = None) -> None:
        """Move on by `dt` seconds. `dead`: nodes whose pods answer nobody. `now`: what leaks is as old as that."""
        services = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in store.all("Service")}
        calls = {place: _callees(place, service, services) for place, service in services.items()}
        arriving = dict.fromkeys(services, 0.0)
        if self.entry in arriving:
            arriving[self.entry] = self.per_second
        for place, count in self.extra.items():
            if place in arriving:
                arriving[place] += count / dt
        self.extra = {}
        order = _callers_first(calls)
        for place in order:
            for callee in calls[place]:
                arriving[callee] += arriving[place]
        flows: dict[tuple[str, str], Flow] = {}
        cut = _cut_off(store)
        self.failing = {}
        for place in reversed(order):
            below = [flows[callee] for callee in calls[place]]
            queue = self.flows[place].queue if place in self.flows else 0.0
            flows[place] = _serve(
                store, services[place], arriving[place], queue, below, dt, dead, cut, now, self.failing
            )
        self.flows = flows
        self._measure(dt)

    def _measure(self, dt: float) -> None:
        share = min(1.0, dt / SMOOTHING_S)
        for place, flow in self.flows.items():
            seen = self.measured.setdefault(place, Flow())
            for field in Flow.__struct_fields__:
                before = getattr(seen, field)
                setattr(seen, field, before + share * (getattr(flow, field) - before))
        for gone in set(self.measured) - set(self.flows):
            del self.measured[gone]


def _serve(
    store: Store,
    service: Object,
    arriving: float,
    queue: float,
    below: list[Flow],
    dt: float,
    dead: set[str],
    cut: set[str],
    now: datetime | None,
    failing: dict[tuple[str, str], float],
) -> Flow:
    selector = service["spec"].get("selector")
    pods = [
        pod
        for pod in store.all("Pod", service["metadata"]["namespace"])
        if selector and selects({"matchLabels": selector}, labels_of(pod)) and budgets.ready(pod)
    ]
    if not pods:
        return Flow(arriving=arriving, error_ratio=1.0 if arriving else 0.0, latency_s=0.0)
    alive = [pod for pod in pods if pod["spec"].get("nodeName") not in dead and pod["metadata"]["uid"] not in cut]
    unreachable = 1 - len(alive) / len(pods)
    if not alive:
        return Flow(arriving=arriving, error_ratio=1.0, latency_s=TIMEOUT_S)
    knobs = [_knobs(pod, now) for pod in alive]
    work = sum(knob["WORK_MS"] for knob in knobs) / len(knobs) / 1000
    slots = sum(knob["CAPACITY"] for knob in knobs)
    own_failures = sum(knob["FAIL_RATIO"] for knob in knobs) / len(knobs)
    called_errors = 1.0
    for flow in below:
        called_errors *= 1 - flow.error_ratio
    called_errors = 1 - called_errors
    held = work + sum(min(flow.latency_s, TIMEOUT_S) for flow in below)
    rate = slots / held
    mine = arriving * (1 - unreachable)
    here = serve(mine, queue, rate, held, TIMEOUT_S, dt)
    timed_out = float(here.timed_out)
    for pod, knob in zip(alive, knobs, strict=True):
        uid, share, well = pod["metadata"]["uid"], mine / len(alive), 1 - knob["FAIL_RATIO"]
        reasons = (WAITED, timed_out), (FAILED, (1 - timed_out) * (1 - well)), (CALLED, well * called_errors)
        failing |= {(uid, why): share * part for why, part in reasons if share * part > 0}
    failed = 1 - (1 - own_failures) * (1 - called_errors) * (1 - timed_out) * (1 - unreachable)
    return Flow(
        arriving=arriving,
        error_ratio=min(1.0, failed) if arriving else 0.0,
        latency_s=float(here.latency_s) * (1 - unreachable) + TIMEOUT_S * unreachable,
        saturation=float(here.saturation),
        queue=float(here.waiting),
    )


def _cut_off(store: Store) -> set[str]:
    """The uids of the pods that a policy lets nobody reach: it is about what comes in, and allows nothing."""
    return {
        pod["metadata"]["uid"]
        for policy in store.all("NetworkPolicy")
        if "Ingress" in (policy["spec"].get("policyTypes") or ["Ingress"]) and not policy["spec"].get("ingress")
        for pod in store.all("Pod", policy["metadata"]["namespace"])
        if selects(policy["spec"].get("podSelector"), labels_of(pod))
    }


def _knobs(pod: Object, now: datetime | None) -> dict[str, float]:
    container = pod["spec"]["containers"][0]
    given = {each["name"]: each.get("value", "") for each in container.get("env") or []}
    return {
        "WORK_MS": _number(given, "WORK_MS", 10.0) + _number(given, "LATENCY_MS", 0.0),
        "CAPACITY": _number(given, "CAPACITY", 64.0),
        "FAIL_RATIO": max(
            _number(given, "FAIL_RATIO", 0.0),
            FAILING.get(container["image"], 0.0),
            LEAKED if now and _age_s(pod, now) > _number(given, "LEAK_S", math.inf) else 0.0,
        ),
    }


def _age_s(pod: Object, now: datetime) -> float:
    return (now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()


def _number(given: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(given.get(name, default))
    except ValueError:
        return default


def _callees(
    place: tuple[str, str], service: Object, services: Mapping[tuple[str, str], Object]
) -> list[tuple[str, str]]:
    named = (service["metadata"].get("annotations") or {}).get(CALLS, "")
    found = []
    for part in filter(None, (each.strip() for each in named.split(","))):
        space, _, name = part.rpartition("/")
        callee = (space or place[0], name)
        if callee in services and callee != place:
            found.append(callee)
    return found


def _callers_first(calls: Mapping[tuple[str, str], list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Every service after those that call it; a call back into a cycle is left out."""
    order: list[tuple[str, str]] = []
    state: dict[tuple[str, str], int] = {}

    def visit(place: tuple[str, str]) -> None:
        state[place] = 1
        calls[place][:] = [callee for callee in calls[place] if state.get(callee) != 1]
        for callee in calls[place]:
            if callee not in state:
                visit(callee)
        state[place] = 2
        order.append(place)

    for place in sorted(calls):
        if place not in state:
            visit(place)
    return order[::-1]
