"""Diagnose: walk the graph from what fires, rank the causes, ask where that is not enough, write down the answer."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from diagnose.absent import stand_in
from graph_schema.model import Diagnosis, Hypothesis, NextProbe
from kt.incident.basis import Basis, judge, pack
from kt.incident.events import Diagnosed, Healed, Probed
from kt.incident.state import State
from kt.pipeline.gathering import Ahead, gather
from kt.pipeline.journey import Journey
from kt.pipeline.probing import ask, following
from kt.runtime import Runtime


def run(runtime: Runtime, journey: Journey, ahead: Ahead) -> None:
    """Diagnose an incident that has news, once the first burst of its alerts is in.

    Each probe that is asked on the way is an event before its answer is used: whoever goes on after a crash has it.
    """
    state, now = journey.state, runtime.clock()
    if state.phase != "new":
        return
    if not state.firing:
        journey.append(Healed(at=now, why=f"What was seen ended by itself{_idle(state)}."))
        return
    if now < settled_at(runtime, state):
        return
    basis, warnings, watching = ahead.take(runtime, state)
    while True:
        basis = msgspec.structs.replace(basis, answers=journey.state.answers)
        answer = judge(basis, runtime.catalogue, runtime.ontology)
        probe = following(runtime, answer, basis.piece, basis.answers, watching)
        if probe is None:
            break
        _probe(runtime, journey, basis, answer, probe)
        if journey.state.firing != basis.alerts:
            # Alerts came in meanwhile: what was gathered is no longer all there is. The stage is asked for again.
            return
    told = msgspec.structs.replace(answer, warnings=(*warnings, *answer.warnings))
    journey.append(Diagnosed(at=runtime.clock(), diagnosis=told, basis=pack(basis)))


def _idle(state: State) -> str:
    return "; what was tried has been undone" if state.actions else "; nothing was done"


def look_again(runtime: Runtime, journey: Journey, least: float) -> Diagnosed | None:
    """The diagnosis by what is known now, where it makes a cause as probable as that; nothing is asked beside it."""
    basis, warnings, _ = gather(runtime, journey.state.firing)
    basis = msgspec.structs.replace(basis, answers=journey.state.answers)
    answer = judge(basis, runtime.catalogue, runtime.ontology)
    if not named(runtime, answer, least):
        return None
    told = msgspec.structs.replace(answer, warnings=(*warnings, *answer.warnings))
    return Diagnosed(at=runtime.clock(), diagnosis=told, basis=pack(basis))


def named(runtime: Runtime, answer: Diagnosis | None, least: float) -> list[Hypothesis]:
    """The causes that are as probable as that and of which it is known what is wrong, not only where."""
    found = answer.selected() if answer else ()
    return [each for each in found if each.probability >= least and each.fault in runtime.catalogue.faults]


def _probe(runtime: Runtime, journey: Journey, basis: Basis, answer: Diagnosis, probe: NextProbe) -> None:
    entity = basis.piece.entities.get(probe.entity) or stand_in(probe.entity, runtime.ontology)
    best = answer.hypotheses[0]
    guess = f"{best.fault} of {best.entity} ({best.probability:.0%})"
    found = ask(runtime, probe, entity)
    journey.record(Probed(at=runtime.clock(), probe=probe, answer=found, guess=guess))


def waits(runtime: Runtime, state: State) -> bool:
    """Whether the incident is to be diagnosed, and the rest of its alerts is still waited for."""
    return state.next_step == "diagnose" and bool(state.firing) and runtime.clock() < settled_at(runtime, state)


def settled_at(runtime: Runtime, state: State) -> datetime:
    """When the first burst of an incident's alerts counts as being in, and what KT's own attack raised has ended."""
    settled = (state.since or runtime.clock()) + timedelta(seconds=runtime.settings.pipeline.settle_s)
    return max(settled, state.calm_at) if state.calm_at else settled
