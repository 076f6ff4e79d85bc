"""How often the recorded incidents of the real cluster are diagnosed right from their files, and how often simple rules
name the right entity. What is given to KT: all files, or without the metrics, or with a rollout of what is to blame (a
Deployment, or the one in front of it) two minutes before the first symptom, which is innocent: people roll out all day.

    python -m bench.campaign [--folder bench/data/campaign] [--misses]

Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from bench.alert_rankers import RANKINGS, label_prior
from bench.campaign.faults import Truth
from bench.campaign.record import INTO
from bench.offline import Tally, calibration_error, figures, judge
from bench.worlds.incident import Incident
from bench.worlds.incident import Truth as Named
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Change, Diagnosis, Subgraph
from graph_schema.ontology import load_ontology
from kt import offline, snapshot
from sense.alertmanager import standing
from sense.files import moment
from sense.index import Index
from sense.mapping import LabelMapping

INNOCENT = "innocent_rollout"
BEFORE = timedelta(minutes=2)
OTHERWISE = "Deployment/shop/catalogue"
"""What is rolled out where the incident is not of a Deployment: all calls go through it."""


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
    found = {INNOCENT: Tally(), "without_metrics": Tally(), "with_metrics": Tally()}
    kinds: dict[str, Tally] = defaultdict(Tally)
    told = {each: msgspec.json.decode((each / "truth.json").read_bytes(), type=Told) for each in folders}
    blamed = [truth.entities[0].split("/")[0] for each in told.values() for truth in each.truths]
    rankings = {**RANKINGS, "label_prior": label_prior(blamed)}
    others = {name: Tally() for name in rankings}
    for folder, truth in told.items():
        for name, tally in found.items():
            if name == INNOCENT and not _innocent(truth):
                continue
            metrics, rolled_out = name != "without_metrics", truth.incident if name == INNOCENT else ""
            world, gathered, answer = diagnosed(folder, truth, metrics=metrics, rolled_out=rolled_out)
            ranked = [each.entity for each in answer.hypotheses]
            faults = [each.fault for each in answer.hypotheses]
            right = judge(tally, world, ranked, faults)
            tally.believed.append((answer.hypotheses[0].probability if answer.hypotheses else 0.0, right))
            if name == "with_metrics":
                judge(kinds["+".join(truth.kinds)], world, ranked, faults)
                if given.misses:
                    _miss(truth, answer)
        for name, ranking in rankings.items():
            judge(others[name], world, ranking(gathered.piece, gathered.alerts))
    for kind, tally in sorted(kinds.items()):
        print(f"  {kind:32s} n {tally.count:3d}  top1 {tally.top1}  top3 {tally.top3}  fault {tally.fault}")
    for name, tally in (*found.items(), *others.items()):
        fault = f"  fault {tally.fault / tally.count:.3f}" if name in found else ""
        print(f"{name:16s} top1 {tally.top1 / tally.count:.3f}  top3 {tally.top3 / tally.count:.3f}{fault}")
    whole = found["with_metrics"]
    print(json.dumps({
        **figures(whole), "fault": round(whole.fault / whole.count, 4), "incidents": whole.count,
        "kinds": len({kind for each in told.values() for kind in each.kinds}),
        "both_of_two": f"{whole.both} of {whole.pairs}", "ece": round(calibration_error(whole.believed), 4),
        "without_metrics": figures(found["without_metrics"]),
        INNOCENT: {**figures(found[INNOCENT]), "incidents": found[INNOCENT].count},
        "baselines": {name: figures(each) for name, each in others.items()},
    }))  # fmt: skip
    return 0


def diagnosed(
    folder: Path, truth: Told, *, metrics: bool, rolled_out: str = ""
) -> tuple[Incident, offline.Gathered, Diagnosis]:
    """What `kt diagnose` answers to these files. `rolled_out`: ends with the name of a Deployment that was rolled out
    two minutes before the first symptom."""
    ontology, mapping = load_ontology(), LabelMapping.load()
    catalogue = load_catalogue(ontology=ontology)
    piece, _ = snapshot.piece(folder / "topology.json", folder / "changes.json")
    lookup = Index(piece.entities.values()).lookup
    batches = snapshot.batches(folder / "alerts.json")
    alerts = mapping.signals(standing(batches), lookup)
    if rolled_out:
        innocent = _rollout(piece, rolled_out, min(each.starts_at for each in alerts))
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


def _rollout(piece: Subgraph, incident: str, onset: datetime) -> Change:
    deployments = [each for each in piece.entities.values() if each.kind == "Deployment"]
    hit = next((each.id for each in deployments if incident.endswith(f"-{each.name}")), OTHERWISE)
    return Change(entity=hit, at=onset - BEFORE, kind="rollout", detail="pod template changed", id="innocent")


def _miss(truth: Told, answer: Diagnosis) -> None:
    named = [(each.entity, each.fault, round(each.probability, 2)) for each in answer.hypotheses[:3]]
    best = named[0] if named else ("", "", 0.0)
    if not any(best[0] in each.entities and best[1] in each.modes for each in truth.truths):
        print(f"  {truth.incident}: {named}")
