"""The record of remedies in Neo4j."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.neo4j_session import rows
from kt.stores.neo4j_store import Neo4jStore
from remediate.trials import Trial

T = TypeVar("T")
_NOTE = """
UNWIND $trials AS one
MERGE (t:KtTrial {id: one.id})
ON CREATE SET t += one
"""
_OF = """
MATCH (t:KtTrial)
WHERE ($playbook IS NULL OR t.playbook = $playbook) AND ($fault IS NULL OR t.fault = $fault)
RETURN t.id AS id, t.at AS at, t.playbook AS playbook, t.fault AS fault, t.target AS target, t.helped AS helped,
       t.effect_s AS effect_s
ORDER BY t.at, t.id
"""


class Neo4jTrials(Neo4jStore):
    """See `remediate.trials.Trials`. Raises `LogUnavailable`."""

    def note(self, trials: Iterable[Trial]) -> None:
        given = [
            {
                "id": each.id, "at": to_micros(each.at), "playbook": each.playbook, "fault": each.fault,
                "target": each.target, "helped": each.helped, "effect_s": each.effect_s,
            }
            for each in trials
        ]  # fmt: skip
        self._write(lambda tx: rows(tx, _NOTE, trials=given))

    def of(self, *, playbook: str | None = None, fault: str | None = None) -> list[Trial]:
        found = self._read(lambda tx: rows(tx, _OF, playbook=playbook, fault=fault))
        return [
            Trial(
                id=each["id"], at=from_micros(each["at"]), playbook=each["playbook"], fault=each["fault"],
                target=each["target"], helped=each["helped"], effect_s=each["effect_s"],
            )
            for each in found
        ]  # fmt: skip
