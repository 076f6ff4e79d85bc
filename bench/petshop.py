"""Root causes from metrics alone, on the PetShop data set, beside baselines, chance and false alarms on quiet time.

Nothing is learned. The constants of the method were chosen on low_traffic; CONFIGURATIONS lists every variant that was
tried, all of them measured again here. No rule knows kinds or names of nodes. Ties are broken by names.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from bench import rankers
from bench.circa import SEPARATOR, by_circa, graph
from bench.petshop_data import SCENARIOS, Issue, Scenario, folder, load, quiet_windows
from diagnose.attribution import without_catalogue
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Burden, Diagnosis, Entity, Signal, Subgraph
from graph_schema.ontology import load_ontology
from kt.offline import Gathered, judge
from sense.files import moment
from sense.metrics.evidence import SURE, Found, look
from sense.metrics.onset import Onset
from sense.metrics.rules import MetricRules
from sense.metrics.series import Floats, Table, at_times

RULES = MetricRules.load()
QUIET = 100
"""Quiet samples that the packages are given before the issue."""
STEP_S = 300.0
ASKED, LATE, ANSWERED = "requests_sum", "latency_average", "availability_average"


class Configuration(msgspec.Struct, frozen=True):
    name: str
    alert: bool = True
    """Whether the method is told what alerted and when."""
    searched: bool = True
    """Whether the onset is searched before the alert, or taken to be the alert."""
    quiet: bool = True
    requests: bool = True
    certainty: bool = True
    """Whether burdens are weighed by how surely they changed."""


FINAL = Configuration("final: onset searched before the alert, quiet time as unit")
CONFIGURATIONS = (
    FINAL,
    Configuration("first tried: onset = alert", searched=False),
    Configuration("without quiet time", quiet=False),
    Configuration("without numbers of requests", requests=False),
    Configuration("burdens not weighed by certainty", certainty=False),
    Configuration("without the alert", alert=False),
)


class Outcome(msgspec.Struct, frozen=True):
    rank: int
    """Of the true cause, from 0; a large number when it is not listed."""
    named: bool
    """Whether the first was named as the cause, rather than only listed."""


def ask(
    scenario: Scenario, table: Table, quiet: Table, how: Configuration, alerted: tuple[str, str], at: float
) -> tuple[Found, Diagnosis]:
    if not how.requests:
        table, quiet = _without_requests(table), _without_requests(quiet)
    showing = [alerted] if how.alert else []
    found = look(
        table,
        quiet if how.quiet else {},
        RULES,
        alerted=showing,
        alerted_at=at if how.alert and how.searched else None,
        at=Onset(at=at) if how.alert and not how.searched else None,
    )
    burdens: Sequence[Burden] = found.burdens
    if not how.certainty:
        burdens = [msgspec.structs.replace(each, strength=1.0) for each in burdens]
    return found, without_catalogue(burdens, scenario.calls, showing)


def _without_requests(table: Table) -> Table:
    return {
        node: {name: of for name, of in metrics.items() if not name.startswith("requests")}
        for node, metrics in table.items()
    }


def outcome(ranking: Iterable[str], cause: str, *, named: bool = True) -> Outcome:
    nodes = list(dict.fromkeys(ranking))
    return Outcome(nodes.index(cause) if cause in nodes else 1 << 30, named)


def measure(scenario: Scenario, how: Configuration) -> list[Outcome]:
    found = []
    for issue in scenario.issues:
        _, answer = ask(scenario, issue.table, scenario.quiet, how, (issue.alerted, issue.symptom), issue.alerted_at)
        nodes = [each.entity for each in answer.hypotheses]
        found.append(outcome(nodes, issue.cause, named=bool(answer.causes)))
    return found


def with_catalogue(scenario: Scenario) -> list[Outcome]:
    """As `kt diagnose` answers: the balance re-ranks what graph and catalogue say. Every node counts as a Service."""
    ontology = load_ontology()
    catalogue = load_catalogue(ontology=ontology)
    outcomes = []
    for issue in scenario.issues:
        alerted = (issue.alerted, issue.symptom)
        found, _ = ask(scenario, issue.table, scenario.quiet, FINAL, alerted, issue.alerted_at)
        nodes = {*issue.table, *(end for each in scenario.calls for end in (each.source, each.target))}
        entities = {node: Entity(id=node, kind="Service", name=node) for node in sorted(nodes)}
        alert = Signal(
            fingerprint="alert", entity=issue.alerted, symptom=issue.symptom, name="alert",
            starts_at=moment(issue.alerted_at),
        )  # fmt: skip
        news = [each for each in found.signals if (each.entity, each.symptom) != alerted]
        gathered = Gathered(
            piece=Subgraph(entities, tuple(scenario.calls)), alerts=(alert,), signals=(alert, *news),
            burdens=found.burdens, onset=found.onset,
        )  # fmt: skip
        answer = judge(gathered, catalogue, ontology, now=moment(found.onset or issue.alerted_at))
        ranking = [each.entity for each in answer.hypotheses]
        outcomes.append(outcome(ranking, issue.cause, named=bool(answer.causes)))
    return outcomes


def baselines(scenarios: Sequence[Scenario]) -> dict[str, list[Outcome] | str]:
    """Every ranking is given the same onset, burdens and graph as KT."""
    prior = rankers.by_label(issue.cause for scenario in scenarios for issue in scenario.issues)
    results: dict[str, list[Outcome]] = {name: [] for name in ("label prior", "biggest", "earliest", "random walk")}
    frames: list[dict[str, object]] = []
    graphs: list[dict[str, object]] = []
    for scenario in scenarios:
        for issue in scenario.issues:
            alerted = (issue.alerted, issue.symptom)
            found, _ = ask(scenario, issue.table, scenario.quiet, FINAL, alerted, issue.alerted_at)
            burdens = [each for each in found.burdens if each.symptom == issue.symptom]
            changes = [each for each in found.changes if each.symptom == issue.symptom and each.strength >= SURE]
            for name, ranking in (
                ("label prior", prior),
                ("biggest", rankers.by_deviation(burdens)),
                ("earliest", rankers.by_time(changes)),
                ("random walk", rankers.by_random_walk(burdens, scenario.calls, issue.alerted)),
            ):
                results[name].append(outcome(ranking, issue.cause))
            frames.append(_frame(scenario, issue, found))
            graphs.append(_graph(scenario, issue, found))
    issues = [issue for scenario in scenarios for issue in scenario.issues]
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as home:
        answers = {"BARO": rankers.by_baro(frames), "CIRCA": by_circa(graphs, Path(home))}
    compared: dict[str, list[Outcome] | str] = {**results}
    for name, ranks in answers.items():
        compared[name] = ranks if isinstance(ranks, str) else [
            outcome([column.partition(SEPARATOR)[0] for column in ranking], issue.cause)
            for ranking, issue in zip(ranks, issues, strict=True)
        ]  # fmt: skip
    return compared


def _frame(scenario: Scenario, issue: Issue, found: Found) -> dict[str, object]:
    """The alerted metric of every node, so that up is bad: the last quiet samples, then the issue."""
    metric = LATE if issue.symptom == "latency" else ANSWERED
    return {"columns": dict(_columns(scenario, issue, metric)), "normal": QUIET + _began(issue, found)}


def _graph(scenario: Scenario, issue: Issue, found: Found) -> dict[str, object]:
    """The numbers of requests, waiting and failing of every node, and which of these move which, for CIRCA."""
    columns = {
        f"{node}{SEPARATOR}{metric}": values
        for metric in (ASKED, LATE, ANSWERED)
        for node, values in _columns(scenario, issue, metric)
        if len(set(values)) > 1
    }
    calls = [(each.source, each.target) for each in scenario.calls]
    edges = graph(
        columns, calls, traffic=(ASKED,), within=((ASKED, LATE), (LATE, ANSWERED)), back=(LATE, ANSWERED)
    )  # fmt: skip
    return {"columns": columns, "normal": QUIET + _began(issue, found), "edges": edges, "step_s": STEP_S}


def _columns(scenario: Scenario, issue: Issue, metric: str) -> Iterator[tuple[str, list[float]]]:
    """Of every node that has both the last quiet samples and those of the issue, up being bad."""
    sign = -1.0 if metric == ANSWERED else 1.0
    times = _times(issue)
    for node, metrics in sorted(issue.table.items()):
        now, before = metrics.get(metric), scenario.quiet.get(node, {}).get(metric)
        if now is None or before is None or len(before.values) < QUIET:
            continue
        usual = float(np.median(before.values))
        later = np.nan_to_num(at_times(times, now), nan=usual)
        yield node, [sign * float(value) for value in (*before.values[-QUIET:], *later)]


def _times(issue: Issue) -> Floats:
    return issue.table[issue.alerted][LATE if issue.symptom == "latency" else ANSWERED].times


def _began(issue: Issue, found: Found) -> int:
    return int(np.searchsorted(_times(issue), found.onset or issue.alerted_at))


def false_alarms(scenario: Scenario) -> tuple[dict[str, float], dict[str, float]]:
    """(share of quiet windows in which a cause is named; share of quiet series whose change is sure), by kind."""
    named: dict[str, list[bool]] = {"latency": [], "errors": [], "no alert": []}
    sure: dict[str, list[bool]] = {}
    entry = scenario.issues[0].alerted
    for window, rest, at in quiet_windows(scenario):
        for symptom in ("latency", "errors"):
            found, answer = ask(scenario, window, rest, FINAL, (entry, symptom), at)
            named[symptom].append(bool(answer.causes))
        for change in _all_changes(found, window):
            sure.setdefault(change[0], []).append(change[1])
        blind = msgspec.structs.replace(FINAL, alert=False)
        named["no alert"].append(bool(ask(scenario, window, rest, blind, (entry, ""), at)[1].causes))
    return _shares(named), _shares(sure)


def _shares(of: dict[str, list[bool]]) -> dict[str, float]:
    return {name: round(sum(values) / len(values), 4) for name, values in sorted(of.items())}


def _all_changes(found: Found, window: Table) -> list[tuple[str, bool]]:
    strength = {(each.entity, each.metric): each.strength for each in found.changes}
    return [
        (meaning.symptom, strength.get((node, metric), 0.0) >= SURE)
        for node, metrics in window.items()
        for metric, of in metrics.items()
        if len(of.times) > 1 and (meaning := RULES.meaning(metric)) is not None
    ]


def top(outcomes: Sequence[Outcome], within: int) -> float:
    return round(sum(each.rank < within for each in outcomes) / len(outcomes), 3)


def named_right(outcomes: Sequence[Outcome]) -> float:
    return round(sum(each.rank == 0 and each.named for each in outcomes) / len(outcomes), 3)


def row(name: str, parts: Sequence[Sequence[Outcome]]) -> str:
    everything = [each for part in parts for each in part]
    cells = [f"{top(part, 1):.3f}/{top(part, 3):.3f}" for part in (*parts, everything)]
    return f"{name:58}" + "".join(f"{cell:>14}" for cell in cells) + f"{named_right(everything):>14.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="Folder of the data set; else KT_PETSHOP.")
    path = folder(parser.parse_args().data)
    scenarios = [load(path, name) for name in SCENARIOS]
    issues = [issue for scenario in scenarios for issue in scenario.issues]
    print(f"{len(issues)} issues of {' and '.join(SCENARIOS)}; top-1/top-3, then top-1 where the cause was also named")
    print(f"{'':58}" + "".join(f"{name:>14}" for name in (*SCENARIOS, "both", "named right")))
    begun = time.process_time()
    results = {how.name: [measure(scenario, how) for scenario in scenarios] for how in CONFIGURATIONS[:1]}
    per_incident = (time.process_time() - begun) / len(issues)
    results |= {how.name: [measure(scenario, how) for scenario in scenarios] for how in CONFIGURATIONS[1:]}
    for name, parts in results.items():
        print(row(name, parts))
    by_catalogue = [with_catalogue(scenario) for scenario in scenarios]
    print(row("final, re-ranking fault modes of the catalogue", by_catalogue))
    for symptom in ("latency", "errors"):
        parts = [
            [each for each, issue in zip(part, scenario.issues, strict=True) if issue.symptom == symptom]
            for part, scenario in zip(results[FINAL.name], scenarios, strict=True)
        ]
        print(row(f"final, {symptom} only", parts))
    compared = baselines(scenarios)
    for name, outcomes in compared.items():
        if isinstance(outcomes, str):
            print(f"{name}: did not run: {outcomes}")
            continue
        first = len(scenarios[0].issues)
        print(row(f"baseline: {name}", [outcomes[:first], outcomes[first:]]))
    nodes = float(np.mean([len(issue.table) for issue in issues]))
    print(f"chance: {1 / nodes:.3f}/{3 / nodes:.3f}")
    alarms = {scenario.name: false_alarms(scenario) for scenario in scenarios}
    for name, (named, sure) in alarms.items():
        print(f"{name}: quiet windows in which a cause is named, had this alerted: {named}")
        print(f"  quiet series that are held to have changed surely: {sure}")
    final = [each for part in results[FINAL.name] for each in part]
    told = [named for named, _ in alarms.values()]
    figures = {
        "top1": top(final, 1),
        "top3": top(final, 3),
        "top1_with_catalogue": top([each for part in by_catalogue for each in part], 1),
        "false_alarms": round(float(np.mean([each[kind] for each in told for kind in ("latency", "errors")])), 4),
        "false_alarms_without_alert": round(float(np.mean([each["no alert"] for each in told])), 4),
        "named_right": named_right(final),
        **{
            f"top1_{scenario.name}": top(part, 1) for scenario, part in zip(scenarios, results[FINAL.name], strict=True)
        },
        **{
            f"top3_{scenario.name}": top(part, 3) for scenario, part in zip(scenarios, results[FINAL.name], strict=True)
        },
        "baselines": {name: top(each, 1) for name, each in compared.items() if not isinstance(each, str)},
        "issues": len(issues),
        "cpu_ms_per_incident": round(1000 * per_incident, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
