"""What things would show, how surely somebody watches for it, and how far they are silent: by kind and by entity."""

from __future__ import annotations

import numpy as np

from diagnose.arrays import Flags, Floats, Ints, firsts
from diagnose.paths import ASKED
from diagnose.score import Weighing
from graph_schema.model import Entity

NODE = "Node"
COMPLAINING = frozenset({"Service", "Ingress", "Gateway", NODE})
DOWN = frozenset({"node_not_ready", "node_unreachable"})
MISSING = "replicas_mismatch"


class Watching:
    """What things of each kind show most surely in each mode, of what is watched for, and who is silent about it.

    Rows stand for kinds of entity by number, columns for modes; things whose kind has no alerts as usual show nothing.
    """

    def __init__(self, weighing: Weighing) -> None:
        self._weighing, self._settings, self._seen = weighing, weighing.settings, weighing.seen
        self._wiring, self._ontology, self._rules = weighing.wiring, weighing.ontology, weighing.rules
        self._entities, self._names = weighing.piece.entities, weighing.wiring.entities
        self._number = weighing.wiring.number
        self.trust = self._settings.blind if self._seen.blind else 1.0
        """What is left of what usually is watched for."""
        modes, kinds = weighing.paths.moves.modes, self._wiring.entity_kinds
        # One more row, for what is not there.
        size = len(kinds) + 1, len(modes)
        self._share, self._symptom, self._watched = np.zeros(size), np.zeros(size, int), np.zeros(size)
        self._asked, self._stated = np.zeros(size, bool), np.zeros(size, bool)
        numbers: dict[str, int] = {}
        for kind, row in kinds.items():
            if kind not in COMPLAINING and not self._ontology.workload(kind):
                continue
            for column, (share, symptom) in enumerate(self._surest(kind, modes)):
                self._share[row, column] = share
                self._symptom[row, column] = numbers.setdefault(symptom, len(numbers))
                self._watched[row, column] = self.watched(symptom, self._usually(kind, symptom))
                self._asked[row, column] = symptom in ASKED
                self._stated[row, column] = symptom in DOWN if kind == NODE else symptom == MISSING
        self.symptoms = list(numbers)
        """By their numbers."""
        self._complaining, self._complaining_of_requests = self._complaints()

    def share(self, number: Ints, mode: Ints) -> Floats:
        """How surely things in modes show anything."""
        found: Floats = self._share[self._wiring.of_kind[number], mode]
        return found

    def silence(self, number: Ints, mode: Ints) -> tuple[Ints, Floats, Floats]:
        """(number of what each shows most surely, how surely somebody watches for it, how far it does not complain)."""
        kind = self._wiring.of_kind[number]
        asked = self._asked[kind, mode]
        watched = self._watched[kind, mode]
        silent = 1 - np.where(asked, self._complaining_of_requests[number], self._complaining[number])
        stated = np.flatnonzero(self._stated[kind, mode])
        well = stated[self._well(number[stated])]
        watched[well], silent[well] = np.maximum(watched[well], self._settings.watched_state), 1.0
        return self._symptom[kind, mode], watched, silent

    def watched(self, symptom: str, usual: float) -> float:
        """How surely somebody watches for it, `usual` being how surely where the rules are not known."""
        if self._rules is None:
            return usual * self.trust
        return self._settings.watched_by_rule * self.trust if symptom in self._rules else 0.0

    def _surest(self, kind: str, modes: list[str]) -> list[tuple[float, str]]:
        """For each mode the symptom that a thing shows most surely, of those that are watched for, and how surely."""
        shown = self._ontology.shown(kind)
        found = []
        for mode in modes:
            best = 0.0, ""
            for symptom, share in shown.get(mode, {}).items():
                if share > best[0] and (self._rules is None or symptom in self._rules):
                    best = share, symptom
            found.append(best)
        return found

    def _usually(self, kind: str, symptom: str) -> float:
        """How probable it is that somebody watches for it, when the rules are not known."""
        if kind == NODE:
            return self._settings.watched_node
        if self._ontology.workload(kind) and symptom not in ASKED:
            return self._settings.watched_workload
        return self._settings.watched

    def _complaints(self) -> tuple[Floats, Floats]:
        """How surely each entity complains, about anything: a workload's parts do so for it; and, where it is requests
        that it would complain of, a Service and what is behind it for each other."""
        itself, requests = np.zeros(len(self._names)), np.zeros(len(self._names))
        for entity, shown in self._seen.showing.items():
            itself[self._number[entity]] = max(shown.values(), default=0.0)
            requests[self._number[entity]] = max((shown[each] for each in shown if each in ASKED), default=0.0)
        of_requests = itself.copy()
        for each in self._wiring.behind_services:
            np.maximum.at(of_requests, each.cause, requests[each.service])
            if each.owns:
                np.maximum.at(of_requests, each.service, requests[each.cause])
        of_anything = itself.copy()
        for entity in self._seen.showing:
            owners = self._wiring.owners(entity)
            for owner in {*owners, *(above for each in owners for above in self._wiring.owners(each))}:
                if owner in self._entities and self._ontology.workload(self._entities[owner].kind):
                    place = self._number[owner]
                    of_anything[place] = max(of_anything[place], itself[self._number[entity]])
        return of_anything, of_requests

    def _well(self, number: Ints) -> Flags:
        """Which of these are well by the word of the cluster's API."""
        found = np.zeros(len(self._names), bool)
        for each in number[firsts(number)].tolist():
            found[each] = _known_well(self._entities[self._names[each]])
        return found[number]


def _known_well(entity: Entity) -> bool:
    """Whether the cluster's API says that a node is ready, or that a workload has all that it should have."""
    states = entity.properties
    if entity.kind == NODE:
        return states.get("ready") is True
    wanted, ready = states.get("replicas"), states.get("ready")
    return isinstance(wanted, int) and isinstance(ready, int) and 0 < wanted <= ready
