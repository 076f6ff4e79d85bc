"""Which remedy comes first, and what its record does to that."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from graph_schema.model import Change, Hypothesis
from remediate.actions import ACTIONS
from remediate.choosing import ENOUGH, asks, ranked
from remediate.playbook import load_playbooks
from remediate.trials import Trial, chance, rate, wilson

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART, FRONT = "Deployment/shop/cart", "Deployment/shop/front"
PLAYBOOKS = load_playbooks(ACTIONS)


def trials(playbook: str, outcomes: str, target: str = CART, effect_s: float = 30.0) -> list[Trial]:
    """`+` helped, `-` did not."""
    return [
        Trial(
            id=f"{playbook}{target}{number}", at=NOW, playbook=playbook, fault="F", target=target, helped=each == "+",
            effect_s=effect_s if each == "+" else None,
        )
        for number, each in enumerate(outcomes)
    ]  # fmt: skip


def order(remedies: list[str], record: list[Trial], *, blamed: str = "") -> list[str]:
    change = Change(entity=CART, at=NOW, kind=blamed) if blamed else None
    cause = Hypothesis(entity=CART, fault="F", probability=0.9, change=change)
    return [each.playbook for each in ranked(cause, remedies, PLAYBOOKS, record)]


def test_without_a_record_the_catalogue_says_what_comes_first() -> None:
    assert order(["restart", "terminate-pod", "quarantine"], []) == ["restart", "terminate-pod", "quarantine"]


def test_a_roll_back_comes_first_only_where_a_rollout_is_blamed() -> None:
    assert order(["rollback", "restart"], [], blamed="rollout")[0] == "rollback"
    assert order(["rollback", "restart"], [])[0] == "restart"
    assert order(["rollback", "restart"], [], blamed="remedy")[0] == "restart"


def test_what_did_not_help_here_gives_way_to_what_did() -> None:
    assert order(["restart", "terminate-pod"], trials("restart", "---") + trials("terminate-pod", "++"))[0] == (
        "terminate-pod"
    )


def test_the_record_of_this_target_counts_more_than_that_of_others() -> None:
    record = trials("restart", "++++", FRONT) + trials("restart", "----", CART)
    assert chance(record, CART, 0.8) < 0.4 < 0.7 < chance(record, FRONT, 0.8)
    assert chance(record, CART, 0.8) < chance(record, "Deployment/shop/other", 0.8) < chance(record, FRONT, 0.8)


def test_of_two_that_help_alike_the_quicker_and_the_less_risky_comes_first() -> None:
    slow = trials("restart", "++++", effect_s=900) + trials("scale-out", "++++", effect_s=10)
    assert order(["restart", "scale-out"], slow)[0] == "scale-out"
    risky = trials("hibernate", "+" * 20) + trials("restart", "+" * 20)
    assert order(["hibernate", "restart"], risky)[0] == "restart"


def test_a_record_that_is_surely_poor_makes_kt_ask_and_a_short_one_does_not() -> None:
    assert asks(trials("restart", "-" * ENOUGH))
    assert not asks(trials("restart", "-" * (ENOUGH - 1)))
    assert not asks(trials("restart", "--++-"))
    assert not asks([])


def test_wilsons_interval_is_that_of_the_books() -> None:
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662."""
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.text("+-", max_size=30), st.text("+-", max_size=30), st.floats(0.01, 0.99))
def test_one_more_success_never_lowers_a_chance_and_a_failure_never_raises_it(
    mine: str, theirs: str, before: float
) -> None:
    record = trials("restart", mine) + trials("restart", theirs, FRONT)
    now = chance(record, CART, before)
    more = Trial(id="one", at=NOW, playbook="restart", fault="F", target=CART, helped=True, effect_s=1.0)
    less = Trial(id="one", at=NOW, playbook="restart", fault="F", target=CART, helped=False)
    assert chance([*record, less], CART, before) <= now + 1e-12
    assert now <= chance([*record, more], CART, before) + 1e-12
    assert 0 <= now <= 1


@given(st.text("+-", min_size=1, max_size=40))
def test_an_interval_holds_the_share_that_was_seen(outcomes: str) -> None:
    seen = rate(trials("restart", outcomes))
    assert seen.low <= (seen.share or 0) + 1e-12
    assert (seen.share or 0) <= seen.high + 1e-12
