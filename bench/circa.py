"""CIRCA (Li et al., KDD 2022) from its authors' package (circa-clue), in an environment of its own.

Its requirements name R for graphs that are learned; here the graph is given, so it is installed without them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

CIRCA = "circa-clue==0.1.1"
NEEDS = ("networkx", "numpy<3", "pandas<3", "scikit-learn", "scipy", "pyyaml")
SEPARATOR = "|"
"""Between entity and metric in the name of a column."""
Edge = tuple[str, str]


def graph(
    columns: Container[str], calls: Iterable[tuple[str, str]], *, traffic: Sequence[str],
    within: Sequence[tuple[str, str]], back: Sequence[str],
) -> list[Edge]:  # fmt: skip
    """Who makes whom move, by columns that are there: `traffic` from caller to callee, the pairs `within` each entity,
    `back` from callee to caller."""
    calls = list(calls)
    entities = sorted({end for each in calls for end in each})
    wanted = [(entity, one, entity, other) for entity in entities for one, other in within]
    wanted += [(caller, metric, callee, metric) for caller, callee in calls for metric in traffic]
    wanted += [(callee, metric, caller, metric) for caller, callee in calls for metric in back]
    edges = [(f"{one}{SEPARATOR}{metric}", f"{other}{SEPARATOR}{then}") for one, metric, other, then in wanted]
    return [each for each in edges if each[0] in columns and each[1] in columns]


def by_circa(frames: Sequence[dict[str, object]], out: Path) -> list[list[str]] | str:
    """Regression-based hypothesis testing with descendant adjustment: columns in order of their scores, or why not.

    Each frame: `columns` (entity|metric → values), `normal` (how many of them come before the onset), `edges`, `step_s`
    (seconds from one value to the next).
    """
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
            [str(python), "-c", _CIRCA], input=json.dumps(frames), capture_output=True, text=True, timeout=900,
            check=True,
        )  # fmt: skip
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
    graph.add_edges_from(tuple(Node(*end.split("|")) for end in edge) for edge in frame["edges"])
    count = len(next(iter(frame["columns"].values())))
    after = max(2, count - frame["normal"])
    case = CaseData(
        Loader(data), next(iter(known)), detect_time=frame["step_s"] * (count - 1),
        interval=datetime.timedelta(seconds=frame["step_s"]),
        lookup_window=count - 1, detect_window=after)
    memory = MemoryGraph(graph)
    scores = RHTScorer().score(memory, case, case.detect_time)
    scores = DAScorer(threshold=3.0).score(memory, case, case.detect_time, scores)
    order = sorted(scores.items(), key=lambda pair: (pair[1].key, pair[0].entity, pair[0].metric), reverse=True)
    ranks.append([node.entity + "|" + node.metric for node, _ in order])
print(json.dumps(ranks))
"""
