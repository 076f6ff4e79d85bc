"""The cluster behind the API: its objects, its clock, and everything that moves in it, in steps of simulated time.

Deterministic under a seed as long as nobody asks for anything from outside: each step does the same in the same order.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable
from datetime import datetime, timedelta

from twin import errors, shop
from twin.api import deletion
from twin.api.backend import ProxyAnswer, Right
from twin.metrics import Metrics
from twin.objects import Object, Store
from twin.simulation import batch, controllers, disruption, kubelets, revisions, volumes
from twin.simulation.traffic import Traffic
from twin.simulation.writing import Line, Writing, last_words

STEP_S = 0.5
FAULTS = ("bad-rollout", "overload", "node-down")


class Cluster:
    """Fulfils `twin.api.backend.Backend`. `step` moves everything on by `STEP_S`; all else is called under `lock`."""

    def __init__(self, *, seed: int, start: datetime, token: str, speed: float, nodes: int = 3) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - a simulation must repeat itself
        self._now = start
        self._speed = speed
        self.token = token
        self.denied: set[Right] = set()
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.store = Store(self.now, self._rng)
        self.traffic = Traffic((shop.NAMESPACE, "front"), shop.RATE)
        self.writing = Writing()
        self.metrics = Metrics()
        self._heartbeats: dict[str, datetime] = {}
        self._stopped: set[str] = set()
        shop.build(self.store, nodes)

    def now(self) -> datetime:
        return self._now

    def step(self) -> None:
        with self.lock:
            self._now += timedelta(seconds=STEP_S)
            controllers.deployments(self.store, self._now)
            controllers.replica_sets(self.store)
            revisions.stateful_sets(self.store)
            revisions.daemon_sets(self.store)
            batch.cron_jobs(self.store, self._now)
            batch.jobs(self.store, self._now)
            volumes.claims(self.store)
            kubelets.schedule(self.store, self._now)
            kubelets.run(self.store, self._heartbeats, self._stopped, self._now)
            controllers.nodes(self.store, self._heartbeats, self._now)
            disruption.tell(self.store)
            deletion.collect_garbage(self.store)
            deletion.empty_namespaces(self.store)
            self.traffic.step(self.store, STEP_S, self._stopped, self._now)
            self.writing.step(self.store, self.traffic.failing, STEP_S, self._now)
            self.metrics.observe(self.store, self.traffic, self._now)

    def settle(self, seconds: float = 60.0) -> None:
        """Let the shop come up before anybody looks."""
        for _ in range(int(seconds / STEP_S)):
            self.step()

    def inject(self, fault: str) -> str:
        """Break something; what was done, in words. Raises `ValueError` for a fault that is not known."""
        with self.lock:
            match fault:
                case "bad-rollout":
                    self.store.edit("Deployment", "cart", shop.NAMESPACE, _bad_image)
                    return "Deployment shop/cart is rolled out with image shop:bad"
                case "overload":
                    self.traffic.per_second = shop.OVERLOAD
                    return f"the shop gets {shop.OVERLOAD:.0f} requests per second instead of {shop.RATE:.0f}"
                case "node-down":
                    name = self._busiest_node()
                    self._stopped.add(name)
                    return f"Node {name} goes down"
        raise ValueError(f"“{fault}” is no fault of the twin; {', '.join(FAULTS)} are")

    def log_lines(self, pod: Object, *, previous: bool) -> list[Line] | None:
        return last_words(pod) if previous else self.writing.of(pod)

    def request(self, namespace: str, service: str, port: str, path: str) -> Awaitable[ProxyAnswer]:
        """One request into a service: it counts as load and fares as the flow does."""
        place = (namespace, service)
        flow = self.traffic.flows.get(place)
        if flow is None or not self._endpoints(namespace, service):
            raise errors.ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{service}"')
        self.traffic.extra[place] = self.traffic.extra.get(place, 0.0) + 1
        failed = self._rng.random() < flow.error_ratio
        return _answer(flow.latency_s / self._speed, failed, f"{service} {port}{path}")

    def _endpoints(self, namespace: str, service: str) -> bool:
        flow = self.traffic.flows[(namespace, service)]
        return flow.latency_s > 0 or not flow.arriving

    def _busiest_node(self) -> str:
        """The node with the most pods of the shop but not the store's, whose only pod would take all else along."""
        pods = list(self.store.all("Pod", shop.NAMESPACE))
        single = {pod["spec"].get("nodeName") for pod in pods if pod["metadata"]["labels"].get("app") == "store"}
        names: list[str] = sorted(node["metadata"]["name"] for node in self.store.all("Node"))
        counts = {name: sum(1 for pod in pods if pod["spec"].get("nodeName") == name) for name in names}
        return max([name for name in names if name not in single] or names, key=lambda name: counts[name])


def _bad_image(draft: Object) -> None:
    draft["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:bad"


async def _answer(after_s: float, failed: bool, what: str) -> ProxyAnswer:
    await asyncio.sleep(after_s)
    return ProxyAnswer(500 if failed else 200, f"{what}: {'failed' if failed else 'ok'}\n")
