"""The record of remedies in Neo4j."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import neo4j

from graph_schema.stores.moments import from_micros, to_micros
from graph_schema.stores.neo4j_session import Neo4jAway, Neo4jSession, rows
from kt.incident.log import LogUnavailable
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


class Neo4jTrials:
    """See `remediate.trials.Trials`. Raises `LogUnavailable`."""

    def __init__(self, uri: str, auth: tuple[str, str] | None, database: str = "neo4j") -> None:
        self._session = Neo4jSession(uri, auth, database)

    def note(self, trials: Iterable[Trial]) -> None:
        given = [
            {
                "id": each.id, "at": to_micros(each.at), "playbook": each.playbook, "fault": each.fault,
                "target": each.target, "helped": each.helped, "effect_s": each.effect_s,
            }
            for each in trials
        ]  # fmt: skip
        self._run(lambda tx: rows(tx, _NOTE, trials=given), write=True)

    def of(self, *, playbook: str | None = None, fault: str | None = None) -> list[Trial]:
        found = self._run(lambda tx: rows(tx, _OF, playbook=playbook, fault=fault))
        return [
            Trial(
                id=each["id"], at=from_micros(each["at"]), playbook=each["playbook"], fault=each["fault"],
                target=each["target"], helped=each["helped"], effect_s=each["effect_s"],
            )
            for each in found
        ]  # fmt: skip

    def close(self) -> None:
        self._session.close()

    def _run(self, work: Callable[[neo4j.ManagedTransaction], T], *, write: bool = False) -> T:
        try:
            return self._session.write(work) if write else self._session.read(work)
        except Neo4jAway as error:
            raise LogUnavailable(str(error)) from error
