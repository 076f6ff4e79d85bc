"""Finding the entity that a label means, among those of a snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from graph_schema.model import Entity

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Rollout")


class Index:
    """A `Lookup` over entities held in memory: by kind (in any spelling), namespace and name; nodes also by address."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        self._by_name: dict[str, list[Entity]] = defaultdict(list)
        self._by_kind: dict[str, list[Entity]] = defaultdict(list)
        for entity in entities:
            for name in {entity.name, str(entity.properties.get("address") or entity.name)}:
                self._by_name[name].append(entity)
            self._by_kind[entity.kind.lower()].append(entity)

    def lookup(self, kind: str, namespace: str, name: str) -> Entity | None:
        """The one entity that is meant; None when there is none or when there are several."""
        found = self._by_name.get(name, []) if name else self._by_kind.get(kind.lower(), [])
        return pick(found, kind, namespace)


def pick(found: Iterable[Entity], kind: str, namespace: str) -> Entity | None:
    """The only one of this kind and namespace, each if given; of any kind: workload before Service before the rest."""
    fitting = [
        each
        for each in found
        if (not kind or each.kind.lower() == kind.lower()) and (not namespace or each.namespace == namespace)
    ]
    if not kind and len(fitting) > 1:
        rank = {each.id: _rank(each.kind) for each in fitting}
        best = min(rank.values())
        fitting = [each for each in fitting if rank[each.id] == best]
    return fitting[0] if len(fitting) == 1 else None


def _rank(kind: str) -> int:
    if kind in WORKLOADS:
        return 0
    return {"Service": 1, "Pod": 3, "ReplicaSet": 4, "ConfigMap": 5, "Secret": 5, "ServiceAccount": 5}.get(kind, 2)
