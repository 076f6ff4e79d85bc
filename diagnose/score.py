"""The score of one hypothesis: log-odds from what it explains, what it should have shown, changes and states."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from diagnose.arrays import NOBODY, Flags, Floats, Ints, begins
from diagnose.carried import Carried
from diagnose.evidence import Seen
from diagnose.facts import UNKNOWN, UNKNOWN_SYMPTOM, Facts
from diagnose.paths import Paths
from diagnose.propagation import Shown
from diagnose.reached import Columns, Reached, tables
from diagnose.rules import BESIDE, OWN, SELF
from diagnose.settings import Settings
from diagnose.wiring import Wiring
from graph_schema.catalogue import FaultMode
from graph_schema.model import Change, Entity, Evidence, Subgraph
from graph_schema.ontology import Ontology

ROLLOUT = "rollout"
FOLLOWED = "phase"
"""A property that every pod has whose state is kept."""
LEAST_TOLD = -0.02
"""Log-odds from which on what is missed is told."""


class Scored(msgspec.Struct, kw_only=True):
    """A hypothesis while it is being weighed."""

    entity: Entity
    fault: FaultMode
    row: int
    """Of the entity in what is reached."""
    prior: float
    """Log-odds before any signal is looked at, state and change included."""
    weights: Floats
    """For each unit the probability that the fault, if there, brings it about."""
    explains: int
    """How many units it may bring about."""
    own: Flags
    """Which of the units are its own symptoms."""
    gain: float
    """What the units add to the log-odds while nothing else explains them."""
    change: Change | None = None
    evidence_for: list[Evidence] = []
    evidence_against: list[Evidence] = []
    """Without what is missed."""
    missing: float = 0.0
    """Log-odds lost for symptoms that should be there and are not."""
    missed: Sequence[tuple[float, str, str]] = ()
    """(log-odds lost, entity, the symptom that it does not show or words for it) of each of them, the largest first."""

    @property
    def against(self) -> list[Evidence]:
        """All that speaks against it. Put into words when it is asked for: most hypotheses are never told."""
        lost = (
            Evidence(text=what if " " in what else f"{name} shows no {what}", weight=weight, entity=name)
            for weight, name, what in self.missed
            if weight < LEAST_TOLD
        )
        return [*self.evidence_against, *lost]

    @property
    def base(self) -> float:
        """Log-odds without what it explains."""
        return self.prior + self.missing

    @property
    def log_odds(self) -> float:
        return self.base + self.gain


def state_speaks(fault: FaultMode, name: str, settings: Settings) -> float:
    """The factor on the odds when the entity has this state of the fault's."""
    return settings.proof_factor if name in fault.proof else settings.state_factor


def fits(found: Any, wanted: Any) -> bool:
    """Whether a state is the one that a fault has: one of several where the fault has several, among those that are
    found where there are several (the pressures of a node)."""
    possible = wanted if isinstance(wanted, list) else [wanted]
    return any(each in possible for each in found) if isinstance(found, list) else found in possible


class Weighing(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is the same for all hypotheses of an incident."""

    piece: Subgraph
    seen: Seen
    ontology: Ontology
    wiring: Wiring
    paths: Paths
    settings: Settings
    changes: Mapping[str, Sequence[Change]]
    """Entity → what was changed about it."""
    rules: Collection[str] | None
    """Symptoms that the rules in use watch for; None: not known."""
    columns: Columns
    reached: Reached
    carried: Carried
    states_told: Set[str]
    """The names of the properties of everything, and maybe more."""
    proven: Mapping[str, datetime] = {}
    """Workload → until when it is known to have done its work (`diagnose.proven`)."""
    shown: Shown | None
    """How surely things show elsewhere as runs of chaos have shown it; None: nothing is known of that."""

    def weigh(self, asked: Sequence[tuple[int, Sequence[FaultMode]]], facts: Facts) -> list[list[Scored]]:
        """The hypotheses of each of these entities (their rows in what is reached), with any weight at all."""
        pairs = [(row, fault) for row, faults in asked for fault in faults]
        rows = np.array([row for row, _ in pairs], int)
        weights, own = facts.weights(rows, np.array([facts.number[fault.name] for _, fault in pairs], int))
        self.carried.on(weights)
        gains = self.columns.gained(weights, self.columns.leak, self.settings.same_entity).tolist()
        explains = (weights > 0).sum(axis=1).tolist()
        rows_of = zip(pairs, weights, own, gains, explains, self._firsts(own), strict=True)
        found: dict[int, list[Scored]] = {row: [] for row, _ in asked}
        for (row, fault), weight, mine, gain, many, (first, column) in rows_of:
            if not many:
                continue
            scored = Scored(
                entity=self.piece.entities[self.reached.names[row]], fault=fault, row=row, explains=many,
                prior=facts.log_odds[fault.name], weights=weight, own=mine, gain=gain,
                evidence_for=[], evidence_against=[],
            )  # fmt: skip
            if fault.changes:
                self._count_changes(scored)
            self._count_states(scored)
            if first:
                self._count_first(scored, first, column)
            if self.shown and (at := self.shown.disturbed(scored.entity.id)):
                scored.evidence_for.append(self.shown.words(at))
            found[row].append(scored)
        return list(found.values())

    def ways(self, asked: Sequence[tuple[Scored, Sequence[int]]]) -> list[dict[int, tuple[str, ...]]]:
        """For each cause, of the units that are wanted of it: unit → the entities on the way there."""
        if not asked:
            return []
        causes = [scored for scored, _ in asked]
        weights = np.array([each.weights for each in causes])
        return self.carried.ways(weights, self._straight(causes), [wanted for _, wanted in asked])

    def _straight(self, causes: Sequence[Scored]) -> Ints:
        """For each cause and unit the place in what is reached by which it brings the unit about, as `Facts.weights`
        has it; `NOBODY` where it does not. Of equals the first effect of the fault, then its own symptom."""
        reached, modes, columns = self.reached, self.paths.moves.mode, self.columns
        faults = [each.fault for each in causes]
        usual = {UNKNOWN: UNKNOWN_SYMPTOM}
        effects = tables([fault.effects for fault in faults], modes)
        symptoms = tables([{**usual, **fault.symptoms} for fault in faults], columns.symptoms)
        dependants = tables([fault.dependants for fault in faults], columns.symptoms)
        sure = tables([dict.fromkeys(fault.sure, 1.0) for fault in faults], columns.symptoms) > 0
        ranks = np.zeros((len(faults), len(modes)), int)
        for row, fault in enumerate(faults):
            known = [modes[mode] for mode in fault.effects if mode in modes]
            ranks[row, known] = np.arange(len(known))
        ranks[:, modes[SELF]], ranks[:, modes[BESIDE]] = len(modes), len(modes) + 1
        which, place = reached.spread(np.array([each.row for each in causes], int))
        unit, mode, strength = reached.unit[place], reached.mode[place], reached.strength[place]
        symptom, itself = columns.symptom[unit], mode == modes[SELF]
        value = np.where(itself, symptoms[which, symptom], effects[which, mode])
        value = np.where(mode == modes[BESIDE], dependants[which, symptom], value) * strength
        value[itself & (strength >= OWN) & sure[which, symptom]] = math.inf
        some = np.flatnonzero(value > 0)
        cell = which[some] * len(columns) + unit[some]
        order = np.lexsort((ranks[which[some], mode[some]], -value[some], cell))
        best = order[begins(cell[order])]
        found = np.full((len(causes), len(columns)), NOBODY)
        found.ravel()[cell[best]] = place[some[best]]
        return found

    def _count_changes(self, scored: Scored) -> None:
        changes = self.changes.get(scored.entity.id, ())
        alone, weight, lacking = self._alone(scored.fault)
        if not changes:
            scored.prior += weight
            if alone < 1:
                scored.evidence_against.append(Evidence(text=lacking, weight=weight, entity=scored.entity.id))
            return
        best, factor, onset = None, alone, self.seen.onset
        explained = self._explained(scored.weights)
        for change in changes:
            raised, began = self._raised(scored.fault, change, explained)
            if raised > factor:
                best, factor, onset = change, raised, began
        scored.prior += math.log(factor)
        if best is not None and factor > 1:
            scored.change = best
            age = (onset - best.at).total_seconds()
            when = f"{_span(age)} before" if age >= 0 else "as"
            text = f"{best.kind} of {best.entity} {when} the first symptom{f': {best.detail}' if best.detail else ''}"
            scored.evidence_for.append(Evidence(text=text, weight=math.log(factor), entity=best.entity))
        elif factor < 1:
            weight = math.log(factor)
            scored.evidence_against.append(Evidence(text=lacking, weight=weight, entity=scored.entity.id))

    def _explained(self, weights: Floats) -> tuple[Ints, Floats]:
        """The units that are explained, in order of their onset, and how surely."""
        columns = np.flatnonzero(weights >= self.settings.explained)
        columns = columns[np.argsort(self._begun[columns])]
        return columns, weights[columns]

    @cached_property
    def _begun(self) -> Ints:
        return np.array(self.columns.begun, int)

    @cached_property
    def _times(self) -> tuple[Floats, Floats]:
        """For each unit when it began and when it was reported, in seconds since the onset of the first."""
        units, zero = self.columns.units, self.seen.onset
        began = np.array([(unit.onset - zero).total_seconds() for unit in units], float)
        return began, np.array([(unit.reported - zero).total_seconds() for unit in units], float)

    def _alone(self, fault: FaultMode) -> tuple[float, float, str]:
        """(factor on the odds of a fault when no change is there that may have brought it about, its logarithm, words).

        What share of its cases comes without one, and how many changes are missed: few where changes are recorded.
        """
        found = self._alones.get(fault.name)
        if found is None:
            missed = self.settings.change_missed if self.piece.changes else self.settings.changes_unrecorded
            kinds = " or ".join(sorted(fault.changes))
            factor = fault.comes_alone + (1 - fault.comes_alone) * missed
            words = f"no {kinds} of it was seen shortly before the first symptom"
            found = self._alones[fault.name] = factor, math.log(factor), words
        return found

    @cached_property
    def _alones(self) -> dict[str, tuple[float, float, str]]:
        return {}

    def _raised(self, fault: FaultMode, change: Change, explained: tuple[Ints, Floats]) -> tuple[float, datetime]:
        """(the factor on the odds that this change brings, the beginning that it was held against).

        What began before the change counts against it: the factor shrinks with the share of what it cannot have caused,
        towards what it is without any change.
        """
        columns, weights = explained
        alone, total = self._alone(fault)[0], weights.sum()
        if not len(columns):
            return alone, self.seen.onset
        left = total - (np.cumsum(weights) - weights)
        raised = alone + (self._hazards(fault, change, columns) - alone) * (left / total) ** 2
        best = int(raised.argmax())
        if raised[best] <= alone:
            return alone, self.seen.onset
        return float(raised[best]), self.columns.units[int(columns[best])].onset

    def _hazards(self, fault: FaultMode, change: Change, columns: Ints) -> Floats:
        """The factor for each symptom alone: full right after the change, decaying over minutes to hours."""
        settings, alone = self.settings, self._alone(fault)[0]
        kind = self.ontology.change_kind(change.kind)
        full = fault.changes.get(kind)
        if self._opposite(fault, change):
            return np.full(len(columns), alone)
        if full is None:
            if kind in set(self.ontology.change_names.values()) or not fault.changes:
                return np.full(len(columns), alone)
            full = max(fault.changes.values()) ** settings.other_change
        if fault.detail and change.detail:
            full *= settings.fitting if self._fits(fault, change) else 1 / settings.fitting
        since = (change.at - self.seen.onset).total_seconds()
        age, told = (times[columns] - since for times in self._times)
        most = np.where(age < -settings.skew_s, full * settings.within_hold, full)
        older = np.maximum(age, 0.0)
        quick = 0.5 ** (older / (settings.half_life_s + fault.onset_s / 2))
        slow = 0.5 ** (older / (settings.slow_half_life_s + fault.onset_s))
        if kind == ROLLOUT and change.entity in self.proven:
            well = (self.proven[change.entity] - change.at).total_seconds() - settings.new_pods_s
            quick *= 0.5 ** (max(0.0, well) / (settings.proven_half_life_s + fault.onset_s / 10))
        left = (1 - settings.slow_part) * quick + settings.slow_part * slow
        found: Floats = alone + (most - alone) * left
        found[(age > settings.remembered_s) | (told < -settings.skew_s)] = alone
        return found

    def _fits(self, fault: FaultMode, change: Change) -> bool:
        return bool(fault.detail and re.search(fault.detail, change.detail)) and not self._opposite(fault, change)

    def _opposite(self, fault: FaultMode, change: Change) -> bool:
        """Whether its numbers say that just the opposite was done."""
        found = re.search(fault.detail, change.detail) if fault.detail else None
        counts = found.groupdict() if found else {}
        return {"more", "fewer"} <= counts.keys() and int(counts["more"]) <= int(counts["fewer"])

    def _count_states(self, scored: Scored) -> None:
        if scored.entity.properties.get("used_by") == "nobody known":
            self._add(scored, math.log(self.settings.nobody_known), "nobody is known to have used it")
        if not self._states_tell(scored.fault):
            return
        for name, value in sorted(scored.fault.states.items()):
            speaks = math.log(state_speaks(scored.fault, name, self.settings))
            changed = scored.change is not None and (name == "exists" or self._fits(scored.fault, scored.change))
            if name in scored.entity.properties:
                found = scored.entity.properties[name]
                # The graph may have been written down before the change: then it is the change that counts.
                if changed and not fits(found, value):
                    continue
                against = self.settings.late_state if name in scored.fault.late else -speaks
                self._add(scored, speaks if fits(found, value) else against, f"its {name} is {found}")
                continue
            if changed:
                continue
            # A workload's faults show in the state of its pods.
            told = self._inside(scored.entity.id)
            showing = next((pod for pod, states in told.items() if name in states and fits(states[name], value)), None)
            if showing is not None:
                self._add(scored, speaks, f"{name} of {showing} is {told[showing][name]}")
            elif name in scored.fault.proof and any(FOLLOWED in states for states in told.values()):
                # Of pods that are followed everything is known, also what is not the case.
                self._add(scored, -math.log(self.settings.state_factor), f"{name} of none of its pods is that")

    def _states_tell(self, fault: FaultMode) -> bool:
        """Whether any state of the fault's is told of anything, or missed where it would be."""
        found = self._telling.get(fault.name)
        if found is None:
            missed = bool(fault.proof) and FOLLOWED in self.states_told
            found = self._telling[fault.name] = missed or not self.states_told.isdisjoint(fault.states)
        return found

    @cached_property
    def _telling(self) -> dict[str, bool]:
        return {}

    def _inside(self, entity: str) -> Mapping[str, Mapping[str, Any]]:
        """The states of the parts of an entity."""
        found = self._states_inside.get(entity)
        if found is None:
            there = self.piece.entities
            found = self._states_inside[entity] = {
                part: there[part].properties for part in self.wiring.inside(entity) if part in there
            }
        return found

    @cached_property
    def _states_inside(self) -> dict[str, Mapping[str, Mapping[str, Any]]]:
        return {}

    def states_near(self, entity: str) -> set[str]:
        """Names of the properties of the entity and of its parts."""
        near = (entity, *self.wiring.inside(entity))
        return {name for each in near if (known := self.piece.entities.get(each)) for name in known.properties}

    def _firsts(self, own: Flags) -> list[tuple[float, int]]:
        """For each row of own symptoms the log-odds for showing one at the beginning, and which one it is."""
        if len(self.columns) < 2:
            return [(0.0, 0)] * len(own)
        found = own * self._early
        return list(zip(found.max(axis=1).tolist(), found.argmax(axis=1).tolist(), strict=True))

    @cached_property
    def _early(self) -> Floats:
        """For each unit the log-odds for showing it, the more the sooner it began."""
        lags = [max(0.0, (unit.onset - self.seen.onset).total_seconds()) for unit in self.columns.units]
        found: Floats = self.settings.first * self.columns.confidence
        return found * np.exp(-np.array(lags) / self.settings.first_within_s)

    def _count_first(self, scored: Scored, weight: float, column: int) -> None:
        scored.prior += weight
        if weight > 0.1:
            unit = self.columns.units[column]
            text = f"its {unit.symptom} was among the first symptoms"
            scored.evidence_for.append(Evidence(text=text, weight=weight, entity=unit.entity))

    def _add(self, scored: Scored, weight: float, text: str) -> None:
        scored.prior += weight
        found = Evidence(text=text, weight=weight, entity=scored.entity.id)
        (scored.evidence_for if weight > 0 else scored.evidence_against).append(found)


def _span(seconds: float) -> str:
    """90 s, 12 min, 3 h: as exact as a person needs it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
