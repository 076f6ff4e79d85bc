"""What depends on what a plan touches: walked along the direction of faults through the graph."""

from __future__ import annotations

from collections.abc import Iterable

from graph_schema.store import GraphStore

MOST_STEPS = 6
MOST_FOUND = 50
TOLD = frozenset({"Service", "Ingress", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"})
"""What a person thinks in; pods and ReplicaSets are only on the way."""


def dependants(graph: GraphStore, targets: Iterable[str]) -> tuple[str, ...]:
    """Services and workloads that a fault of the targets would reach, the nearest first; not the targets themselves.

    Raises `StoreUnavailable`."""
    front = set(targets)
    seen, told = set(front), list[str]()
    for _ in range(MOST_STEPS):
        # With no hops: the seeds, and what stands one step along the direction of faults.
        piece = graph.neighbourhood(sorted(front), hops=0)
        # What is called may suffer from its callers' load, but does not depend on them.
        callees = {each.target for each in piece.relations if each.kind == "CALLS" and each.source in front}
        front = set(piece.entities) - seen - callees
        if not front:
            break
        seen |= front
        told += sorted(each for each in front if each.partition("/")[0] in TOLD)
    return tuple(told[:MOST_FOUND])
