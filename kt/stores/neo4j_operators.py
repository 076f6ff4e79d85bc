"""Operators in Neo4j."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec
import neo4j

from graph_schema.stores.moments import to_micros
from graph_schema.stores.neo4j_session import rows
from kt.operators import NoAuthority, Operator
from kt.stores.neo4j_store import Neo4jStore

T = TypeVar("T")


class Neo4jOperators(Neo4jStore):
    """See `kt.operators.Operators`. Raises `LogUnavailable`."""

    def add(self, operator: Operator) -> None:
        def work(tx: neo4j.ManagedTransaction) -> bool:
            # One node for each name is locked, so that a name cannot get two tokens at once.
            rows(tx, _LOCK, name=operator.name)
            if rows(tx, _VALID, name=operator.name):
                return False
            rows(tx, _ADD, id=operator.id, name=operator.name, body=msgspec.json.encode(operator).decode())
            return True

        if not self._write(work):
            raise NoAuthority(f"{operator.name} has a token already; revoke it first")

    def find(self, id_: str) -> Operator | None:
        found = self._read(lambda tx: rows(tx, _FIND, id=id_))
        return _operator(found[0]) if found else None

    def all(self) -> list[Operator]:
        found = [_operator(each) for each in self._read(lambda tx: rows(tx, _ALL))]
        return sorted(found, key=lambda each: (each.name, each.created_at, each.id))

    def revoke(self, id_: str, at: datetime) -> bool:
        def work(tx: neo4j.ManagedTransaction) -> bool:
            found = rows(tx, _LOCKED, id=id_)
            operator = _operator(found[0]) if found else None
            if operator is None or operator.revoked_at is not None:
                return False
            body = msgspec.json.encode(msgspec.structs.replace(operator, revoked_at=at)).decode()
            rows(tx, _REVOKE, id=id_, at=to_micros(at), body=body)
            return True

        return self._write(work)


def _operator(row: Any) -> Operator:
    return msgspec.json.decode(row["body"], type=Operator)


_LOCK = "MERGE (n:KtOperatorName {name: $name}) SET n.locked = true"
_VALID = "MATCH (o:KtOperator {name: $name}) WHERE o.revoked_at IS NULL RETURN o.id AS id"
_ADD = "CREATE (:KtOperator {id: $id, name: $name, body: $body})"
_FIND = "MATCH (o:KtOperator {id: $id}) RETURN o.body AS body"
_ALL = "MATCH (o:KtOperator) RETURN o.body AS body"
_LOCKED = "MATCH (o:KtOperator {id: $id}) SET o.locked = true RETURN o.body AS body"
_REVOKE = "MATCH (o:KtOperator {id: $id}) SET o.revoked_at = $at, o.body = $body"
