"""The disruption controller: what each budget says of itself (Kubernetes docs, disruptions)."""

from __future__ import annotations

import functools

from twin.api import budgets
from twin.objects import Object, Store


def tell(store: Store) -> None:
    """Bring the status of every budget up to date."""
    for budget in list(store.all("PodDisruptionBudget")):
        meta = budget["metadata"]
        now = {**budgets.status(store, budget), "observedGeneration": meta.get("generation", 0)}
        if (budget.get("status") or {}) != now:
            store.edit("PodDisruptionBudget", meta["name"], meta["namespace"], functools.partial(_told, now=now))


def _told(draft: Object, now: dict[str, int]) -> None:
    draft["status"] = now
