"""Rankings by others' own packages, given the series of all services and the true onset: BARO and CIRCA.

BARO (Pham et al., FSE 2024; fse-baro) takes the series. CIRCA (Li et al., KDD 2022; circa-clue, its authors' package)
takes series and the call graph, here the true one, with the paper's assumptions: traffic goes from caller to callee and
fills slots, which makes latency, which makes errors; latency and errors go from callee to caller. Its requirements
name R for graphs that are learned; none is, so it is installed without them.

What they name is a service. It counts as right when the true cause is it, what runs behind it, or what only that reads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.fleet.application import build
from bench.fleet.incident import Told, application, moment
from bench.rankers import by_baro

CIRCA = "circa-clue==0.1.1"
NEEDS = ("networkx", "numpy<3", "pandas<3", "scikit-learn", "scipy", "pyyaml")
LOT = 20
SEPARATOR = "|"
Frame = dict[str, object]


def frame(told: Told) -> Frame:
    """`columns`: entity|metric → values, gaps filled with the one before; `normal`: how many come before the onset."""
    onset = moment(told.began).timestamp()
    times = sorted({at for metrics in told.series.values() for values in metrics.values() for at, _ in values})
    columns: dict[str, list[float]] = {}
    for entity, metrics in sorted(told.series.items()):
        for metric, values in sorted(metrics.items()):
            known, last, column = dict(values), values[0][1], []
            for at in times:
                last = known.get(at, last)
                column.append(last)
            if len(set(column)) > 1:
                columns[f"{entity}{SEPARATOR}{metric}"] = column
    made = build(told.services, application(told.services, told.seed))
    calls = [[made.workloads[each.caller].service, made.workloads[each.callee].service] for each in made.calls]
    return {"columns": columns, "normal": int(np.searchsorted(times, onset)), "calls": calls}


def ranks(incidents: Sequence[Told], out: Path) -> dict[str, list[int] | str]:
    """Package → place of the first right service for each incident (0: none), or why it could not run."""
    found: dict[str, list[int] | str] = {}
    for name in ("baro", "circa"):
        places: list[int] = []
        for start in range(0, len(incidents), LOT):
            lot = incidents[start : start + LOT]
            frames = [frame(each) for each in lot]
            told = by_baro(frames) if name == "baro" else by_circa(frames, out)
            if isinstance(told, str):
                found[name] = told
                break
            places += [place(each, ranked) for each, ranked in zip(lot, told, strict=True)]
        else:
            found[name] = places
    return found


def place(told: Told, ranked: Sequence[str]) -> int:
    right = {service for each in told.faults for thing in each.entities for service in services_of(told, thing)}
    services = list(dict.fromkeys(each.split(SEPARATOR)[0] for each in ranked))
    return next((number for number, each in enumerate(services, 1) if each in right), 0)


def services_of(told: Told, thing: str) -> list[str]:
    """The services for which a thing stands: itself, the one before a workload, that of its only readers."""
    made = build(told.services, application(told.services, told.seed))
    found = []
    for number, each in enumerate(made.workloads):
        mine = {each.service, each.id, each.claim, *each.secrets}
        mine |= {name for name in each.config if not name.endswith("/common")}
        mine |= {name for name, place in made.policies.items() if place == number}
        mine |= {name for name, place in made.certificates.items() if place == number}
        pods = f"Pod/{each.namespace}/{each.name}-"
        if thing in mine or (thing.startswith(pods) and thing[len(pods) :][:1] in ("r", "0")):
            found.append(each.service)
    return found


def by_circa(frames: Sequence[Frame], out: Path) -> list[list[str]] | str:
    """CIRCA's regression-based hypothesis testing with descendant adjustment, from its own package, or why not."""
    uv, home = str(Path(sys.executable).parent / "uv"), out / "circa"
    python = home / "bin" / "python"
    steps = [
        [uv, "venv", "-q", str(home)],
        [uv, "pip", "install", "-q", "--python", str(python), "--no-deps", CIRCA],
        [uv, "pip", "install", "-q", "--python", str(python), *NEEDS],
    ]
    try:
        for step in steps if not python.exists() else ():
            subprocess.run(step, capture_output=True, text=True, timeout=300, check=True)
        ended = subprocess.run(
            [str(python), "-c", _CIRCA],
            input=json.dumps(frames),
            capture_output=True,
            text=True,
            timeout=900,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        return str((error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1])
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    found: list[list[str]] = json.loads(ended.stdout.splitlines()[-1])
    return found


_CIRCA = """
import datetime, json, sys
import networkx, numpy
from circa.alg.ci import DAScorer, RHTScorer
from circa.model.case import CaseData
from circa.model.data_loader import MemoryDataLoader
from circa.model.graph import MemoryGraph, Node

TRAFFIC, FULL, LATE, P99, FAILED = (
    "requests_per_second", "saturation", "latency_average_seconds", "latency_p99_seconds", "error_ratio")
WITHIN = [(TRAFFIC, FULL), (FULL, LATE), (LATE, P99), (LATE, FAILED)]

class Loader(MemoryDataLoader):
    def load(self, entity, metric, start, end, interval, **rest):
        return self._data.get(entity, {}).get(metric)

ranks = []
for frame in json.load(sys.stdin):
    data = {}
    for name, values in frame["columns"].items():
        entity, metric = name.split("|")
        data.setdefault(entity, {})[metric] = values
    graph = networkx.DiGraph()
    known = {Node(entity, metric) for entity, metrics in data.items() for metric in metrics}
    graph.add_nodes_from(known)
    wanted = [(Node(each, one), Node(each, other)) for each in data for one, other in WITHIN]
    for caller, callee in frame["calls"]:
        wanted.append((Node(caller, TRAFFIC), Node(callee, TRAFFIC)))
        wanted += [(Node(callee, metric), Node(caller, metric)) for metric in (LATE, P99, FAILED)]
    graph.add_edges_from((one, other) for one, other in wanted if one in known and other in known)
    count = len(next(iter(frame["columns"].values())))
    after = max(2, count - frame["normal"])
    case = CaseData(
        Loader(data), next(iter(known)), detect_time=5.0 * (count - 1), interval=datetime.timedelta(seconds=5),
        lookup_window=count - 1, detect_window=after)
    memory = MemoryGraph(graph)
    scores = RHTScorer().score(memory, case, case.detect_time)
    scores = DAScorer(threshold=3.0).score(memory, case, case.detect_time, scores)
    order = sorted(scores.items(), key=lambda pair: (pair[1].key, pair[0].entity, pair[0].metric), reverse=True)
    ranks.append([node.entity + "|" + node.metric for node, _ in order])
print(json.dumps(ranks))
"""
