"""Other ways to rank the nodes of a call graph by their metrics, given the same burdens: what KT is compared with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from graph_schema.model import Burden, Relation
from sense.metrics.changes import Change

BARO = "fse-baro==0.2.2"
DAMPING, ROUNDS = 0.85, 200
BACKWARD = 0.1
"""Share of a random walk that may go back to the caller, as in MonitorRank (Kim et al., SIGMETRICS 2013)."""


def by_deviation(burdens: Iterable[Burden]) -> list[str]:
    """Biggest deviation: the node whose burden changed most surely (a monotone function of its robust z)."""
    return [each.entity for each in sorted(burdens, key=lambda each: (-each.strength, each.entity))]


def by_time(changes: Iterable[Change]) -> list[str]:
    """Earliest deviation: who first showed a sure change of the alerted symptom, the surer first."""
    return list(dict.fromkeys(each.entity for each in sorted(changes, key=lambda each: (each.at, -each.strength))))


def by_random_walk(burdens: Iterable[Burden], calls: Iterable[Relation], alerted: str) -> list[str]:
    """Personalised PageRank from the alerted node; steps to a node are as likely as its deviation is sure."""
    strength = {each.entity: each.strength for each in burdens}
    steps: dict[str, dict[str, float]] = {alerted: {}}
    for call in calls:
        steps.setdefault(call.source, {})[call.target] = strength.get(call.target, 0.0) + 1e-3
        back = steps.setdefault(call.target, {})
        back.setdefault(call.source, BACKWARD * strength.get(call.source, 0.0) + 1e-4)
    for node, onward in steps.items():
        ahead = max((strength.get(after, 0.0) for after in onward), default=0.0)
        onward[node] = max(0.0, strength.get(node, 0.0) - ahead) + 1e-4
    ranks = {alerted: 1.0}
    for _ in range(ROUNDS):
        following = {alerted: 1 - DAMPING}
        for node, rank in ranks.items():
            whole = sum(steps[node].values())
            for after, weight in steps[node].items():
                following[after] = following.get(after, 0.0) + DAMPING * rank * weight / whole
        ranks = following
    return sorted((node for node in ranks if node != alerted), key=lambda node: (-ranks[node], node))


def by_label(causes: Iterable[str]) -> list[str]:
    """The label prior: the same ranking for every issue, by how often each node was the cause. Looks at the truth."""
    counted = Counter(causes)
    return sorted(counted, key=lambda node: (-counted[node], node))


def by_baro(frames: Sequence[dict[str, object]]) -> list[list[str]] | str:
    """BARO's robust scorer from its own package, in an environment of its own; or why it could not run.

    Each frame: `columns` (node → values), `normal` (how many of them come before the onset).
    """
    uv = str(Path(sys.executable).parent / "uv")
    command = [uv, "run", "-q", "--isolated", "--no-project", "--with", BARO, "python", "-c", _BARO]
    try:
        ended = subprocess.run(
            command, input=json.dumps(frames), capture_output=True, text=True, timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if ended.returncode != 0:
        return ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else f"exit code {ended.returncode}"
    ranks: list[list[str]] = json.loads(ended.stdout.splitlines()[-1])
    return ranks


_BARO = """
import json, sys
import pandas
from baro.root_cause_analysis import robust_scorer

ranks = []
for frame in json.load(sys.stdin):
    data = pandas.DataFrame({"time": range(len(next(iter(frame["columns"].values())))), **frame["columns"]})
    ranks.append(robust_scorer(data, inject_time=frame["normal"])["ranks"])
print(json.dumps(ranks))
"""
