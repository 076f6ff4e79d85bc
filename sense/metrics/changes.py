"""From series and an onset to signals and burdens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise

import msgspec
import numpy as np

from graph_schema.model import Burden, Signal
from sense.files import moment
from sense.metrics.change import Judged, Stretch, judge, stretch
from sense.metrics.rules import Meaning, MetricRules, Role
from sense.metrics.series import Floats, Series, Table, at_times, rate

PERCENT_FROM = 1.5
"""A share above this is meant in percent."""
BREAK = 10.0
"""Two samples further apart than this many usual steps do not belong to one stretch of quiet time."""
GUESSED = 0.3
"""Factor on the strength of a change when the metric's name tells no symptom."""
SILENT = 0.9
"""How surely an entity is in trouble whose series broke off: what watches it may be at fault instead."""
GONE_STEPS = 2.5
"""A series whose last sample is older than this many usual steps has ended."""
FAR = 0.5
"""A change into the direction that is not worse counts from this share of the level before on."""
FEWEST_BEFORE = 3
"""Samples before the onset without which a series cannot break off."""
FEW_FAILURES = 0.002
"""Smallest change of a share of failed calls that counts."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to an incident: its first minutes before the onset and what is looked at after it, in seconds."""

    onset: float
    before_s: float = 1800.0
    after_s: float = 1800.0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one entity changed for the worse at `at` (seconds since 1970)."""

    entity: str
    metric: str
    symptom: str
    at: float
    before: float
    after: float
    strength: float


class Prepared(msgspec.Struct, frozen=True):
    """A series in the unit in which it is judged: counters as rates, shares between 0 and 1."""

    now: Series
    quiet: Series | None


def prepare(meaning: Meaning, now: Series, quiet: Series | None) -> Prepared:
    if meaning.counter:
        now, quiet = rate(now), rate(quiet) if quiet is not None else None
    if meaning.unit == "share":
        most = max(float(np.abs(each.values).max(initial=0.0)) for each in (now, quiet) if each is not None)
        if most > PERCENT_FROM:
            now = Series(now.times, now.values / 100)
            quiet = Series(quiet.times, quiet.values / 100) if quiet is not None else None
    return Prepared(now, quiet)


def changes(table: Table, quiet: Table, span: Span, rules: MetricRules) -> Iterator[Change]:
    """Every series that got worse, however weakly, by entity and metric."""
    for entity, metrics in table.items():
        for metric, now in metrics.items():
            meaning = rules.meaning(metric)
            if meaning is None:
                continue
            known = prepare(meaning, now, quiet.get(entity, {}).get(metric))
            ways = [(meaning.symptom, meaning.worse, meaning.floor)]
            if meaning.otherwise:
                ways.append((meaning.otherwise, "up" if meaning.worse == "down" else "down", FAR))
            for symptom, worse, floor in ways:
                judged, at = _judged(known, None, span, worse, floor, share=meaning.unit == "share")
                strength = judged.strength * _short(judged.after, meaning.full)
                if strength > 0:
                    yield Change(
                        entity=entity, metric=metric, symptom=symptom, at=at, before=judged.before,
                        after=judged.after, strength=strength,
                    )  # fmt: skip


def _short(level: float, full: float) -> float:
    """How short a capacity is at this level: wholly from `full` on, not at all below half of it."""
    return min(1.0, max(0.0, 2 * level / full - 1)) if full else 1.0


def signals(found: Iterator[Change], least: float, source: str = "metric") -> list[Signal]:
    """The surest change for each entity and symptom, where it is at least this sure."""
    best: dict[tuple[str, str], Change] = {}
    for change in found:
        key = (change.entity, change.symptom)
        if change.strength >= least and (key not in best or change.strength > best[key].strength):
            best[key] = change
    return [_signal(change, source) for _, change in sorted(best.items())]


def _signal(change: Change, source: str) -> Signal:
    text = "\x00".join((source, change.entity, change.symptom))
    return Signal(
        fingerprint=f"{source}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}",
        entity=change.entity,
        symptom=change.symptom,
        name=change.metric,
        starts_at=moment(change.at),
        annotations={"summary": f"{change.metric} went from {change.before:.4g} to {change.after:.4g}"},
        confidence=round(change.strength * (GUESSED if change.symptom == "unknown" else 1.0), 6),
        source=source,
    )


def burdens(table: Table, quiet: Table, span: Span, rules: MetricRules) -> Iterator[Burden]:
    """What each entity with mean times or failures of calls carries more than before; see `Burden`."""
    last = max(
        (each.times[-1] for metrics in table.values() for each in metrics.values() if len(each.times)), default=0.0
    )
    end = min(last, span.onset + span.after_s)
    for entity, metrics in table.items():
        roles = by_role(metrics, rules)
        answered = _answered(roles["requests"][2], span, end) if "requests" in roles else Answered()
        if "waiting" in roles:
            yield _burden(entity, "waiting", roles, quiet.get(entity, {}), span)
        failing: Role | None = next((each for each in ("failed", "succeeded", "failures") if each in roles), None)
        known = Burden(entity=entity, symptom="errors", amount=0.0, strength=SILENT, before=None, after=None)
        if failing and not answered.silent:
            known = _burden(entity, failing, roles, quiet.get(entity, {}), span)
        if failing or answered.silent:
            yield msgspec.structs.replace(
                known, calls_before=answered.before, calls_after=answered.after, silent=answered.silent,
                step_s=answered.step_s,
            )  # fmt: skip


class Answered(msgspec.Struct, frozen=True):
    """Calls in a usual sample before the onset and at the end of what was seen; whether nothing was seen at the end;
    seconds between samples."""

    before: float = 0.0
    after: float = 0.0
    silent: bool = False
    step_s: float = 0.0


def _answered(calls: Series, span: Span, end: float) -> Answered:
    before = calls.between(span.onset - span.before_s, span.onset)
    if len(before.times) < FEWEST_BEFORE:
        return Answered()
    step = float(np.median(np.diff(before.times)))
    # The second half: what is counted over the last minute falls only after the onset. A missing sample is none.
    half = (span.onset + end) / 2
    values = calls.between(half, end + step).values
    after = float(values.sum()) / max(1.0, round((end - half) / step) + 1)
    silent = bool(calls.times[-1] < end - GONE_STEPS * step)
    return Answered(float(np.mean(before.values)), 0.0 if silent else after, silent, step)


Roles = dict[Role, tuple[str, Meaning, Series]]


def by_role(metrics: Mapping[str, Series], rules: MetricRules) -> Roles:
    """The first metric by name for each part of the balance."""
    found: Roles = {}
    for metric in sorted(metrics):
        meaning = rules.meaning(metric)
        if meaning is not None and meaning.role is not None and len(metrics[metric].times):
            found.setdefault(meaning.role, (metric, meaning, metrics[metric]))
    return found


def called(role: Role, roles: Roles, before: Mapping[str, Series]) -> tuple[Prepared, Prepared | None]:
    """(what is judged, worse when it rises; the calls that it counts for, if they are known)."""
    metric, meaning, now = roles[role]
    judged = prepare(meaning, now, before.get(metric))
    calls = None
    if "requests" in roles:
        name, its, asked = roles["requests"]
        calls = prepare(its, asked, before.get(name))
    if role == "succeeded":
        judged = Prepared(_failed(judged.now), _failed(judged.quiet) if judged.quiet is not None else None)
    elif role == "failures" and calls is not None:
        # A series of failures that is not there at a time means none of them.
        quiet = _per_call(judged.quiet, calls.quiet) if judged.quiet is not None and calls.quiet is not None else None
        judged = Prepared(_per_call(judged.now, calls.now), quiet)
    return judged, calls


def _failed(succeeded: Series) -> Series:
    return Series(succeeded.times, 1.0 - succeeded.values)


def _per_call(failures: Series, calls: Series) -> Series:
    asked = calls.values > 0
    count = np.nan_to_num(at_times(calls.times[asked], failures))
    return Series(calls.times[asked], (count / calls.values[asked]).clip(0.0, 1.0))


def _burden(entity: str, role: Role, roles: Roles, before: Mapping[str, Series], span: Span) -> Burden:
    judged, calls = called(role, roles, before)
    waiting = role == "waiting"
    floor = roles[role][1].floor if waiting else FEW_FAILURES
    share = not waiting and (role != "failures" or calls is not None)
    found, _ = _judged(judged, calls, span, "up", floor if waiting or share else 0.0, share=share)
    return Burden(
        entity=entity,
        symptom="latency" if waiting else "errors",
        amount=found.excess,
        strength=found.strength,
        before=_told(found.before),
        after=_told(found.after),
    )


def _told(mean: float) -> float | None:
    return None if np.isnan(mean) else mean


def _judged(
    known: Prepared, calls: Prepared | None, span: Span, worse: str, floor: float, *, share: bool
) -> tuple[Judged, float]:
    """(the change, when it began)."""
    times, window = _window(known.now, calls.now if calls else None, span)
    split = int(np.searchsorted(times, span.onset))
    quiet = list(_quiet(known, calls, span))
    judged = judge(window, split, quiet, worse=worse, floor=floor, share=share)
    middle = (judged.before + judged.after) / 2
    beyond = (window.values[split:] - middle) * (judged.after - judged.before) > 0
    at = float(times[split:][beyond][0]) if beyond.any() else span.onset
    return judged, at


def _window(now: Series, calls: Series | None, span: Span) -> tuple[Floats, Stretch]:
    start, end = span.onset - span.before_s, span.onset + span.after_s
    if calls is None:
        part = now.between(start, end)
        return part.times, stretch(part.values)
    asked = calls.between(start, end)
    return asked.times, stretch(at_times(asked.times, now), asked.values)


def _quiet(known: Prepared, calls: Prepared | None, span: Span) -> Iterator[Stretch]:
    """Quiet time: what was handed in as such, and what the record holds from before the first minutes."""
    first_minutes = span.onset - span.before_s
    earlier = known.now.between(-np.inf, first_minutes)
    parts = [(earlier, calls.now.between(-np.inf, first_minutes) if calls else None)]
    if known.quiet is not None and (calls is None or calls.quiet is not None):
        parts.append((known.quiet, calls.quiet if calls else None))
    for values, asked in parts:
        times = values.times if asked is None else asked.times
        given = at_times(times, values)
        for first, last in _unbroken(times):
            yield stretch(given[first:last], None if asked is None else asked.values[first:last])


def _unbroken(times: Floats) -> Iterator[tuple[int, int]]:
    if len(times) < 2:
        return
    steps = np.diff(times)
    breaks = np.flatnonzero(steps > BREAK * float(np.median(steps))) + 1
    edges = [0, *breaks.tolist(), len(times)]
    yield from pairwise(edges)
