"""How often the recorded incidents of the real cluster are diagnosed right from their files, and how often simple rules
name the right entity. What is given to KT: all files, or without the metrics, or with an innocent rollout beside: each
Deployment of the shop in turn, so long before the first alert (people roll out all day). Of these every second
incident, by name, was tuned on, the others were not.

    python -m bench.campaign [--folder bench/data/campaign] [--misses]

Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from bench.alert_rankers import RANKINGS, label_prior
from bench.campaign.faults import Truth
from bench.campaign.record import INTO
from bench.offline import Tally, calibration_error, figures, judge
from bench.worlds.incident import Incident
from bench.worlds.incident import Truth as Named
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Change, Diagnosis
from graph_schema.ontology import load_ontology
from kt import offline, snapshot
from sense.alertmanager import standing
from sense.files import moment
from sense.index import Index
from sense.mapping import LabelMapping
from testbed import shop

INNOCENT = "innocent_rollout"
MINUTES = (1, 2, 5, 15)
"""How long before the first alert something innocent was rolled out."""
HALVES = ("tuned_on", "held_out")


class Told(msgspec.Struct):
    """The truth about a recorded incident."""

    incident: str
    kinds: list[str]
    truths: list[Truth]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=INTO)
    parser.add_argument("--misses", action="store_true", help="print what was named instead")
    given = parser.parse_args()
    folders = sorted(each for each in given.folder.iterdir() if (each / "truth.json").exists())
    if not folders:
        print(f"no recorded incident under {given.folder}; python -m bench.campaign.record makes them", file=sys.stderr)
        return 2
    found = {"without_metrics": Tally(), "with_metrics": Tally()}
    kinds: dict[str, Tally] = defaultdict(Tally)
    told = {each: msgspec.json.decode((each / "truth.json").read_bytes(), type=Told) for each in folders}
    blamed = [truth.entities[0].split("/")[0] for each in told.values() for truth in each.truths]
    rankings = {**RANKINGS, "label_prior": label_prior(blamed)}
    others = {name: Tally() for name in rankings}
    for folder, truth in told.items():
        for name, tally in found.items():
            world, gathered, answer = diagnosed(folder, truth, metrics=name != "without_metrics")
            _judged(tally, world, answer)
            if name == "with_metrics":
                _judged(kinds["+".join(truth.kinds)], world, answer)
                if given.misses:
                    _miss(truth, answer)
        for name, ranking in rankings.items():
            judge(others[name], world, ranking(gathered.piece, gathered.alerts))
    beside = _beside_rollouts([(folder, truth) for folder, truth in told.items() if _innocent(truth)], given.misses)
    for kind, tally in sorted(kinds.items()):
        print(f"  {kind:32s} n {tally.count:3d}  top1 {tally.top1}  top3 {tally.top3}  fault {tally.fault}")
    for name, tally in (*beside.items(), *found.items(), *others.items()):
        fault = f"  fault {tally.fault / tally.count:.3f}" if tally.believed else ""
        told_of = f"top1 {tally.top1 / tally.count:.3f}  top3 {tally.top3 / tally.count:.3f}{fault}"
        print(f"{name:32s} n {tally.count:3d}  {told_of}")
    whole = found["with_metrics"]
    print(json.dumps({
        **_whole(whole),
        "kinds": len({kind for each in told.values() for kind in each.kinds}),
        "both_of_two": f"{whole.both} of {whole.pairs}",
        "without_metrics": figures(found["without_metrics"]),
        INNOCENT: {name: _whole(tally) for name, tally in beside.items()},
        "baselines": {name: figures(each) for name, each in others.items()},
    }))  # fmt: skip
    return 0


def _beside_rollouts(incidents: Sequence[tuple[Path, Told]], misses: bool) -> dict[str, Tally]:
    """The same incidents with each Deployment of the shop rolled out before: all, by minutes, and by halves."""
    found: dict[str, Tally] = defaultdict(Tally)
    for number, (folder, truth) in enumerate(incidents):
        for name, *_ in shop.SERVICES:
            for minutes in MINUTES:
                rolled_out = f"Deployment/{shop.NAMESPACE}/{name}", minutes
                world, _, answer = diagnosed(folder, truth, metrics=True, rolled_out=rolled_out)
                for key in ("all", f"{minutes} min before", HALVES[number % 2]):
                    _judged(found[f"{INNOCENT}, {key}"], world, answer)
                if misses:
                    _miss(truth, answer, f", {name} rolled out {minutes} min before")
    return found


def _judged(tally: Tally, world: Incident, answer: Diagnosis) -> None:
    right = judge(tally, world, [each.entity for each in answer.hypotheses], [each.fault for each in answer.hypotheses])
    tally.believed.append((answer.hypotheses[0].probability if answer.hypotheses else 0.0, right))


def _whole(tally: Tally) -> dict[str, float]:
    return {
        **figures(tally), "fault": round(tally.fault / tally.count, 4),
        "ece": round(calibration_error(tally.believed), 4), "incidents": tally.count,
    }  # fmt: skip


def diagnosed(
    folder: Path, truth: Told, *, metrics: bool, rolled_out: tuple[str, int] | None = None
) -> tuple[Incident, offline.Gathered, Diagnosis]:
    """What `kt diagnose` answers to these files. `rolled_out`: a Deployment that was rolled out so many minutes before
    the first alert that was firing."""
    ontology, mapping = load_ontology(), LabelMapping.load()
    catalogue = load_catalogue(ontology=ontology)
    piece, _ = snapshot.piece(folder / "topology.json", folder / "changes.json")
    lookup = Index(piece.entities.values()).lookup
    batches = snapshot.batches(folder / "alerts.json")
    alerts = mapping.signals(standing(batches), lookup)
    if rolled_out:
        deployment, minutes = rolled_out
        at = min(each.starts_at for each in alerts if each.firing) - timedelta(minutes=minutes)
        innocent = Change(entity=deployment, at=at, kind="rollout", detail="pod template changed", id="innocent")
        piece = msgspec.structs.replace(piece, changes=(*piece.changes, innocent))
    files = offline.Files(rules=folder / "rules.json", metrics=folder / "metrics.csv" if metrics else None)
    gathered = offline.gather(files, piece, alerts, mapping, lookup)
    first = min(each.starts_at for each in gathered.alerts)
    now = moment(gathered.onset) if gathered.onset is not None else first
    named = [Named(kind, each.entities, each.modes) for kind, each in zip(truth.kinds, truth.truths, strict=True)]
    world = Incident(0, list(piece.entities.values()), list(piece.relations), list(piece.changes), [], [], named)
    return world, gathered, offline.judge(gathered, catalogue, ontology, now=now)


def _innocent(truth: Told) -> bool:
    """Whether a rollout is not what is to blame."""
    return len(truth.truths) == 1 and "Workload.BadRevision" not in truth.truths[0].modes


def _miss(truth: Told, answer: Diagnosis, beside: str = "") -> None:
    named = [(each.entity, each.fault, round(each.probability, 2)) for each in answer.hypotheses[:3]]
    best = named[0] if named else ("", "", 0.0)
    if not any(best[0] in each.entities and best[1] in each.modes for each in truth.truths):
        print(f"  {truth.incident}{beside}: {named}")
