"""One incident as KT and the other rankings answer it: rows of figures."""

from __future__ import annotations

import csv
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.alert_rankers import RANKINGS, near
from bench.fleet.incident import Told, moment
from bench.fleet.noise import Noise, hear
from graph_schema.catalogue import Catalogue, load_catalogue
from graph_schema.model import Diagnosis, Relation, Signal, Subgraph
from graph_schema.ontology import Ontology, load_ontology
from graph_schema.stores.held import Held
from graph_schema.walk import ended
from kt.offline import Files, Gathered, gather, judge
from sense.alertmanager import parse
from sense.index import Index
from sense.mapping import LabelMapping

NOWHERE = 0
HOPS = 6
"""As the settings have it (`diagnose.hops`)."""
LIMIT = 20_000
"""As the stores have it."""
NEAR = 60


class Row(msgspec.Struct):
    services: int
    seed: int
    noise: str
    kinds: list[str]
    ranks: dict[str, int]
    """Ranking → place of the first right entity, from 1; 0: it is not in it."""
    fault: bool
    said: float
    """The probability of what KT names first."""
    both: bool | None
    """Of two faults: whether both are among KT's first three."""
    near: list[tuple[str, bool]]
    """(kind, whether right) of what is near the alerts, for the label prior."""
    blamed: list[str]
    """The kinds of the true entities."""
    alerts: int
    silent: int
    first: tuple[str, str]
    """What KT names first."""
    ms: float
    """Processor time of the walk and the diagnosis."""


class Judge:
    def __init__(self) -> None:
        self.ontology: Ontology = load_ontology()
        self.catalogue: Catalogue = load_catalogue(ontology=self.ontology)
        self.mapping = LabelMapping.load()

    def case(self, told: Told, noise: Noise) -> tuple[Subgraph, list[Signal], frozenset[str]]:
        """The neighbourhood of the alerts as the pipeline takes it, the alerts, the symptoms that rules watch for."""
        heard = hear(told, noise)
        body = json.dumps({"version": "4", "alerts": heard.alerts}).encode()
        signals = self.mapping.signals(parse(body).alerts, Index(told.entities.values()).lookup)
        held = Held(self.ontology.fault_from)
        for name in told.entities:
            held.put(name, b"{}")
        for each in heard.relations:
            held.relate(each.source, each.kind, each.target)
        seeds = sorted({each.entity for each in signals if each.mapped})
        numbers = held.walk(seeds, HOPS, LIMIT)
        ids = held.names(numbers)
        inside = set(ids)
        once = {each: each.target if each.target not in told.entities else each.source for each in told.ended
                if each.source in inside or each.target in inside}  # fmt: skip
        beside = inside | set(once.values())
        changes = tuple(each for each in told.changes if each.entity in beside)
        sources, targets, kinds = held.relations_among(numbers)
        relations = map(Relation, map(ids.__getitem__, sources), map(ids.__getitem__, targets), kinds)
        piece = Subgraph({each: told.entities[each] for each in ids}, tuple(relations), changes, ended(once, changes))
        watched = frozenset(self.mapping.meaning(name, labels).symptom for name, labels in told.rules)
        return piece, signals, watched

    def rows(self, told: Told, noises: dict[str, Noise], *, metrics: bool = False) -> list[Row]:
        return [self._row(told, name, noise, metrics=metrics and name == "usual") for name, noise in noises.items()]

    def _row(self, told: Told, name: str, noise: Noise, *, metrics: bool) -> Row:
        began = time.process_time()
        piece, signals, watched = self.case(told, noise)
        gathered = Gathered(piece=piece, alerts=tuple(signals), signals=tuple(signals), watched=watched)
        answer = self._asked(gathered)
        spent = 1000 * (time.process_time() - began)
        ranked = [each.entity for each in answer.hypotheses]
        ranks = {"kt": place(told, ranked)}
        ranks |= {key: place(told, ranking(piece, signals)) for key, ranking in RANKINGS.items()}
        if metrics:
            ranks["kt_metrics"] = place(
                told, [each.entity for each in self.with_metrics(told, piece, signals, watched).hypotheses]
            )
        best = answer.hypotheses[0] if answer.hypotheses else None
        right = best is not None and any(
            best.entity in each.entities and best.fault in each.modes for each in told.faults
        )
        two = (
            all(any(one in each.entities for one in ranked[:3]) for each in told.faults)
            if len(told.faults) > 1
            else None
        )
        beside = [(each.split("/")[0], right_one(told, each)) for each in near(piece, signals)[:NEAR]]
        return Row(
            told.services, told.seed, name, [each.kind for each in told.faults], ranks, right,
            best.probability if best else 0.0, two, beside, [each.entities[0].split("/")[0] for each in told.faults],
            len(signals), told.silent, (best.entity, best.fault) if best else ("", ""), round(spent, 1),
        )  # fmt: skip

    def _asked(self, gathered: Gathered) -> Diagnosis:
        now = min(each.starts_at for each in gathered.alerts)
        return judge(gathered, self.catalogue, self.ontology, now=now)

    def with_metrics(self, told: Told, piece: Subgraph, signals: list[Signal], watched: frozenset[str]) -> Diagnosis:
        """The same with the series of the services near, by the file that `kt diagnose --metrics` takes."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "metrics.csv"
            with path.open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(("timestamp", "entity", "metric", "value"))
                for entity, metric, at, value in samples(told, piece):
                    rows.writerow((f"{at:.0f}", entity, metric, f"{value:.5g}"))
            gathered = gather(Files(metrics=path), piece, signals, self.mapping, Index(piece.entities.values()).lookup)
        gathered = msgspec.structs.replace(gathered, watched=watched)
        now = moment(told.began) if gathered.onset is None else moment(gathered.onset - moment(0).timestamp())
        return judge(gathered, self.catalogue, self.ontology, now=now)


def samples(told: Told, piece: Subgraph) -> list[tuple[str, str, float, float]]:
    """(entity, metric, seconds since 1970, value) of the services in the piece."""
    return [
        (entity, metric, at, value)
        for entity, metrics in sorted(told.series.items())
        if entity in piece.entities
        for metric, values in metrics.items()
        for at, value in values
    ]


def right_one(told: Told, entity: str) -> bool:
    return any(entity in each.entities for each in told.faults)


def place(told: Told, ranked: Sequence[str]) -> int:
    """From 1; `NOWHERE` when no right entity is in it."""
    return next((number for number, each in enumerate(ranked, 1) if right_one(told, each)), NOWHERE)
