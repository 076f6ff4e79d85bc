"""What KT made good is no suspect any more, and is one again once the remedy is taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from graph_schema.model import Change
from graph_schema.remedied import REMEDY, Did, detail_of, standing

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART, FRONT = "Deployment/shop/cart", "Deployment/shop/front"


def change(minute: int, kind: str = "rollout", entity: str = CART) -> Change:
    return Change(entity=entity, at=T0 + timedelta(minutes=minute), kind=kind)


def kts(minute: int, did: Did = "done", kind: str = "rollout", entity: str = CART) -> Change:
    at = T0 + timedelta(minutes=minute)
    return Change(entity=entity, at=at, kind=REMEDY, detail=detail_of(did, kind, "a → b"))


def test_a_rollout_that_was_rolled_back_is_over_and_what_came_after_it_is_not() -> None:
    bad, back, later = change(1), kts(2), change(3)
    assert standing([bad, back, later]) == [back, later]


def test_nothing_else_is_made_good_by_it() -> None:
    others = [change(1, "config"), change(1, entity=FRONT), change(1)]
    assert standing([*others, kts(2, kind="restart"), kts(2, kind="scale")])[:3] == others
    assert standing([*others, kts(2)])[:2] == others[:2]


def test_a_remedy_that_was_taken_back_makes_good_nothing_until_it_is_done_again() -> None:
    bad, back, undone, again = change(1), kts(2), kts(3, "taken back"), kts(4)
    assert standing([bad, back, undone]) == [bad, back, undone]
    assert standing([bad, back, undone, again]) == [back, undone, again]
