"""The circuit breaker: when KT's own actions fail, do not help, or the API server is slow, KT only proposes. Pure.

Closed, it counts what became of the actions of the last while. Open, it stays so for a time. Then one bad outcome
opens it again, until the first good one: the half-open state of the pattern (Nygard, Release It!).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from remediate.brakes import Spent, Trip
from remediate.limits import Limits

BAD = ("failed", "ineffective")
CONCLUDED = ("held", *BAD)


def reason_to_open(
    spent: Sequence[Spent], trip: Trip | None, api_s: float | None, now: datetime, limits: Limits
) -> str:
    """Why KT should only propose from now on; empty when it may go on.

    `spent`: oldest first. `trip`: the last time that it opened; `api_s`: how slow the API server is, in seconds."""
    if api_s is not None and api_s > limits.max_api_latency_s:
        return f"the API server takes {api_s:.1f} s to answer; the limit is {limits.max_api_latency_s:g} s"
    since = now - timedelta(seconds=limits.breaker_window_s)
    half_open = trip is not None and trip.until > since
    if trip is not None:
        since = max(since, trip.until if trip.until <= now else trip.at)
    outcomes = [each.outcome for each in spent if each.at >= since and each.outcome in CONCLUDED]
    good = outcomes.count("held")
    bad_in_a_row = next((count for count, each in enumerate(reversed(outcomes)) if each == "held"), len(outcomes))
    enough = 1 if half_open and not good else limits.breaker_failures
    if bad_in_a_row >= enough:
        again = ", the first since it was open before" if enough < limits.breaker_failures else " in a row"
        return f"{bad_in_a_row} of KT's actions failed or did not help{again}; the limit is {limits.breaker_failures}"
    if len(outcomes) >= limits.breaker_sample and good < limits.breaker_share * len(outcomes):
        return f"only {good} of the last {len(outcomes)} actions helped; {limits.breaker_share:.0%} should"
    return ""
