"""What is known of an incident, ready to be weighed: signals put together, the onset, whether the watching is blind."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cached_property

import msgspec

from graph_schema.model import Signal

BLIND = "blind"
"""The symptom of monitoring that is sick itself: it says something about the other signals, not about the world."""
WEAK_LATER_S = 120.0
"""How much later a signal of 1/e of the strength counts when the onset is looked for."""

BURST_GAP_S = 600.0
"""What begins further apart than this need not belong together."""
BEFOREHAND = 3.0
"""Factor on how probable a signal is by itself that began well before most of the others did."""
IDLE = 3.0
"""The same for alerts that whoever wrote them calls mere information."""
MOST_LEAK = 0.25
HELD = 0.5
"""Share of an alert's usual `for` by which its condition is taken to have begun before it: sites set their own."""


class Unit(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One symptom on one entity, however many signals report it: repeating it makes it no surer."""

    entity: str
    symptom: str
    confidence: float
    onset: datetime
    """When it began: the earliest start less some of the time that the alert had waited."""
    reported: datetime
    signals: tuple[Signal, ...]
    leak: float
    """How probable it is without any of the causes considered."""

    @cached_property
    def key(self) -> tuple[str, str]:
        return self.entity, self.symptom


class Seen(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    units: tuple[Unit, ...]
    onset: datetime
    blind: bool
    """Whether something says that the monitoring itself is sick."""

    @cached_property
    def showing(self) -> dict[str, dict[str, float]]:
        """Entity → symptom → how surely it shows it."""
        found: dict[str, dict[str, float]] = {}
        for unit in self.units:
            found.setdefault(unit.entity, {})[unit.symptom] = unit.confidence
        return found


def gather(signals: Iterable[Signal], now: datetime, stray: Callable[[str], float]) -> Seen:
    """Signals as units, in order of their onset. `now` is the onset when there are none.

    `stray`: symptom → how often it is seen with nothing behind it.
    """
    together: dict[tuple[str, str], dict[str, Signal]] = defaultdict(dict)
    for signal in sorted(signals, key=lambda each: (each.starts_at, each.fingerprint)):
        together[signal.entity, signal.symptom].setdefault(signal.fingerprint, signal)
    units = [
        _unit(entity, symptom, tuple(these.values()), stray(symptom)) for (entity, symptom), these in together.items()
    ]
    units.sort(key=lambda unit: (unit.onset, unit.entity, unit.symptom))
    begins = _burst(units)
    units = [_beforehand(unit) if begins is not None and unit.onset < begins else unit for unit in units]
    blind = max((unit.confidence for unit in units if unit.symptom == BLIND), default=0.0) >= 0.5
    return Seen(
        units=tuple(units),
        onset=_onset([unit for unit in units if begins is not None and unit.onset >= begins], now),
        blind=blind,
    )


def _burst(units: Sequence[Unit]) -> datetime | None:
    """When the strongest burst of signals begins, the last one of equals: what was before it was there already.

    `units` in order of onset.
    """
    best, strongest, strength = None, 0.0, 0.0
    for place, unit in enumerate(units):
        if place == 0 or (unit.onset - units[place - 1].onset).total_seconds() > BURST_GAP_S:
            begins, strength = unit.onset, 0.0
        strength += unit.confidence
        if strength >= strongest - 1e-9:
            best, strongest = begins, max(strength, strongest)
    return best


def _since(begins: datetime | None, units: Sequence[Unit]) -> list[Unit]:
    return [unit for unit in units if begins is not None and unit.onset >= begins]


def _beforehand(unit: Unit) -> Unit:
    return msgspec.structs.replace(unit, leak=min(MOST_LEAK, unit.leak * BEFOREHAND))


def _unit(entity: str, symptom: str, signals: tuple[Signal, ...], stray: float) -> Unit:
    idle = all(signal.severity.lower() in ("info", "none") for signal in signals)
    return Unit(
        leak=min(MOST_LEAK, stray * (IDLE if idle else 1.0)),
        entity=entity,
        symptom=symptom,
        confidence=max(min(max(signal.confidence, 0.0), 1.0) for signal in signals),
        onset=min(signal.starts_at - timedelta(seconds=signal.held_s * HELD) for signal in signals),
        reported=min(signal.starts_at for signal in signals),
        signals=signals,
    )


def _onset(units: Sequence[Unit], now: datetime) -> datetime:
    """The earliest beginning; a weak signal counts as if it had begun later, so that its strength matters smoothly."""
    strongest = max((unit.confidence for unit in units), default=0.0)
    if strongest <= 0:
        return now
    return min(
        unit.onset + timedelta(seconds=WEAK_LATER_S * math.log(strongest / max(unit.confidence, 1e-6)))
        for unit in units
    )
