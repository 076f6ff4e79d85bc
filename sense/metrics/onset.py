"""When an incident began, as its metrics tell it.

An alert comes after the onset: its rule holds for a while before it fires, and its metric is collected only now and
then. So the alert's start is the latest time that can be meant, and the series that alerted say where before it they
split best (two-sample statistic at every place, as in CUSUM tests). Without an alert all series are asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from sense.metrics.change import ENOUGH_QUIET, ROUNDING, TAIL, TAIL_UNITS
from sense.metrics.changes import Prepared, Span, by_role, called, prepare
from sense.metrics.rules import Meaning, MetricRules, Role
from sense.metrics.series import Floats, Series, Table, at_times

LOOKBACK_S = 600.0
"""An alert is at most this late."""
MOST_PLACES = 2000
MOST = 30.0
"""Beyond this many standard errors one series says no more."""
FEWEST = 4
RECOVERED = 0.1
"""A series has recovered that has no more than this share of its rise left, …"""
FEWEST_RECOVERED = 3
"""… for so many samples in a row."""
FEWEST_AFTER = 2
"""One last sample may be an outlier; it is no onset yet."""
CLEAR = 2.0
"""A series speaks for an onset from this many standard errors on."""
MOST_ONSETS = 8
DISTINCT = 50
"""Places nearer than this part of the whole are one place: a peak has a slope on both sides."""
BALANCED: dict[str, Sequence[Role]] = {
    "latency": ("waiting",),
    "errors": ("failed", "succeeded", "failures"),
    "unavailable": ("failed", "succeeded", "failures"),
}


class Onset(msgspec.Struct, frozen=True, kw_only=True):
    """When it began, and from when on what came before belongs to it; both in seconds since 1970."""

    at: float
    since: float = -np.inf
    """What was measured earlier belongs to trouble that had ended: neither a symptom nor a normal level."""


def before_alert(table: Table, alerted: Iterable[tuple[str, str]], at: float, rules: MetricRules) -> Onset:
    """The likeliest onset up to LOOKBACK_S before `at`, by the series of the alerted (entity, symptom)."""
    told = sorted(set(alerted))
    # What the balance of calls rests on says it best; a rule may as well watch something else, such as a queue.
    for series in (_of_balance, _of_symptom):
        votes: dict[float, float] = {}
        since = -np.inf
        for entity, symptom in told:
            for judged, calls in series(table.get(entity, {}), symptom, rules):
                recovered, places = _splits(judged, calls, at)
                most = max(places.values(), default=0.0)
                if most > 0:
                    since = max(since, recovered)
                    for place, clearness in places.items():
                        votes[place] = votes.get(place, 0.0) + clearness / most
        if votes:
            return Onset(at=max(votes, key=lambda place: (votes[place], place)), since=since)
    return Onset(at=at)


Judged = tuple[Prepared, Prepared | None]
"""What is worse when it rises, and the calls that it counts for, if they are known."""


def _of_balance(metrics: Mapping[str, Series], symptom: str, rules: MetricRules) -> Iterator[Judged]:
    if symptom in BALANCED:
        roles = by_role(metrics, rules)
        yield from (called(role, roles, {}) for role in [each for each in BALANCED[symptom] if each in roles][:1])


def _of_symptom(metrics: Mapping[str, Series], symptom: str, rules: MetricRules) -> Iterator[Judged]:
    for name, now in sorted(metrics.items()):
        meaning = rules.meaning(name)
        if meaning is not None and meaning.symptom == symptom and meaning.worse != "either":
            known = prepare(meaning, now, None)
            falls = meaning.worse == "down"
            yield (Prepared(Series(known.now.times, -known.now.values), None) if falls else known), None


def _splits(judged: Prepared, calls: Prepared | None, at: float) -> tuple[float, dict[float, float]]:
    """When the series last recovered before the alert (-inf: it did not), and how well it splits at each place between
    two samples in reach that come after that; the alert's time is the last place."""
    times = judged.now.times if calls is None else calls.now.times
    span = Span(onset=at)
    inside = (times >= at - span.before_s) & (times < at + span.after_s)
    times = times[inside]
    values = at_times(times, judged.now)
    weights = np.ones(len(times)) if calls is None else calls.now.values[inside].clip(min=0.0)
    weights = np.where(np.isnan(values), 0.0, weights)
    values = np.nan_to_num(values)
    first, recovered = 0, -np.inf
    while True:
        places = _places(times[first:], values[first:], weights[first:], at)
        again = _recovery(times, values, weights, first, places, at)
        if again is None:
            return recovered, {place: clearness for place, (clearness, *_) in places.items()}
        first, recovered = again, float(times[again])


Places = dict[float, tuple[float, int, float, float]]
"""Place → (how well it splits, index of the sample after it, mean before, mean after)."""


def _places(times: Floats, values: Floats, weights: Floats, at: float) -> Places:
    found: Places = {}
    for split in range(1, len(times)):
        place = min(at, float(times[split - 1] + times[split]) / 2)
        if not at - LOOKBACK_S <= place:
            continue
        if times[split - 1] >= at:
            break
        before, after = float(weights[:split].sum()), float(weights[split:].sum())
        if before <= 0 or after <= 0:
            continue
        low = float((values * weights)[:split].sum()) / before
        high = float((values * weights)[split:].sum()) / after
        found[place] = (high - low) * (before * after / (before + after)) ** 0.5, split, low, high
    return found


def _recovery(times: Floats, values: Floats, weights: Floats, first: int, places: Places, at: float) -> int | None:
    """Where the last stretch of samples begins in which the series, once risen, was as good as before, ahead of the
    alert; None when there is none. `first`: where the samples of `places` begin."""
    if not places:
        return None
    _, split, low, high = max(places.values())
    if high <= low:
        return None
    good = (values <= low + RECOVERED * (high - low)) & (weights > 0) & (times < at)
    length, found = 0, None
    for index in range(first + split, len(times)):
        length = length + 1 if good[index] else 0
        if length >= FEWEST_RECOVERED:
            found = index - length + 1
    return found


def in_metrics(table: Table, quiet: Table, rules: MetricRules, span: Span) -> list[float]:
    """Places where many series change at once for the worse, the likeliest first; `span` gives the lengths."""
    grid = _grid(table)
    total = np.zeros(len(grid))
    for entity, metrics in table.items():
        for metric, now in metrics.items():
            meaning = rules.meaning(metric)
            if meaning is None or meaning.symptom == "unknown":
                continue
            known = prepare(meaning, now, quiet.get(entity, {}).get(metric))
            if len(known.now.times) < FEWEST:
                continue
            errors = _moved(known, meaning, span)
            peak = float(errors.max())
            if peak <= CLEAR:
                continue
            # However clear a series is, it is one voice; where it is clearest it speaks loudest.
            weight = float(np.log1p(min(peak, MOST) - CLEAR))
            # Each place of the grid stands for the next sample of the series.
            where = np.searchsorted(known.now.times, grid)
            inside = where < len(known.now.times)
            total[inside] += weight * (errors[where[inside]] / peak) ** 2
    apart = len(grid) // DISTINCT
    chosen: list[int] = []
    for place in np.argsort(-total, kind="stable").tolist():
        if total[place] > 0 and all(abs(place - other) > apart for other in chosen):
            chosen.append(place)
        if len(chosen) == MOST_ONSETS:
            break
    return [float(grid[place]) for place in chosen]


def _grid(table: Table) -> Floats:
    """The times at which anything was measured, thinned out evenly where they are many."""
    found = [now.times for metrics in table.values() for now in metrics.values()]
    grid = np.unique(np.concatenate(found)) if found else np.zeros(0)
    return grid[:: max(1, -(-len(grid) // MOST_PLACES))]


def _moved(known: Prepared, meaning: Meaning, span: Span) -> Floats:
    """For each sample: how many standard errors worse the mean is from there on than before."""
    times, values = known.now.times, known.now.values
    sums = np.concatenate(([0.0], np.cumsum(values)))
    here = np.arange(len(times))
    first, last = np.searchsorted(times, times - span.before_s), np.searchsorted(times, times + span.after_s)
    before, after = here - first, last - here
    risen = (sums[last] - sums[here]) / after - (sums[here] - sums[first]) / np.maximum(before, 1)
    risen = {"up": risen, "down": -risen, "either": np.abs(risen)}[meaning.worse]
    level = float(np.median(np.abs(values)))
    noise = max(
        _noise(values),
        _noise(known.quiet.values) if known.quiet is not None else 0.0,
        meaning.floor * (1.0 if meaning.unit == "share" else level),
        ROUNDING * float(np.abs(values).max()),
    )
    if noise == 0:
        return np.zeros(len(times))
    errors = risen / (noise * (1 / np.maximum(before, 1) + 1 / after) ** 0.5)
    return np.where((before > 0) & (after >= FEWEST_AFTER), errors, 0.0).clip(min=0.0)


def _noise(values: Floats) -> float:
    """Standard deviation of the noise by the steps between neighbours, which a change of level leaves alone."""
    if len(values) < FEWEST:
        return 0.0
    steps = np.abs(np.diff(values)) / 2**0.5
    middle = 1.4826 * float(np.median(steps))
    return max(middle, float(np.quantile(steps, TAIL)) / TAIL_UNITS) if len(steps) >= ENOUGH_QUIET else middle
