"""Diagnose: walk the graph from what fires, rank the causes, write down the answer."""

from __future__ import annotations

from datetime import datetime, timedelta

from diagnose import diagnose
from diagnose.arising import refine
from diagnose.attribution import attribute, unavailable
from graph_schema.model import Diagnosis, Signal
from kt.incident.events import Diagnosed, Healed
from kt.incident.state import State
from kt.pipeline.evidence import beside
from kt.pipeline.journey import Journey
from kt.runtime import Runtime


def run(runtime: Runtime, journey: Journey) -> None:
    """Diagnose an incident that has news, once the first burst of its alerts is in."""
    state, now = journey.state, runtime.clock()
    if state.phase != "new":
        return
    if not state.firing:
        journey.append(Healed(at=now, why="What was seen ended by itself; nothing was done."))
        return
    if now < settled_at(runtime, state):
        return
    journey.append(Diagnosed(at=now, diagnosis=look(runtime, state.firing)))


def settled_at(runtime: Runtime, state: State) -> datetime:
    """When the first burst of an incident's alerts counts as being in."""
    return (state.opened_at or runtime.clock()) + timedelta(seconds=runtime.settings.pipeline.settle_s)


def look(runtime: Runtime, signals: tuple[Signal, ...]) -> Diagnosis:
    """The diagnosis of these signals on the graph as it stands now."""
    options = runtime.settings.diagnose
    seeds = sorted({signal.entity for signal in signals if signal.mapped})
    piece = runtime.graph.neighbourhood(seeds, hops=options.hops)
    more = beside(runtime, piece, signals)
    every = (*signals, *more.signals)
    answer = diagnose(piece, every, runtime.catalogue, runtime.ontology, now=runtime.clock())
    if not more.burdens:
        return answer
    showing = {(each.entity, each.symptom) for each in signals if each.mapped}
    troubled = unavailable(piece.relations, piece.entities, every)
    shares = attribute(more.burdens, piece.relations, showing, troubled)
    return refine(answer, shares, piece, runtime.catalogue, runtime.ontology)
