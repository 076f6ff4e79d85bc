"""How slow the API server is: told by many answers, or by a few that took most of the time."""

from __future__ import annotations

import pytest

from remediate.latency import Latency


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([0.1] * 7, None), ([0.1] * 8, 0.1), ([0.1] * 9 + [5.0] * 3, 5.0), ([9.0] * 2, None), ([9.0] * 3, 9.0),
        ([5.0] * 3, None), ([], None),
    ],
)  # fmt: skip
def test_it_is_told_when_there_is_enough_to_tell(answers: list[float], told: float | None) -> None:
    latency = Latency(lambda: 100.0)
    for seconds in answers:
        latency.took(seconds)
    assert latency.p90_s == told


def test_what_is_over_does_not_count() -> None:
    now = [0.0]
    latency = Latency(lambda: now[0])
    for _ in range(9):
        latency.took(9.0)
    now[0] = 61.0
    assert latency.p90_s is None
