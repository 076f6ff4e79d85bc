"""The port to the graph: what sense writes and diagnosis reads. Two stores fulfil it, held to one contract suite."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from graph_schema.model import Change, Entity, HistoryEntry, Relation, Subgraph


class StoreUnavailable(Exception):
    """The store cannot be reached or cannot commit now; trying again later can help."""


class GraphStore(Protocol):
    """All methods may be called from several threads and processes at once.

    Every write is one transaction, unless it is so large that the store has to divide it (Neo4j: above 5,000 entities
    and relations): then each entity, relation and source is written whole, a relation after its ends, and what was
    begun and broken off is completed by writing all of it again.

    Every method raises `StoreUnavailable` when the store does not answer or cannot commit.
    """

    def upsert(self, entities: Iterable[Entity], relations: Iterable[Relation] = (), *, at: datetime) -> None:
        """Write entities and relations as they are from `at` on.

        An entity that is already there is replaced; a version older than the one kept (by `at`) is ignored, so late
        writers do no harm; an unchanged one adds nothing to its history. A relation whose ends are not both known is
        kept back and appears as soon as they are. A deleted entity comes back when it is upserted with a later `at`.
        """
        ...

    def set_relations(
        self, sources: Collection[str], kinds: Collection[str], relations: Iterable[Relation], *, at: datetime
    ) -> None:
        """Make `relations`, which leave the sources, the only ones of these kinds that do; others end at `at`."""
        ...

    def delete(self, ids: Iterable[str], *, at: datetime) -> None:
        """Take entities and their relations out of the graph at `at`; their history stays. Unknown ids are no error."""
        ...

    def record_changes(self, changes: Iterable[Change]) -> None:
        """Add change events. One with an id that is already there is ignored. The entity need not be known."""
        ...

    def get(self, ids: Iterable[str]) -> dict[str, Entity]:
        """The entities of these ids that are in the graph now."""
        ...

    def find(
        self,
        *,
        kind: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> list[Entity]:
        """Entities in the graph now that match everything given, by id in ascending order."""
        ...

    def neighbourhood(self, seeds: Iterable[str], *, hops: int, limit: int = 20_000) -> Subgraph:
        """What could have caused a symptom on `seeds`, and what else those causes would have made sick.

        Walks at most `hops` steps from the seeds against the direction of faults (the ontology says which end of each
        relation kind a fault comes from), then adds everything that stands one fault-ward step from what was reached;
        never more than `limit` entities (nearest first, then by id). Relations among them, and the changes of them
        (also of deleted ones that had been related to them), come along. Unknown seeds are left out.
        """
        ...

    def changes_since(self, at: datetime, entities: Collection[str] | None = None) -> list[Change]:
        """Changes at or after `at`, oldest first; of these entities only, if given."""
        ...

    def history(self, entity: str) -> list[HistoryEntry]:
        """All versions of an entity, oldest first; empty if it was never seen."""
        ...

    def close(self) -> None: ...
