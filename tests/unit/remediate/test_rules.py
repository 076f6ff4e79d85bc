"""The guard's rules: each says no when it should, and no restriction can ever allow more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.brakes import Spent, Stop, Trip
from remediate.guard import tier_of
from remediate.limits import Limits, Window
from remediate.rules import RULES, Disturbance, Facts, NodeFact, Verdict, review, verdict_of

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
CART = "Deployment/shop/cart"


def facts(**given: Any) -> Facts:
    usual: dict[str, Any] = {
        "now": NOW,
        "playbook": "restart",
        "namespaces": ("shop",),
        "opted_in": frozenset({"shop"}),
        "targets": (CART,),
    }
    return Facts(**(usual | given))


def node_facts(ready: int, sick: int, *, target: str = "n0") -> Facts:
    nodes = [NodeFact(name=f"n{number}", ready=number >= sick) for number in range(ready + sick)]
    return facts(nodes=tuple(nodes), node_targets=(target,), targets=(f"Node/{target}",))


def spent(ago_s: float, *, target: str = CART, namespace: str = "shop", outcome: str = "", number: int = 0) -> Spent:
    return msgspec.convert(
        {"action": f"{target}{ago_s}{number}", "at": NOW - timedelta(seconds=ago_s), "target": target,
         "namespace": namespace, "playbook": "restart", "outcome": outcome},
        Spent,
    )  # fmt: skip


def verdict(given: Facts, limits: Limits | None = None) -> Verdict:
    return verdict_of(review(given, limits or Limits()))


def why(given: Facts, limits: Limits | None = None) -> str:
    return "; ".join(each.why for each in review(given, limits or Limits()) if each.why)


def test_a_plan_that_nothing_speaks_against_is_allowed() -> None:
    assert verdict(facts()) is Verdict.ALLOW


def test_every_rule_tells_its_value_and_its_limit() -> None:
    findings = review(facts(), Limits())
    assert len(findings) == len(RULES)
    assert all(each.value and each.limit for each in findings)
    assert len({each.rule for each in findings}) == len(RULES)


def test_a_namespace_that_is_not_opted_in_is_refused() -> None:
    assert verdict(facts(opted_in=frozenset())) is Verdict.REFUSE
    assert "kt.io/remediate=enabled" in why(facts(opted_in=frozenset()))


def test_a_stopped_kt_waits() -> None:
    stopped = facts(stop=Stop(at=NOW, by="ada", why="migration"))
    assert verdict(stopped) is Verdict.LATER
    assert why(stopped) == "ada has stopped KT: migration"


def test_a_target_is_left_alone_after_an_action() -> None:
    assert verdict(facts(acted_at={CART: NOW - timedelta(seconds=10)})) is Verdict.LATER
    assert verdict(facts(acted_at={CART: NOW - timedelta(seconds=301)})) is Verdict.ALLOW


def test_in_a_freeze_it_only_proposes() -> None:
    limits = Limits(freezes=(Window(start=NOW, end=NOW + timedelta(hours=1), namespaces=("shop",), why="sale"),))
    assert verdict(facts(), limits) is Verdict.PROPOSE
    assert "sale" in why(facts(), limits)
    assert verdict(facts(namespaces=("mail",), opted_in=frozenset({"mail"})), limits) is Verdict.ALLOW
    assert verdict(facts(now=NOW + timedelta(hours=1)), limits) is Verdict.ALLOW


def test_lesson_maintenance_windows_are_honoured() -> None:
    limits = Limits(maintenance=(Window(cron="0 12 * * *", duration_s=3600, why="patching"),))
    assert verdict(facts(), limits) is Verdict.LATER
    assert "until 13:00 UTC: patching" in why(facts(), limits)
    assert verdict(facts(now=NOW + timedelta(minutes=30)), limits) is Verdict.ALLOW
    assert verdict(facts(now=NOW - timedelta(minutes=31)), limits) is Verdict.ALLOW


@pytest.mark.parametrize("cron", ["every day", "61 * * * *"])
def test_a_cron_expression_that_cannot_be_read_is_told(cron: str) -> None:
    with pytest.raises(ValueError, match="no cron expression"):
        Window(cron=cron, duration_s=60)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"start": NOW, "end": NOW}, "ends after it starts"),
        ({}, "either `start` and `end`, or `cron` and `duration_s`"),
        ({"start": NOW}, "either"),
        ({"cron": "0 2 * * *"}, "either"),
        ({"start": NOW, "end": NOW + timedelta(hours=1), "cron": "0 2 * * *", "duration_s": 60}, "either"),
        ({"cron": "0 2 * * *", "duration_s": 60, "zone": "Middle/Earth"}, "no time zone"),
    ],
)
def test_a_window_that_cannot_be_meant_is_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Window(**given)


def test_a_freeze_that_comes_again_holds_in_its_own_time_zone() -> None:
    limits = Limits(freezes=(Window(cron="0 13 * * SUN", duration_s=3600, zone="Europe/Berlin", why="weekend"),))
    assert verdict(facts(), limits) is Verdict.PROPOSE, "12:30 UTC is 13:30 in Berlin"
    assert "until 2026-03-01 14:00 CET: weekend" in why(facts(), limits)
    assert verdict(facts(now=NOW + timedelta(minutes=30)), limits) is Verdict.ALLOW


def test_lesson_storm_many_sick_nodes_are_no_node_fault() -> None:
    """node-healthcheck-operator 378."""
    calm, storm = node_facts(ready=12, sick=2), node_facts(ready=12, sick=3)
    assert verdict(calm) is Verdict.ALLOW
    assert verdict(storm) is Verdict.REFUSE
    assert "no fault of one node" in why(storm)


def test_a_storm_stops_only_what_is_done_to_nodes() -> None:
    assert verdict(facts(nodes=node_facts(ready=5, sick=5).nodes)) is Verdict.ALLOW


def test_the_last_node_that_stands_is_never_taken() -> None:
    assert verdict(node_facts(ready=1, sick=1)) is Verdict.ALLOW
    assert verdict(node_facts(ready=1, sick=1, target="n1")) is Verdict.REFUSE


@pytest.mark.parametrize(
    ("members", "out", "expected"),
    [
        (4, 1, Verdict.ALLOW),
        (4, 2, Verdict.REFUSE),
        (2, 1, Verdict.REFUSE),
        (1, 0, Verdict.ALLOW),
        (2, 0, Verdict.ALLOW),
    ],
)
def test_a_zone_or_pool_never_loses_more_than_its_share(members: int, out: int, expected: Verdict) -> None:
    """`out` of its members are out already, and one more is to go; there are plenty of nodes elsewhere."""
    zone = [NodeFact(name=f"n{at}", ready=not 1 <= at <= out, groups=("zone a",)) for at in range(members)]
    rest = [NodeFact(name=f"r{at}", ready=True, groups=("zone b",)) for at in range(20)]
    given = facts(nodes=(*zone, *rest), node_targets=("n0",), targets=("Node/n0",))
    assert verdict(given) is expected
    assert ("nodes of zone a would be out" in why(given)) == (expected is Verdict.REFUSE)


@pytest.mark.parametrize(("pods", "missing", "expected"), [
    (3, 0, Verdict.ALLOW), (3, 1, Verdict.LATER), (6, 1, Verdict.ALLOW), (6, 2, Verdict.LATER), (1, 0, Verdict.ALLOW),
])  # fmt: skip
def test_lesson_blast_radius_a_share_of_a_workload(pods: int, missing: int, expected: Verdict) -> None:
    taken = Disturbance(workload=CART, pods=pods, missing=missing, taken=1)
    assert verdict(facts(disturbed=(taken,))) is expected


def test_ending_a_pod_that_does_not_serve_takes_nothing_away() -> None:
    assert verdict(facts(disturbed=(Disturbance(workload=CART, pods=3, missing=2, taken=0),))) is Verdict.ALLOW


def test_lesson_gitops_would_undo_it_so_it_is_proposed() -> None:
    """argo-cd 9570."""
    owned = facts(owned={CART: "Argo CD (shop)"})
    assert verdict(owned) is Verdict.PROPOSE
    assert "Argo CD (shop), which would undo it" in why(owned)


def test_lesson_attempts_are_capped_per_target_and_window() -> None:
    """NVSentinel 1543; 39 remediations for one fingerprint."""
    three = tuple(spent(600 * number, number=number) for number in range(1, 4))
    assert verdict(facts(spent=three[:2])) is Verdict.ALLOW
    assert verdict(facts(spent=three)) is Verdict.REFUSE
    assert f"3 times in an hour on {CART}" in why(facts(spent=three))
    assert verdict(facts(spent=three, targets=("Deployment/shop/front",))) is Verdict.ALLOW


def test_actions_of_another_hour_do_not_count() -> None:
    assert verdict(facts(spent=tuple(spent(3600 + number, number=number) for number in range(9)))) is Verdict.ALLOW


def test_a_namespace_and_the_whole_have_caps_of_their_own() -> None:
    others = tuple(spent(60, target=f"Deployment/shop/{number}") for number in range(15))
    assert "in namespace shop" in why(facts(spent=others))
    far = tuple(spent(60, target=f"Deployment/x/{number}", namespace=f"x{number}") for number in range(30))
    assert "in all" in why(facts(spent=far))


def test_lesson_loops_what_did_not_help_backs_off_and_ends_with_a_person() -> None:
    """kubernaut 214, 616, 1090, 1091: it succeeded and did not help."""
    once = (spent(500, outcome="ineffective"),)
    twice = (*once, spent(7200, outcome="ineffective"))
    assert verdict(facts(spent=once)) is Verdict.LATER
    assert verdict(facts(spent=once, now=NOW + timedelta(seconds=101))) is Verdict.ALLOW
    assert verdict(facts(spent=twice, now=NOW + timedelta(seconds=101))) is Verdict.REFUSE
    assert "a person has to look" in why(facts(spent=twice))
    assert verdict(facts(spent=twice, playbook="rollback")) is Verdict.ALLOW
    assert verdict(facts(spent=(spent(500, outcome="held"),))) is Verdict.ALLOW


def trip(minutes_left: float) -> Trip:
    until = NOW + timedelta(minutes=minutes_left)
    return Trip(at=until - timedelta(minutes=30), until=until, why="three failed")


class TestBreaker:
    def test_failures_in_a_row_leave_kt_to_propose(self) -> None:
        bad = tuple(spent(600 - number, outcome=outcome, target=f"Deployment/shop/{number}")
                    for number, outcome in enumerate(("held", "failed", "ineffective", "failed")))  # fmt: skip
        assert verdict(facts(spent=bad)) is Verdict.PROPOSE
        assert "3 of KT's actions failed or did not help in a row" in why(facts(spent=bad))
        good = (*bad, spent(10, outcome="held", target="Deployment/shop/9"))
        assert verdict(facts(spent=good)) is Verdict.ALLOW, "the row is broken"

    def test_a_falling_success_rate_does_too(self) -> None:
        outcomes = ("failed", "held", "failed", "failed", "held", "failed")
        mixed = tuple(spent(900 - number, outcome=outcome, target=f"Deployment/shop/{number}")
                      for number, outcome in enumerate(outcomes))  # fmt: skip
        assert "only 2 of the last 6 actions helped; 50% should" in why(facts(spent=mixed))
        assert verdict(facts(spent=mixed[:5])) is Verdict.ALLOW, "too few to tell"

    def test_a_slow_api_server_does_too(self) -> None:
        assert verdict(facts(api_s=3.1)) is Verdict.PROPOSE
        assert "the API server takes 3.1 s to answer" in why(facts(api_s=3.1))
        assert verdict(facts(api_s=2.9)) is Verdict.ALLOW

    def test_it_stays_open_for_a_time_and_then_one_failure_opens_it_again(self) -> None:
        assert "open until 12:40 UTC: three failed" in why(facts(trip=trip(10)))
        before, after = spent(1200, outcome="failed"), spent(60, outcome="failed", target="Deployment/shop/x")
        assert verdict(facts(trip=trip(-10), spent=(before,))) is Verdict.ALLOW, "what opened it counts no more"
        assert "the first since it was open before" in why(facts(trip=trip(-10), spent=(before, after)))
        good = spent(90, outcome="held", target="Deployment/shop/y")
        assert verdict(facts(trip=trip(-10), spent=(before, good, after))) is Verdict.ALLOW


@pytest.mark.parametrize(
    ("tier", "expected"), [({}, Verdict.ALLOW), ({CART: 1}, Verdict.ALLOW), ({CART: 0}, Verdict.ASK)]
)
def test_the_most_important_tier_is_never_touched_without_approval(tier: dict[str, int], expected: Verdict) -> None:
    assert verdict(facts(tiers=tier)) is expected


def test_a_tier_that_cannot_be_read_counts_as_the_most_important() -> None:
    assert [tier_of(labels, "t") for labels in ({}, {"t": "2"}, {"t": "0"}, {"t": "gold"}, {"t": ""})] == [
        None, 2, 0, 0, 0,
    ]  # fmt: skip


def test_too_many_actions_in_a_minute_wait() -> None:
    six = tuple(spent(number, target=f"Deployment/x/{number}", namespace="x") for number in range(6))
    assert verdict(facts(spent=six)) is Verdict.LATER
    assert verdict(facts(spent=six), Limits(max_actions_per_minute=7)) is Verdict.ALLOW
    assert verdict(facts(spent=six, now=NOW + timedelta(seconds=57))) is Verdict.ALLOW


def test_what_a_person_took_back_is_only_proposed_for_a_day() -> None:
    back = (spent(7200, outcome="taken back"),)
    assert verdict(facts(spent=back)) is Verdict.PROPOSE
    assert verdict(facts(spent=back, playbook="rollback")) is Verdict.ALLOW
    assert verdict(facts(spent=back, targets=("Deployment/shop/front",))) is Verdict.ALLOW


NAMES = ("shop", "mail")
SOME_SPENT = st.builds(
    spent,
    ago_s=st.integers(0, 90_000),
    target=st.sampled_from((CART, "Deployment/mail/web")),
    namespace=st.sampled_from(NAMES),
    outcome=st.sampled_from(("", "held", "ineffective", "failed", "taken back")),
    number=st.integers(0, 50),
)
SOME_FACTS = st.builds(
    facts,
    namespaces=st.sets(st.sampled_from(NAMES)).map(lambda names: tuple(sorted(names))),
    opted_in=st.frozensets(st.sampled_from(NAMES)),
    targets=st.sets(st.sampled_from((CART, "Deployment/mail/web", "Node/n0"))).map(lambda each: tuple(sorted(each))),
    node_targets=st.sampled_from(((), ("n0",), ("n1",))),
    nodes=st.lists(st.booleans(), max_size=8).map(
        lambda states: tuple(
            NodeFact(name=f"n{number}", ready=ready, groups=(f"zone {number % 2}",))
            for number, ready in enumerate(states)
        )
    ),
    acted_at=st.dictionaries(st.just(CART), st.integers(0, 900).map(lambda ago: NOW - timedelta(seconds=ago))),
    disturbed=st.lists(
        st.builds(Disturbance, workload=st.just(CART), pods=st.integers(1, 12), missing=st.integers(0, 4),
                  taken=st.integers(0, 4)),
        max_size=2,
    ).map(tuple),
    owned=st.dictionaries(st.just(CART), st.just("Flux (shop)")),
    spent=st.lists(SOME_SPENT, max_size=12).map(tuple),
    stop=st.none() | st.just(Stop(at=NOW, by="ada")),
    trip=st.none() | st.integers(-90, 90).map(lambda left: trip(left)),
    api_s=st.none() | st.floats(0, 9),
    tiers=st.dictionaries(st.just(CART), st.integers(0, 3)),
)  # fmt: skip
FREEZE = Window(start=NOW - timedelta(hours=1), end=NOW + timedelta(hours=1))
WINDOW = Window(cron="0 12 * * *", duration_s=3600)
SOME_LIMITS = st.builds(
    Limits,
    cooldown_s=st.integers(0, 600).map(float),
    max_share_of_nodes=st.floats(0, 1),
    max_share_of_node_group=st.floats(0, 1),
    storm_nodes=st.integers(1, 9),
    max_share_of_workload=st.floats(0, 1),
    max_actions_per_hour=st.integers(0, 40),
    max_actions_per_hour_per_namespace=st.integers(0, 20),
    max_actions_per_hour_per_target=st.integers(0, 5),
    max_ineffective=st.integers(1, 4),
    max_actions_per_minute=st.integers(1, 8),
    breaker_failures=st.integers(1, 5),
    breaker_share=st.floats(0, 1),
    breaker_sample=st.integers(2, 8),
    max_api_latency_s=st.floats(0.1, 9),
    freezes=st.sampled_from(((), (FREEZE,))),
    maintenance=st.sampled_from(((), (WINDOW,))),
)


def stricter(one: Limits, other: Limits) -> Limits:
    """The tighter of two limits, each by each."""
    fewer = ("max_share_of_nodes", "storm_nodes", "max_share_of_workload", "max_actions_per_hour",
             "max_actions_per_hour_per_namespace", "max_actions_per_hour_per_target", "max_ineffective",
             "max_share_of_node_group", "max_actions_per_minute",
             "breaker_failures", "breaker_sample", "max_api_latency_s")  # fmt: skip
    tight: dict[str, Any] = {field: min(getattr(one, field), getattr(other, field)) for field in fewer}
    return Limits(
        breaker_share=max(one.breaker_share, other.breaker_share),
        cooldown_s=max(one.cooldown_s, other.cooldown_s),
        freezes=(*one.freezes, *other.freezes),
        maintenance=(*one.maintenance, *other.maintenance),
        **tight,
    )


@given(SOME_FACTS, SOME_LIMITS, SOME_LIMITS)
def test_tighter_limits_never_allow_more(given: Facts, one: Limits, other: Limits) -> None:
    loose, tight = review(given, one), review(given, stricter(one, other))
    for before, after in zip(loose, tight, strict=True):
        assert after.verdict >= before.verdict, (before, after)


@given(SOME_FACTS, SOME_LIMITS, st.lists(SOME_SPENT.filter(lambda each: each.outcome != "held"), max_size=5))
def test_more_that_speaks_against_a_plan_never_allows_more(given: Facts, limits: Limits, more: list[Spent]) -> None:
    """One more action in the account that did not help, a stop, an owner, a namespace less: never a softer verdict."""
    given = msgspec.structs.replace(given, spent=tuple(sorted(given.spent, key=lambda each: each.at)))
    before = verdict(given, limits)
    ordered = tuple(sorted((*given.spent, *more), key=lambda each: each.at))
    harder: list[dict[str, Any]] = [
        {"spent": ordered},
        {"stop": Stop(at=NOW, by="ada")},
        {"owned": {CART: "Flux (shop)"}},
        {"trip": trip(10)},
        {"api_s": 10.0},
        {"tiers": {CART: 0}},
        {"opted_in": frozenset(list(given.opted_in)[1:])},
        {"nodes": tuple(NodeFact(name=each.name, ready=False, groups=each.groups) for each in given.nodes)},
    ]
    for change in harder:
        assert verdict(msgspec.structs.replace(given, **change), limits) >= before, change


@given(SOME_FACTS, SOME_LIMITS)
def test_the_verdict_of_a_plan_is_its_hardest_finding(given: Facts, limits: Limits) -> None:
    findings = review(given, limits)
    assert verdict_of(findings) == max(each.verdict for each in findings)
    assert all(bool(each.why) == (each.verdict is not Verdict.ALLOW) for each in findings)
