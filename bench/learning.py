"""Whether confirmed causes make the diagnosis of later incidents better: a curve over how many were learned from.

Each site is a made-up world with faults of its own: of the kinds of fault of bench/worlds some come again and again
there and others hardly ever, drawn by chance for each site. A site's incidents come one after the other. Each is
diagnosed with what was learned so far, and then its cause is learned: if the diagnosis was right (a fix for it would
have been attacked and held), or, for a stated share of the others, by a person's word. Another set of incidents of the
same site, never learned from, is diagnosed after 0, 10, 25 … incidents: those figures are the curve.

    python -m bench.learning [--sites N] [--lessons N] [--unseen N]

Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from bench.offline import Case, cases
from bench.worlds.incident import BEGINS
from diagnose import diagnose
from diagnose.learning import Counts, Outcome, increments, kinds_near, learned, merge, own_symptoms, usable
from graph_schema.catalogue import Catalogue, load_catalogue
from graph_schema.ontology import Ontology, load_ontology
from sense.mapping import LabelMapping

FIRST_SEED = 7_000_000
STEPS = (0, 10, 25, 50, 100)
TOLD_BY_PEOPLE = 0.5
"""Share of the incidents that KT did not get right, whose cause a person says afterwards."""
COMMON = 0.3
"""How often an incident of a middling kind is kept."""
SKEW = 1.5
"""Standard deviation of the logarithm of how often a kind comes at a site, against how often it comes everywhere."""


class Score(msgspec.Struct):
    top1: int = 0
    top3: int = 0
    fault: int = 0
    count: int = 0


def site(number: int, wanted: int, mapping: LabelMapping) -> Iterator[Case]:
    """Incidents of one site: those of bench/worlds, each kept as often as its kind of fault comes there."""
    chance = random.Random(number)  # repeatable on purpose
    taste: dict[str, float] = {}
    kept, seed = 0, FIRST_SEED + 100_000 * number
    while kept < wanted:
        (case,) = cases(seed, 1, mapping)
        seed += 1
        kind = case.told.truths[0].kind
        if kind not in taste:
            taste[kind] = min(1.0, COMMON * math.exp(random.Random(f"{number} {kind}").gauss(0, SKEW)))
        if chance.random() < taste[kind]:
            kept += 1
            yield case


class Student:
    """What a site has learned so far."""

    def __init__(self, catalogue: Catalogue, ontology: Ontology, *, people: float) -> None:
        self._base, self._ontology, self._people = catalogue, ontology, people
        self._counts: Counter[str] = Counter()
        self.lessons = 0
        self.catalogue = catalogue

    def learn(self, case: Case, chance: random.Random) -> None:
        answer = diagnose(case.piece, case.signals, self.catalogue, self._ontology, now=BEGINS)
        first = next(iter(answer.selected()), None)
        truth = case.told.truths[0]
        right = first is not None and any(
            first.entity in each.entities and first.fault in each.modes for each in case.told.truths
        )
        if right and first is not None:
            entity, fault = first.entity, first.fault
        elif chance.random() < self._people:
            entity, fault = truth.entities[0], truth.modes[0]
        else:
            return
        shown = own_symptoms(case.piece, case.signals, entity, self._ontology)
        self._counts.update(increments(Outcome(fault=fault, shown=shown, near=kinds_near(case.piece))))
        self.lessons += 1
        counts = merge(Counts(), Counts(seen={key: {"here": count} for key, count in self._counts.items()}))
        self.catalogue = learned(self._base, usable(counts, "all"))


def score(found: list[Case], catalogue: Catalogue, ontology: Ontology) -> Score:
    result = Score()
    for case in found:
        answer = diagnose(case.piece, case.signals, catalogue, ontology, now=BEGINS)
        ranked = [each.entity for each in answer.hypotheses]
        right = [any(entity in truth.entities for truth in case.told.truths) for entity in ranked]
        result.count += 1
        result.top1 += bool(right and right[0])
        result.top3 += any(right[:3])
        result.fault += bool(right and right[0]) and any(
            ranked[0] in truth.entities and answer.hypotheses[0].fault in truth.modes for truth in case.told.truths
        )
    return result


def curve(sites: range, lessons: int, unseen: int, people: float) -> dict[int, Score]:
    """Incidents that a site had → figures of its unseen ones, over all sites."""
    ontology = load_ontology()
    catalogue, mapping = load_catalogue(ontology=ontology), LabelMapping.load()
    found = {step: Score() for step in STEPS if step <= lessons}
    for number in sites:
        incidents = list(site(number, unseen + lessons, mapping))
        held_out, stream = incidents[:unseen], incidents[unseen:]
        student, chance = Student(catalogue, ontology, people=people), random.Random(number)
        for count in range(lessons + 1):
            if count in found:
                one, total = score(held_out, student.catalogue, ontology), found[count]
                for field in Score.__struct_fields__:
                    setattr(total, field, getattr(total, field) + getattr(one, field))
            if count < lessons:
                student.learn(stream[count], chance)
    return found


def shares(score_: Score) -> Mapping[str, float]:
    return {name: round(getattr(score_, name) / score_.count, 4) for name in ("top1", "top3", "fault")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=100, help="number of the first site; below 100 are for tuning")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--lessons", type=int, default=100)
    parser.add_argument("--unseen", type=int, default=60)
    parser.add_argument("--people", type=float, default=TOLD_BY_PEOPLE, help="share of missed causes that are told")
    given = parser.parse_args()
    found = curve(range(given.first, given.first + given.sites), given.lessons, given.unseen, given.people)
    print(f"{given.sites} sites, {given.unseen} unseen incidents each; {given.people:.0%} of the missed causes told")
    for step, each in found.items():
        told = shares(each)
        print(
            f"  after {step:4d} incidents  top1 {told['top1']:.3f}  top3 {told['top3']:.3f}  fault {told['fault']:.3f}"
        )
    first, last = shares(found[0]), shares(found[max(found)])
    curve_ = {str(step): shares(each) for step, each in found.items()}
    gain = {f"{name}_gain": round(last[name] - first[name], 4) for name in first}
    print(json.dumps({**last, **gain, "incidents": given.lessons, "sites": given.sites, "curve": curve_}))


if __name__ == "__main__":
    main()
