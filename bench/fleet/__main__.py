"""How often the diagnosis is right on incidents of large made-up applications, and how often other rankings are.

The incidents come from a mechanism (bench/fleet): requests as flows, queues, time-outs, retries, contention, probes,
alert rules; nothing of it is KT's catalogue. Two faults at once in about one of seven; alerts lost, late, spurious or
told twice, calls unknown or made up. Curves vary one kind of noise over the same incidents.

Seeds from 1,000,000 were looked at while KT and the campaign were made, those from 2,000,000 were not; they have other
applications, too. Rows are kept in a file, so that a run that was cut short goes on where it was.

    python -m bench.fleet [--services 50 500 5000] [--incidents 1260 700 40] [--curves N] [--metrics N] [--tuning]
                          [--into FILE] [--kinds]

Prints tables and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from bench.fleet.incident import APPLICATIONS, tell
from bench.fleet.judged import Judge, Row
from bench.fleet.noise import Noise
from bench.fleet.packages import ranks
from bench.offline import calibration_error, reliability

TUNING, HELD_OUT = 1_000_000, 2_000_000
INTO = Path(__file__).parents[2] / "build" / "fleet.jsonl"
USUAL = "usual"
CURVES: dict[str, tuple[str, tuple[float, ...]]] = {
    "alerts lost": ("lost", (0.0, 0.1, 0.3, 0.5)),
    "alerts late": ("late", (0.0, 0.1, 0.3, 0.6)),
    "spurious alerts": ("spurious", (0.0, 1.0, 3.0, 10.0)),
    "calls unknown": ("missing", (0.0, 0.1, 0.2, 0.4)),
    "calls made up": ("wrong", (0.0, 0.1, 0.2, 0.4)),
}
"""What is varied → the field of `Noise` and its values; all else is as usual."""
CHUNK = 10
"""Incidents of a lot, at most."""
SMALL, LARGE = 250, 500
"""Up to so many services curves are drawn and metrics looked at; above the first of fewer incidents."""
Task = tuple[int, list[int], bool, bool]
"""(services, seeds, with curves, with metrics)"""


def noises(*, curves: bool) -> dict[str, Noise]:
    found = {USUAL: Noise()}
    if curves:
        found["none"] = Noise(0, 0, 0, 0, 0, 0, 0)
        for field, values in CURVES.values():
            found |= {f"{field}={value}": msgspec.structs.replace(Noise(), **{field: value}) for value in values}
    return found


_JUDGES: list[Judge] = []
"""One for each process."""


def work(task: Task) -> list[Row]:
    """The rows of some incidents."""
    services, seeds, curves, metrics = task
    if not _JUDGES:
        _JUDGES.append(Judge())
    return [
        row for seed in seeds for row in _JUDGES[0].rows(tell(services, seed), noises(curves=curves), metrics=metrics)
    ]


def tasks(given: argparse.Namespace, done: set[tuple[int, int, bool]]) -> Iterator[Task]:
    """What is still to do: incidents with curves first, those of one application together."""
    first = TUNING if given.tuning else HELD_OUT
    for services, count in zip(given.services, given.incidents, strict=True):
        drawn = min(given.curves * SMALL // max(services, SMALL), count) if services <= LARGE else 0
        chunk = max(1, min(CHUNK, 2000 // services))
        for curves, start, end in ((True, 0, drawn), (False, drawn, count)):
            left = [seed for seed in range(first + start, first + end) if (services, seed, curves) not in done]
            apps = APPLICATIONS.get(services, 10)
            left.sort(key=lambda seed: (seed % apps, seed))
            for at in range(0, len(left), chunk):
                part = left[at : at + chunk]
                for metrics in (True, False):
                    chosen = [seed for seed in part if (services <= LARGE and seed - first < given.metrics) == metrics]
                    if chosen:
                        yield services, chosen, curves, metrics


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[50, 500, 5000])
    parser.add_argument("--incidents", type=int, nargs="+", default=[1260, 700, 40], help="one number for each size")
    parser.add_argument(
        "--curves", type=int, default=60, help="of how many of 50 services to draw curves; half as many of 500"
    )
    parser.add_argument(
        "--metrics", type=int, default=100, help="how many of each size up to 500 services with metrics"
    )
    parser.add_argument("--packages", type=int, default=60, help="how many of each of these sizes for BARO and CIRCA")
    parser.add_argument("--tuning", action="store_true", help="the seeds that were looked at")
    parser.add_argument("--into", type=Path, default=INTO, help="where rows are kept")
    parser.add_argument("--kinds", action="store_true", help="figures for each kind of fault, too")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="end after that long; go on in the next run"
    )
    given = parser.parse_args()
    if len(given.services) != len(given.incidents):
        parser.error("--services and --incidents need as many numbers")
    given.into.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        [msgspec.json.decode(line, type=Row) for line in given.into.read_bytes().splitlines()]
        if given.into.exists()
        else []
    )
    first = TUNING if given.tuning else HELD_OUT
    rows = [each for each in rows if first <= each.seed < first + 1_000_000]
    named = Counter((each.services, each.seed) for each in rows)
    done = {
        (services, seed, curves)
        for (services, seed), count in named.items()
        for curves in (True, False)
        if count > 1 or not curves
    }
    if not _run(given, list(tasks(given, done)), rows):
        print("not all is done; the same command goes on", file=sys.stderr)
    report(rows, _packages(given, first), kinds=given.kinds)
    return 0


def _packages(given: argparse.Namespace, first: int) -> dict[str, dict[str, object]]:
    """Size → what BARO and CIRCA make of the metrics of the first incidents, and KT of the same."""
    found: dict[str, dict[str, object]] = {}
    for services, count in zip(given.services, given.incidents, strict=True):
        if services <= LARGE and min(given.packages, count):
            incidents = [tell(services, seed) for seed in range(first, first + min(given.packages, count))]
            told = ranks(incidents, given.into.parent)
            found[str(services)] = {
                name: places if isinstance(places, str) else {"top1": _top(places, 1), "top3": _top(places, 3)}
                for name, places in told.items()
            }
            found[str(services)]["n"] = len(incidents)
    return found


def _run(given: argparse.Namespace, left: list[Task], rows: list[Row]) -> bool:
    """Whether all tasks were done in the time."""
    began, count = time.monotonic(), 0
    with ProcessPoolExecutor(given.processes) as pool, given.into.open("ab") as file:
        at = 0
        while at < len(left) and time.monotonic() - began < given.seconds:
            batch = left[at : at + 2 * given.processes]
            for found in pool.map(work, batch):
                for row in found:
                    file.write(msgspec.json.encode(row) + b"\n")
                file.flush()
                rows.extend(found)
                count += 1
            at += len(batch)
            print(f"{count} of {len(left)} lots, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return at >= len(left)


def report(rows: Sequence[Row], packages: dict[str, dict[str, object]], *, kinds: bool) -> None:
    usual = [each for each in rows if each.noise == USUAL]
    if not usual:
        print(json.dumps({"incidents": 0}))
        return
    sizes = sorted({each.services for each in usual})
    answer: dict[str, object] = {}
    for services in sizes:
        here = [each for each in usual if each.services == services]
        answer[str(services)] = show(f"{services} services", here)
    print()
    whole = show("all", usual)
    print("\n".join(reliability([(each.said, each.ranks["kt"] == 1) for each in usual])))
    if kinds:
        _by_kind(usual)
    for size, told in packages.items():
        print(f"{size} services, by metrics alone: {told}")
    answer["packages"] = packages
    answer["curves"] = curves(rows)
    print(json.dumps({**whole, **answer}))


def show(name: str, rows: Sequence[Row]) -> dict[str, object]:
    """The figures of these incidents, printed."""
    found = figures(rows)
    spent = sorted(each.ms for each in rows)
    found |= {"p50_ms": spent[len(spent) // 2], "p99_ms": spent[int(len(spent) * 0.99)]}
    silent, alerts = sum(each.silent for each in rows), sum(each.alerts for each in rows) / len(rows)
    times = f"{found['p50_ms']} ms, p99 {found['p99_ms']} ms"
    print(f"{name}: {len(rows)} incidents, {silent} more without any alert, {alerts:.1f} alerts each, {times}")
    told = "  ".join(f"{key} {found[key]:.3f}" for key in ("top1", "top3", "fault", "ece"))
    print(f"  {'KT':16s} {told}  both of two {found['both_of_two']}")
    baselines: dict[str, dict[str, float]] = found["baselines"]  # type: ignore[assignment]
    for key, each in baselines.items():
        print(f"  {key:16s} top1 {each['top1']:.3f}  top3 {each['top3']:.3f}  n {each['n']}")
    return found


def figures(rows: Sequence[Row]) -> dict[str, object]:
    prior = Counter(kind for each in rows for kind in each.blamed)
    tops: dict[str, list[int]] = defaultdict(list)
    for each in rows:
        for name, rank in each.ranks.items():
            tops[name].append(rank)
        near = sorted(each.near, key=lambda pair: -prior[pair[0]])
        tops["label_prior"].append(next((place for place, (_, right) in enumerate(near, 1) if right), 0))
    metered = [each.ranks["kt"] for each in rows if "kt_metrics" in each.ranks]
    if metered:
        tops["kt_same_without"] = metered
    mine = tops.pop("kt")
    two = [each.both for each in rows if each.both is not None]
    others = {name: {"top1": _top(found, 1), "top3": _top(found, 3), "n": len(found)} for name, found in tops.items()}
    return {
        "incidents": len(rows), "top1": _top(mine, 1), "top3": _top(mine, 3),
        "fault": round(sum(each.fault for each in rows) / len(rows), 4),
        "ece": round(calibration_error([(each.said, each.ranks["kt"] == 1) for each in rows]), 4),
        "both_of_two": f"{sum(two)} of {len(two)}",
        "baselines": others,
    }  # fmt: skip


def _top(ranks: Sequence[int], most: int) -> float:
    return round(sum(0 < each <= most for each in ranks) / len(ranks), 4)


def _by_kind(rows: Sequence[Row]) -> None:
    by: dict[str, list[Row]] = defaultdict(list)
    for each in rows:
        by[each.kinds[0] if len(each.kinds) == 1 else "two at once"].append(each)
    for kind, here in sorted(by.items()):
        ranks = [each.ranks["kt"] for each in here]
        print(f"  {kind:20s} n {len(here):4d}  top1 {_top(ranks, 1):.2f}  top3 {_top(ranks, 3):.2f}"
              f"  fault {sum(each.fault for each in here) / len(here):.2f}")  # fmt: skip


def curves(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Top-1 of KT and of the best others by amount of noise, over the incidents that have all of them."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    varied = [each for each in rows if each.noise != USUAL]
    if not varied:
        return found
    print("\ntop-1 by noise, all else as usual")
    for name, (field, values) in CURVES.items():
        found[name] = {}
        for value in values:
            here = [each for each in varied if each.noise == f"{field}={value}"]
            told = {key: _top([each.ranks[key] for each in here], 1) for key in ("kt", "groot", "pagerank", "deepest")}
            found[name][str(value)] = told
            print(
                f"  {name:16s} {value:5.1f}  "
                + "  ".join(f"{key} {share:.3f}" for key, share in told.items())
                + f"  n {len(here)}"
            )
    none = [each.ranks["kt"] for each in varied if each.noise == "none"]
    found["none at all"] = {"0": {"kt": _top(none, 1)}}
    print(f"  {'none at all':16s}        kt {_top(none, 1):.3f}")
    return found


if __name__ == "__main__":
    sys.exit(main())
