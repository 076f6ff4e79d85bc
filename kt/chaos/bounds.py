"""How far a run reaches into the workloads of the cluster, and whether those are well enough to be disturbed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from kt.sections import Chaos
from remediate.cluster import Cluster, Object
from verify.targets import APP_LABELS, Reached

KINDS = ("Deployment", "StatefulSet", "DaemonSet")


class Disturbed(NamedTuple):
    """A workload that a run acts on, with its pods."""

    kind: str
    namespace: str
    name: str
    wanted: int
    ready: int

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def objection(cluster: Cluster, reached: Collection[Reached], settings: Chaos) -> str:
    """Why this is too much, or too sick, to be disturbed; empty if it is not. Raises `ClusterError`."""
    found = sorted(set(_workloads(cluster, set(reached))))
    if len(found) > settings.max_workloads:
        most = f"at most {settings.max_workloads} may be (chaos.max_workloads)"
        return f"it acts on {len(found)} workloads, such as {found[-1]}; {most}"
    for each in found:
        if each.ready < settings.min_ready:
            return f"{each} has {each.ready} pods ready; {settings.min_ready} have to be (chaos.min_ready)"
        if each.ready < settings.min_ready_share * each.wanted:
            share = f"{settings.min_ready_share:.0%} have to be (chaos.min_ready_share)"
            return f"{each} has {each.ready} of {each.wanted} pods ready; {share}"
    return ""


def _workloads(cluster: Cluster, reached: set[Reached]) -> Iterator[Disturbed]:
    for namespace in sorted({each.namespace for each in reached}):
        names = {each.name for each in reached if each.namespace == namespace}
        selectors = _selectors(cluster.list("Service", namespace), names)
        for kind in KINDS:
            for thing in cluster.list(kind, namespace):
                if "" in names or _is_meant(thing, names, selectors):
                    yield _disturbed(kind, thing)


def _selectors(services: Iterable[Object], names: set[str]) -> list[dict[str, str]]:
    found = (each["spec"].get("selector") for each in services if each["metadata"]["name"] in names)
    return [each for each in found if each]


def _is_meant(thing: Object, names: set[str], selectors: list[dict[str, str]]) -> bool:
    """By its own name, by that of a Service before it, or by the label that says what program it is."""
    labels: dict[str, str] = thing["spec"]["template"]["metadata"].get("labels") or {}
    if thing["metadata"]["name"] in names or any(labels.get(label) in names for label in APP_LABELS):
        return True
    return any(labels.items() >= each.items() for each in selectors)


def _disturbed(kind: str, thing: Object) -> Disturbed:
    meta, status = thing["metadata"], thing.get("status") or {}
    wanted: Any = thing["spec"].get("replicas", 1)
    ready = status.get("readyReplicas") or 0
    if kind == "DaemonSet":
        wanted, ready = status.get("desiredNumberScheduled") or 0, status.get("numberReady") or 0
    return Disturbed(kind, meta["namespace"], meta["name"], wanted, ready)
