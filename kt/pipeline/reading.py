"""Objects near an incident as they are now: several of one kind and namespace by one request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from graph_schema.model import Entity
from remediate.cluster import Cluster, Object
from sense.deadline import Deadline

MOST_LISTED = 200
"""Objects of a kind that are read to have a few of them; what is not among those is asked for by its name."""


def read(cluster: Cluster, wanted: Sequence[Entity], deadline: Deadline) -> list[Object]:
    """These objects, as far as there is time. Raises `ClusterError`."""
    together = defaultdict[tuple[str, str], list[str]](list)
    for each in wanted:
        together[each.kind, each.namespace].append(each.name)
    return [
        thing
        for (kind, namespace), names in together.items()
        if not deadline.over
        for thing in _of_kind(cluster, kind, namespace, names, deadline)
    ]


def _of_kind(cluster: Cluster, kind: str, namespace: str, names: Sequence[str], deadline: Deadline) -> Iterator[Object]:
    left = set(names)
    if len(names) > 1:
        page = cluster.list(kind, namespace, most=MOST_LISTED)
        yield from (each for each in page if each["metadata"]["name"] in left)
        if len(page) < MOST_LISTED:  # what is not among them is gone
            return
        left -= {each["metadata"]["name"] for each in page}
    for name in sorted(left):
        if not deadline.over and (found := cluster.get(kind, name, namespace)) is not None:
            yield {"kind": kind, **found}
