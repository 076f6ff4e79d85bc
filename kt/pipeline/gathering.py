"""All that a diagnosis rests on, read from the graph, Prometheus and the cluster; if possible while the rest of a burst
of alerts is waited for, so that the answer is there when the wait is over."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from diagnose import hops_around
from diagnose.learning import usable
from diagnose.propagation import near
from graph_schema.model import Signal
from kt.incident.basis import Basis
from kt.incident.state import State
from kt.pipeline.evidence import beside
from kt.runtime import Runtime

MOST_KEPT = 16
"""Incidents; the oldest is forgotten."""


class Gathered(NamedTuple):
    basis: Basis
    warnings: tuple[str, ...]
    """What could not be asked."""
    watching: frozenset[str]
    """Names of metrics that alert rules ask for."""


def gather(runtime: Runtime, signals: Sequence[Signal]) -> Gathered:
    """What is known on the graph as it stands now, and beside it."""
    seeds = sorted({signal.entity for signal in signals if signal.mapped})
    piece = runtime.graph.neighbourhood(seeds, hops=hops_around(len(signals), runtime.settings.diagnose.hops))
    more = beside(runtime, piece, signals)
    known = usable(runtime.learned.counts(), runtime.settings.diagnose.learning)
    basis = Basis(
        now=runtime.clock(), piece=piece, alerts=tuple(signals), beside=more.signals, burdens=more.burdens,
        onset=more.onset, watched=more.watched, refuted=more.refuted, known=near(known, piece.entities),
    )  # fmt: skip
    return Gathered(basis, more.warnings, more.watching)


class Ahead:
    """What was gathered, or is being gathered, for incidents whose diagnosis is not due yet. In this process only:
    where it is not found, because another worker has it or more alerts came in, it is gathered when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[tuple[Signal, ...], Future[Gathered]]] = {}

    def gather(self, runtime: Runtime, state: State) -> None:
        """Gather for what fires now, in this thread. What goes wrong is told to who takes it."""
        coming: Future[Gathered] = Future()
        with self._lock:
            if state.id in self._kept and self._kept[state.id][0] == state.firing:
                return
            self._kept.pop(state.id, None)
            self._kept[state.id] = (state.firing, coming)
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        try:
            coming.set_result(gather(runtime, state.firing))
        except Exception as error:
            coming.set_exception(error)

    def take(self, runtime: Runtime, state: State) -> Gathered:
        """What was gathered for just these alerts, waited for if it is under way; else it is gathered now."""
        with self._lock:
            firing, coming = self._kept.pop(state.id, ((), None))
        if coming is None or firing != state.firing:
            return gather(runtime, state.firing)
        found = coming.result()
        return found._replace(basis=msgspec.structs.replace(found.basis, now=runtime.clock()))
