"""A probe that compares a service with itself before the fault, and with unaffected peers, by a sequential test."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Any

from verify.actions.changing import failed
from verify.prometheus import PrometheusUnavailable, between, instant
from verify.sequential import Kind, Sequential, against_peers, baseline, smallest_relapse

__all__ = ["as_before"]


def as_before(
    prometheus_url: str,
    query: str,
    until: str,
    peers: list[str] | None = None,
    kind: Kind = "ratio",
    worse_by: float = 0.05,
    before_s: float = 300.0,
    every_s: float = 1.0,
    at_least_s: float = 10.0,
    at_most_s: float = 120.0,
    alpha: float = 0.01,
    beta: float = 0.01,
) -> dict[str, Any]:
    """Whether a series is as in the `before_s` before `until` (ISO 8601): `{"met", "why", "seconds", "samples"}`.

    `peers`: queries of series that the fault did not touch. `kind`: ratio (0..1), seconds, or plain. `worse_by`: the
    smallest relapse that counts, added to a ratio or a plain value, a share of seconds (0.5: half as long again).
    `alpha`: how often it may call a relapse what is none, `beta`: how often it may miss one. Fails, so that the verdict
    is inconclusive, when the time before tells too little, or when `at_most_s` are over and it is still undecided.
    """
    end = datetime.fromisoformat(until).timestamp()
    before = _before(prometheus_url, query, peers or [], kind, end - before_s, end, every_s)
    base = baseline(kind, [both for _, both in before])
    if not base.enough:
        raise failed(
            f"the {before_s:.0f} s before {until} are worth {base.worth:.0f} independent samples of {query}: too few"
        )
    level = sum(value for value, _ in before) / len(before)
    least, most = max(1, round(at_least_s / every_s)), max(1, round(at_most_s / every_s))
    delta = smallest_relapse(kind, level, worse_by)
    if delta <= 0:
        raise failed(f"{query} was at {level:.3g} before: there is no room to be worse by {worse_by:g}")
    test = Sequential(base, delta, alpha=alpha, beta=beta, least=min(least, most), most=most)
    begun = time.monotonic()
    values: list[float] = []
    for number in range(2 * most):
        time.sleep(max(0.0, begun + number * every_s - time.monotonic()))
        now = _now(prometheus_url, query, peers or [], kind)
        if now is None:
            continue
        values.append(now[0])
        answer = test.take(now[1])
        if answer in ("as before", "worse"):
            seconds = round(time.monotonic() - begun, 1)
            mean = sum(values) / len(values)
            why = f"{answer}: {mean:.3g} against {level:.3g} before, after {test.samples} samples ({alpha:.0%} error)"
            return {"met": answer == "as before", "why": why, "seconds": seconds, "samples": test.samples}
        if answer == "undecided":
            break
    raise failed(f"undecided after {test.samples} samples whether {query} is as before")


def _before(
    url: str, query: str, peers: list[str], kind: Kind, start: float, end: float, step: float
) -> list[tuple[float, float]]:
    """(value, transformed difference to the peers) at each step at which all were measured."""
    try:
        ours = _by_time(between(url, query, start, end, step))
        others = [_by_time(between(url, peer, start, end, step)) for peer in peers]
    except PrometheusUnavailable as error:
        raise failed(str(error)) from error
    found = []
    for at, value in sorted(ours.items()):
        beside = [each[at] for each in others if at in each]
        if len(beside) == len(others):
            found.append((value, against_peers(kind, value, beside)))
    return found


def _by_time(series: list[tuple[dict[str, str], list[tuple[float, float]]]]) -> dict[float, float]:
    """Of several series the mean at each time."""
    found: dict[float, list[float]] = {}
    for _, samples in series:
        for at, value in samples:
            if not math.isnan(value):
                found.setdefault(at, []).append(value)
    return {at: sum(values) / len(values) for at, values in found.items()}


def _now(url: str, query: str, peers: list[str], kind: Kind) -> tuple[float, float] | None:
    """The same now; None when not all of it is measured at this moment."""
    means = []
    for each in (query, *peers):
        try:
            values = [value for _, value in instant(url, each) if not math.isnan(value)]
        except PrometheusUnavailable:
            return None
        if not values:
            return None
        means.append(sum(values) / len(values))
    return means[0], against_peers(kind, means[0], means[1:])
