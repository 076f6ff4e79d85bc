"""Rankings by others' own packages, given the series of all services and the true onset: BARO and CIRCA.

BARO (Pham et al., FSE 2024; fse-baro) takes the series. CIRCA (Li et al., KDD 2022; circa-clue, its authors' package)
takes series and the call graph, here the true one, with the paper's assumptions: traffic goes from caller to callee and
fills slots, which makes latency, which makes errors; latency and errors go from callee to caller.

What they name is a service. It counts as right when the true cause is it, what runs behind it, or what only that reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.circa import SEPARATOR, by_circa, graph
from bench.fleet.application import build
from bench.fleet.incident import Told, application, moment
from bench.rankers import by_baro

LOT = 20
TRAFFIC, FULL, LATE, P99, FAILED = (
    "requests_per_second", "saturation", "latency_average_seconds", "latency_p99_seconds", "error_ratio",
)  # fmt: skip
WITHIN = ((TRAFFIC, FULL), (FULL, LATE), (LATE, P99), (LATE, FAILED))
STEP_S = 5.0
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
    calls = [(made.workloads[each.caller].service, made.workloads[each.callee].service) for each in made.calls]
    edges = graph(columns, calls, traffic=(TRAFFIC,), within=WITHIN, back=(LATE, P99, FAILED))
    return {"columns": columns, "normal": int(np.searchsorted(times, onset)), "edges": edges, "step_s": STEP_S}


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
