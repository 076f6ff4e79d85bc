"""Whether things are near each other in the graph as it is now."""

from __future__ import annotations

from graph_schema.store import GraphStore
from sense.grouping import near_in

HOPS = 3


def near(graph: GraphStore, some: frozenset[str], others: frozenset[str]) -> bool:
    """Whether a way of joining relations leads from one side to the other. Raises `StoreUnavailable`."""
    return near_in(graph.neighbourhood(sorted(some | others), hops=HOPS), some, others)
