"""What every keeper of operators promises, and what a token proves."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kt.operators import ROLES, NoAuthority, Operators, Role, allowed, issue, who_is
from kt.stores.neo4j_operators import Neo4jOperators
from kt.stores.sqlite_operators import SqliteOperators

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "neo4j"])
def operators(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Operators]:
    store: Operators
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        store = Neo4jOperators(place.uri, place.auth)
    else:
        store = SqliteOperators(tmp_path / "kt.db")
    yield store
    store.close()


def test_a_token_tells_whose_it_is(operators: Operators) -> None:
    ada, token = issue("ada", "approver", by="root", at=NOW)
    operators.add(ada)
    assert who_is(token, operators) == ada
    assert who_is(f" {token}\n", operators) == ada


def test_what_is_kept_does_not_give_the_token_away(operators: Operators, tmp_path: Path) -> None:
    ada, token = issue("ada", "approver", by="root", at=NOW)
    operators.add(ada)
    secret = token.split("_", 2)[2]
    assert len(secret) >= 43
    assert secret not in str(operators.all())
    assert not any(secret.encode() in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("change", [
    lambda token: "", lambda token: token[:-1], lambda token: token + "x", lambda token: "kt_00000000_" + token[12:],
    lambda token: token.replace("kt_", "", 1), lambda token: "kt__",
])  # fmt: skip
def test_anything_else_is_nobodys(operators: Operators, change: object) -> None:
    ada, token = issue("ada", "approver", by="root", at=NOW)
    operators.add(ada)
    assert callable(change)
    with pytest.raises(NoAuthority, match="nobody's"):
        who_is(change(token), operators)


def test_a_revoked_token_is_refused_and_its_name_is_free_again(operators: Operators) -> None:
    ada, token = issue("ada", "approver", by="root", at=NOW)
    operators.add(ada)
    assert operators.revoke(ada.id, NOW + timedelta(hours=1))
    assert not operators.revoke(ada.id, NOW + timedelta(hours=2))
    assert not operators.revoke("unknown", NOW)
    with pytest.raises(NoAuthority, match="revoked at 2026-03-01 13:00:00"):
        who_is(token, operators)
    again, _ = issue("ada", "admin", by="root", at=NOW + timedelta(hours=3))
    operators.add(again)
    assert [(each.id, each.revoked_at is None) for each in operators.all()] == [(ada.id, False), (again.id, True)]


def test_one_person_cannot_be_two_approvers_by_two_tokens(operators: Operators) -> None:
    operators.add(issue("ada", "approver", by="root", at=NOW)[0])
    with pytest.raises(NoAuthority, match="revoke it first"):
        operators.add(issue("ada", "approver", by="root", at=NOW)[0])


def test_nor_when_both_are_made_at_once(operators: Operators) -> None:
    def add(_: int) -> bool:
        try:
            operators.add(issue("ada", "approver", by="root", at=NOW)[0])
        except NoAuthority:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(add, range(6))) == 1


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_those_below_it_may(role: Role) -> None:
    operator, _ = issue("ada", role, by="", at=NOW)
    for other in ROLES:
        if ROLES.index(other) <= ROLES.index(role):
            allowed(operator, other)
        else:
            with pytest.raises(NoAuthority, match=f"ada is {role}; this takes {other}"):
                allowed(operator, other)
