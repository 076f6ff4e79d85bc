"""Whether scheduled chaos runs make the diagnosis of later incidents better: a curve over how many were run.

A site is one made-up cluster that stays, with one set of alerts (bench/worlds). Runs of chaos repeat faults of it, of
the kinds that KT's own templates can repeat whole, on any of its things; what they raise goes through the same mapping
as any alert, and is counted (`diagnose/propagation.py`). Of the same site other incidents, of all kinds, with innocent
changes, stray alerts and sometimes two faults at once, are diagnosed after 0, 25, 50, 100 and 200 runs; nothing is
learned from them, and their seeds are none of the runs'. What runs and incidents look like comes from the mechanism of
bench/worlds (requests, capacity, who watches what), never from the numbers of the ontology or the catalogue.

    python -m bench.runs [--sites N] [--runs N] [--unseen N]

Prints a table and, as its last line, one JSON object. Intervals are of the bootstrap over sites (2.5 % to 97.5 %).
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from bench.offline import Case, case_of
from bench.worlds.incident import BEGINS, Place, incident_in, place, run_in
from diagnose import diagnose, untold
from diagnose.propagation import Strengths, face, increments, raised
from diagnose.wiring import Wiring
from graph_schema.catalogue import Catalogue, load_catalogue
from graph_schema.model import Subgraph
from graph_schema.ontology import Ontology, load_ontology
from sense.mapping import LabelMapping

SITES, RUNS, UNSEEN = 20_000_000, 30_000_000, 40_000_000
"""The first seeds of the clusters, of the runs and of the incidents."""
A_SITE = 100_000
STEPS = (0, 25, 50, 100, 200)
FIGURES = ("top1", "top3", "fault")
REPEATED = {
    "rollout-crash": "Workload.WrongCommand",
    "rollout-image": "Workload.ImageMissing",
    "rollout-oom": "Workload.LimitTooLow",
    "rollout-probe": "Workload.ProbeWrong",
    "overload": "Workload.Overload",
    "scaled-to-zero": "Workload.ScaledToZero",
    "scaled-down": "Workload.ScaledDown",
    "config-wrong": "ConfigMap.Wrong",
    "config-deleted": "ConfigMap.Missing",
    "policy": "NetworkPolicy.Blocks",
    "service-selector": "Service.SelectorMismatch",
}
"""Kind of fault → the fault mode whose template repeats it as it is (verify/knowledge/attacks.yaml)."""
Row = tuple[bool, bool, bool]
"""(cause named first, among the first three, first with the right fault mode)."""


class _Given(msgspec.Struct):
    first: int
    sites: int
    runs: int
    unseen: int
    teach: str


def learn(
    where: Place, seed: int, mapping: LabelMapping, catalogue: Catalogue, ontology: Ontology, known: Mapping[str, int]
) -> Mapping[str, int]:
    """What one run adds to the counts."""
    told = run_in(where, seed, REPEATED.keys())
    case = case_of(told, mapping)
    piece = _with_calls(case.piece, known)
    truth = told.truths[0]
    fault, at = REPEATED[truth.kind], face(truth.entities[0], Wiring(piece, ontology), piece, ontology)
    found = raised(case.signals, piece, ontology, told.began)
    return {**increments(fault, at, found), **untold.increments(catalogue.faults[fault], at, found, piece, ontology)}


def _with_calls(piece: Subgraph, known: Mapping[str, int]) -> Subgraph:
    """The piece as KT's graph has it: with the calls that runs gave away."""
    calls = untold.believed(known, least=untold.LEAST_RUNS) - set(piece.relations)
    joined = sorted((each for each in calls if {each.source, each.target} <= piece.entities.keys()), key=str)
    return msgspec.structs.replace(piece, relations=(*piece.relations, *joined))


def answered(case: Case, catalogue: Catalogue, ontology: Ontology, known: Mapping[str, int], given: _Given) -> Row:
    strengths = Strengths(known, catalogue) if known and given.teach != "calls" else None
    piece = _with_calls(case.piece, known) if given.teach != "strengths" else case.piece
    answer = diagnose(piece, case.signals, catalogue, ontology, now=BEGINS, strengths=strengths)
    truths, ranked = case.told.truths, answer.hypotheses
    right = [any(each.entity in truth.entities for truth in truths) for each in ranked]
    first = bool(right and right[0])
    whole = first and any(ranked[0].entity in each.entities and ranked[0].fault in each.modes for each in truths)
    return first, any(right[:3]), whole


def curve(given: _Given) -> dict[int, list[list[Row]]]:
    """Runs before → for each site the rows of its incidents."""
    ontology = load_ontology()
    catalogue, mapping = load_catalogue(ontology=ontology), LabelMapping.load()
    found: dict[int, list[list[Row]]] = {step: [] for step in STEPS if step <= given.runs}
    for number in range(given.first, given.first + given.sites):
        where = place(SITES + number)
        cases = [case_of(incident_in(where, UNSEEN + A_SITE * number + each), mapping) for each in range(given.unseen)]
        counts: Counter[str] = Counter()
        for count in range(given.runs + 1):
            if count in found:
                found[count].append([answered(case, catalogue, ontology, counts, given) for case in cases])
            if count < given.runs:
                counts.update(learn(where, RUNS + A_SITE * number + count, mapping, catalogue, ontology, counts))
    return found


def mean(rows: Sequence[Sequence[Row]], figure: int) -> float:
    return sum(row[figure] for site in rows for row in site) / sum(len(site) for site in rows)


def interval(count: int, of: Callable[[Sequence[int]], float], rounds: int = 2000) -> tuple[float, float]:
    """95 % of a figure over sites, each drawn as often as chance has it (Efron 1979)."""
    chance = random.Random(1)  # repeatable on purpose
    drawn = sorted(of([chance.randrange(count) for _ in range(count)]) for _ in range(rounds))
    return drawn[int(0.025 * rounds)], drawn[int(0.975 * rounds)]


def summary(found: Mapping[int, list[list[Row]]]) -> dict[str, object]:
    """Figures with intervals at each step, and the gain against no runs at all."""
    steps: dict[str, object] = {}
    for step, rows in found.items():
        told: dict[str, object] = {}
        for figure, name in enumerate(FIGURES):

            def of(sites: Sequence[int], rows: list[list[Row]] = rows, figure: int = figure) -> float:
                return mean([rows[each] for each in sites], figure)

            def gained(sites: Sequence[int], rows: list[list[Row]] = rows, figure: int = figure) -> float:
                return of(sites, rows, figure) - mean([found[0][each] for each in sites], figure)

            every = range(len(rows))
            told[name] = {
                "mean": round(of(every), 4),
                "interval": [round(each, 4) for each in interval(len(rows), of)],
                "gain": round(gained(every), 4),
                "gain_interval": [round(each, 4) for each in interval(len(rows), gained)],
            }
        steps[str(step)] = told
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=200, help="number of the first site; 0 to 199 were looked at")
    parser.add_argument("--sites", type=int, default=12)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--unseen", type=int, default=30)
    parser.add_argument("--teach", choices=("all", "strengths", "calls"), default="all", help="what is used of them")
    given = msgspec.convert(vars(parser.parse_args()), _Given)
    began = datetime.now(UTC)
    found = curve(given)
    steps = summary(found)
    print(f"{given.sites} sites, {given.unseen} unseen incidents each")
    for step, told in steps.items():
        words = "  ".join(
            f"{name} {each['mean']:.3f} ({each['interval'][0]:.3f} to {each['interval'][1]:.3f}), "
            f"gain {each['gain']:+.3f} ({each['gain_interval'][0]:+.3f} to {each['gain_interval'][1]:+.3f})"
            for name, each in told.items()  # type: ignore[attr-defined]
        )
        print(f"  after {step:>4s} runs  {words}")
    took = (datetime.now(UTC) - began).total_seconds()
    last: dict[str, dict[str, float]] = steps[str(max(found))]  # type: ignore[assignment]
    flat = {name: each["mean"] for name, each in last.items()}
    gains = {f"{name}_gain": each["gain"] for name, each in last.items()}
    print(json.dumps({**flat, **gains, **msgspec.to_builtins(given), "took_s": round(took, 1), "curve": steps}))


if __name__ == "__main__":
    main()
