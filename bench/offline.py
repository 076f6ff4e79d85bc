"""How often the diagnosis is right on made-up incidents whose truth is known, and how often simple rules are.

The incidents come from bench/worlds: flows of requests through random clusters, hand-written rules of what complains,
alerts missed, late and spurious, innocent changes, two faults at once. Tuning looked at the seeds of TUNING only; what
is reported for HELD_OUT was never tuned on.

Each set is diagnosed twice: from alerts, changes and a bare topology, and with the states of objects that the cluster's
API tells (ready, waiting reasons, endpoints), which KT's own graph always has. Times are processor time.

    python -m bench.offline [--tuning N] [--held-out N] [--kinds]

Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from bench.alert_rankers import RANKINGS, label_prior
from bench.worlds import Incident, incident
from diagnose import diagnose
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Diagnosis, Entity, Signal, Subgraph
from graph_schema.ontology import load_ontology
from sense.alertmanager import parse
from sense.index import Index
from sense.mapping import LabelMapping

TUNING, HELD_OUT = 1_000_000, 2_000_000
"""The first seed of each set."""
BINS = 10


class Case(msgspec.Struct):
    """One incident as `kt diagnose` sees it."""

    told: Incident
    piece: Subgraph
    signals: list[Signal]


class Tally(msgspec.Struct):
    top1: int = 0
    top3: int = 0
    fault: int = 0
    both: int = 0
    pairs: int = 0
    count: int = 0
    believed: list[tuple[float, bool]] = []


def cases(first: int, count: int, mapping: LabelMapping, *, states: bool = False) -> list[Case]:
    found = []
    for seed in range(first, first + count):
        told = incident(seed)
        if states:
            told.entities = [_in_state(each, told.states.get(each.id, {})) for each in told.entities]
        found.append(case_of(told, mapping))
    return found


def case_of(told: Incident, mapping: LabelMapping) -> Case:
    entities = {each.id: each for each in told.entities}
    body = json.dumps({"version": "4", "alerts": told.alerts}).encode()
    signals = mapping.signals(parse(body).alerts, Index(told.entities).lookup)
    return Case(told, Subgraph(entities, tuple(told.relations), tuple(told.changes)), signals)


def _in_state(entity: Entity, state: Mapping[str, object]) -> Entity:
    return msgspec.structs.replace(entity, properties={**entity.properties, **state})


def judge(tally: Tally, told: Incident, ranked: Sequence[str], faults: Sequence[str] = ()) -> bool:
    """Count one answer: entities, best first, and their faults. Whether the first is right."""
    truths = told.truths
    right = [any(entity in truth.entities for truth in truths) for entity in ranked]
    first = bool(right and right[0])
    tally.count += 1
    tally.top1 += first
    tally.top3 += any(right[:3])
    if first and faults:
        tally.fault += any(ranked[0] in truth.entities and faults[0] in truth.modes for truth in truths)
    if len(truths) > 1:
        tally.pairs += 1
        tally.both += all(any(entity in truth.entities for entity in ranked[:3]) for truth in truths)
    return first


def calibration_error(believed: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error over ten equal bins (Naeini, Cooper, Hauskrecht 2015)."""
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for probability, right in believed:
        bins[min(int(probability * BINS), BINS - 1)].append((probability, right))
    error = 0.0
    for inside in bins.values():
        mean = sum(probability for probability, _ in inside) / len(inside)
        error += abs(mean - sum(right for _, right in inside) / len(inside)) * len(inside) / len(believed)
    return error


def calibration_points(believed: Sequence[tuple[float, bool]], groups: int = 8) -> list[tuple[float, float]]:
    """A rising map from what was said to how often it was right: equal groups, pooled until they rise (PAVA)."""
    ordered = sorted(believed)
    size = max(1, len(ordered) // groups)
    pools: list[list[float]] = []
    for start in range(0, len(ordered), size):
        part = ordered[start : start + size]
        pools.append([sum(said for said, _ in part), float(sum(right for _, right in part)), float(len(part))])
        while len(pools) > 1 and pools[-2][1] / pools[-2][2] >= pools[-1][1] / pools[-1][2]:
            last = pools.pop()
            pools[-1] = [one + two for one, two in zip(pools[-1], last, strict=True)]
    return [(round(said / n, 3), round(right / n, 3)) for said, right, n in pools]


def run(first: int, count: int, *, kinds: bool = False, states: bool = False) -> dict[str, object]:
    """The figures of one set of seeds."""
    ontology = load_ontology()
    catalogue, mapping = load_catalogue(ontology=ontology), LabelMapping.load()
    tally = Tally()
    by_kind: dict[str, Tally] = defaultdict(Tally)
    asked = cases(first, count, mapping, states=states)
    blamed = [entity.split("/")[0] for case in asked for truth in case.told.truths for entity in truth.entities[:1]]
    baselines = {**RANKINGS, "label_prior": label_prior(blamed)}
    others = {name: Tally() for name in baselines}
    spent: list[float] = []
    for case in asked:
        began = time.process_time()
        answer = diagnose(case.piece, case.signals, catalogue, ontology, now=datetime.now(UTC))
        spent.append(time.process_time() - began)
        ranked = [each.entity for each in answer.hypotheses]
        faults = [each.fault for each in answer.hypotheses]
        right = judge(tally, case.told, ranked, faults)
        tally.believed.append((answer.hypotheses[0].probability if answer.hypotheses else 0.0, right))
        if len(case.told.truths) == 1:
            judge(by_kind[case.told.truths[0].kind], case.told, ranked, faults)
        for name, ranking in baselines.items():
            judge(others[name], case.told, ranking(case.piece, case.signals))
    if kinds:
        _table(by_kind)
    spent.sort()
    return {
        **figures(tally),
        "fault": round(tally.fault / tally.count, 4),
        "ece": round(calibration_error(tally.believed), 4),
        "both_of_two": round(tally.both / max(1, tally.pairs), 4),
        "incidents": tally.count,
        "p50_ms": round(1000 * spent[len(spent) // 2], 1),
        "p99_ms": round(1000 * spent[int(len(spent) * 0.99)], 1),
        "baselines": {name: figures(each) for name, each in others.items()},
        "believed": tally.believed,
    }


def figures(tally: Tally) -> dict[str, float]:
    return {"top1": round(tally.top1 / tally.count, 4), "top3": round(tally.top3 / tally.count, 4)}


def reliability(believed: Sequence[tuple[float, bool]]) -> list[str]:
    """The reliability diagram as lines: said, right, how many."""
    lines = []
    for number in range(BINS):
        inside = [pair for pair in believed if min(int(pair[0] * BINS), BINS - 1) == number]
        if inside:
            said = sum(probability for probability, _ in inside) / len(inside)
            right = sum(correct for _, correct in inside) / len(inside)
            lines.append(f"  said {said:5.2f}  right {right:5.2f}  n {len(inside):4d}  {'#' * round(40 * right)}")
    return lines


def _table(by_kind: dict[str, Tally]) -> None:
    for name, each in sorted(by_kind.items()):
        print(
            f"  {name:20s} n {each.count:4d}  top1 {each.top1 / each.count:.2f}  top3 {each.top3 / each.count:.2f}"
            f"  fault {each.fault / each.count:.2f}"
        )


def show(name: str, found: dict[str, object]) -> None:
    baselines: dict[str, dict[str, float]] = found["baselines"]  # type: ignore[assignment]
    print(f"{name}: {found['incidents']} incidents")
    print(
        f"  {'KT':12s} top1 {found['top1']:.3f}  top3 {found['top3']:.3f}  fault {found['fault']:.3f}"
        f"  ece {found['ece']:.3f}"
        f"  both of two {found['both_of_two']:.3f}  p50 {found['p50_ms']} ms  p99 {found['p99_ms']} ms"
    )
    for key, each in baselines.items():
        print(f"  {key:12s} top1 {each['top1']:.3f}  top3 {each['top3']:.3f}")
    print("\n".join(reliability(found.pop("believed"))))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuning", type=int, default=400, help="how many of the seeds that were tuned on")
    parser.add_argument("--held-out", type=int, default=400, help="how many of the seeds that were not")
    parser.add_argument(
        "--points", action="store_true", help="a map from what was said to what was right, from the tuning seeds"
    )
    parser.add_argument("--kinds", action="store_true", help="figures for each kind of fault, too")
    given = parser.parse_args()
    answer: dict[str, object] = {}
    sets = (
        ("tuning", TUNING, given.tuning, False),
        ("tuning_with_states", TUNING, given.tuning, True),
        ("held_out", HELD_OUT, given.held_out, False),
        ("held_out_with_states", HELD_OUT, given.held_out, True),
    )
    for name, first, count, states in sets:
        if count:
            found = run(first, count, kinds=given.kinds, states=states)
            if given.points and name == "tuning":
                print("points:", calibration_points(found["believed"]))  # type: ignore[arg-type]
            show(name, found)
            answer[name] = found
    best: dict[str, object] = answer.get("held_out") or answer.get("tuning") or {}  # type: ignore[assignment]
    print(json.dumps({**{key: best.get(key) for key in ("top1", "top3", "fault", "ece")}, **answer}))


__all__ = ["Diagnosis", "main"]

if __name__ == "__main__":
    main()
