"""The sequential test keeps the error rates that it states, is not moved by what peers feel too, and stops early."""

from __future__ import annotations

import itertools
import random
from datetime import timedelta
from typing import Any

import pytest
from chaoslib.exceptions import ActivityFailed
from hypothesis import given
from hypothesis import strategies as st

from twin.server import Twin
from verify import probes
from verify.sequential import Sequential, against_peers, baseline, scaled, smallest_relapse

DELTA, TRIALS = 3.0, 400


def noise(rng: random.Random, memory: float) -> itertools.accumulate[float]:
    """An AR(1) process of variance 1."""
    fresh = (rng.gauss(0, (1 - memory**2) ** 0.5) for _ in itertools.count())
    return itertools.accumulate(fresh, lambda before, news: memory * before + news, initial=rng.gauss(0, 1))


def answers(memory: float, shift: float, delta: float = DELTA) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for seed in range(TRIALS):
        series = noise(random.Random(seed), memory)
        before = list(itertools.islice(series, 200))
        test = Sequential(baseline("plain", before), delta, least=5, most=300)
        answer = None
        while answer is None:
            answer = test.take(next(series) + shift)
        found.append((answer, test.samples))
    return found


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
def test_wrong_answers_are_as_rare_as_stated(memory: float) -> None:
    fine, back = answers(memory, 0.0), answers(memory, DELTA)
    # 1 % each; with 400 trials 10 wrong ones or more have a probability below 1 %.
    assert [answer for answer, _ in fine].count("worse") < 10
    assert [answer for answer, _ in back].count("as before") < 10


def test_the_clearer_it_is_the_sooner_it_is_told() -> None:
    def median(delta: float) -> int:
        return sorted(samples for _, samples in answers(0.5, delta, delta))[TRIALS // 2]

    assert median(1.0) > median(2.0) > median(4.0)


def test_what_peers_feel_too_is_no_relapse() -> None:
    rng, wave = random.Random(1), noise(random.Random(2), 0.9)
    shared = [next(wave) for _ in range(400)]
    ours = [0.1 * 1.2**each * rng.lognormvariate(0, 0.05) for each in shared]
    peer = [0.3 * 1.2**each * rng.lognormvariate(0, 0.05) for each in shared]
    both = [against_peers("seconds", one, [other]) for one, other in zip(ours, peer, strict=True)]
    test = Sequential(baseline("seconds", both[:200]), smallest_relapse("seconds", 0.1, 0.5), least=5, most=100)
    # Everything takes four times as long, for all of them.
    later = (against_peers("seconds", one * 4, [other * 4]) for one, other in zip(ours[200:], peer[200:], strict=True))
    assert next(answer for answer in map(test.take, later) if answer) == "as before"


def test_no_few_spoiled_samples_decide_and_a_late_relapse_is_still_seen() -> None:
    rng = random.Random(3)
    base = baseline("plain", [rng.gauss(0, 1) for _ in range(100)])
    spoiled = Sequential(base, DELTA, least=5, most=100)
    assert [spoiled.take(1e9) for _ in range(5)] == [None] * 5
    late = Sequential(base, DELTA, least=50, most=200)
    assert not any(late.take(rng.gauss(0, 1)) for _ in range(49))
    assert next(answer for answer in (late.take(rng.gauss(2 * DELTA, 1)) for _ in range(100)) if answer) == "worse"


def test_a_short_or_sluggish_time_before_is_not_enough() -> None:
    assert not baseline("plain", []).enough
    assert not baseline("plain", [1.0, 2.0]).enough
    assert not baseline("plain", [float(at) for at in range(100)]).enough
    rng = random.Random(4)
    assert baseline("plain", [rng.gauss(0, 1) for _ in range(30)]).enough
    # One that never moved is believed to a point.
    assert baseline("ratio", [0.0] * 30).variance > 0


@given(st.floats(0, 1), st.floats(0, 1))
def test_scales_keep_the_order(one: float, other: float) -> None:
    for kind in ("ratio", "seconds", "plain"):
        assert (scaled(kind, one) <= scaled(kind, other)) or one >= other


@pytest.mark.parametrize(
    "bad", [{"least": 0, "most": 1}, {"least": 2, "most": 1}, {"least": 1, "most": 1, "alpha": 0.0}]
)
def test_a_test_that_cannot_be_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must hold"):
        Sequential(baseline("plain", [0.0, 1.0, 0.0]), 1.0, **bad)  # type: ignore[arg-type]


def test_the_probe_compares_a_service_of_the_twin_with_its_time_before() -> None:
    twin = Twin(seed=1, speed=20.0).start()
    try:
        until = (twin.now() - timedelta(seconds=1)).isoformat()
        cart, peer = 'kt:error_ratio{service="cart"}', 'kt:error_ratio{service="store"}'
        about: dict[str, Any] = {"prometheus_url": twin.prometheus_url, "query": cart, "peers": [peer], "until": until}
        pace: dict[str, Any] = {"before_s": 40.0, "every_s": 0.1, "at_least_s": 0.5, "at_most_s": 20.0}
        fine = probes.as_before(**about, **pace)
        assert fine["met"], fine
        twin.inject("bad-rollout")
        with twin.cluster.lock:
            for _ in range(60):
                twin.cluster.step()
        worse = probes.as_before(**about, **pace)
        assert (worse["met"], worse["why"][:5]) == (False, "worse"), worse
        with pytest.raises(ActivityFailed, match="too few"):
            probes.as_before(**{**about, "query": "kt:nothing"}, **pace)
    finally:
        twin.stop()
