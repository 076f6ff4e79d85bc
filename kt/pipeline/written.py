"""What the containers near an incident wrote around its onset, where `diagnose.logs` asks for it.

Programs say what they lack in words that no metric has: a variable that is not set, a name that is not found. Read are
the pods nearest to what complains; of what is read only troubles are kept, and of those what might be confidential is
masked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import msgspec

from graph_schema.model import Entity, Signal, Subgraph, entity_id
from graph_schema.ontology import Ontology
from kt.pipeline.reading import read
from kt.runtime import Runtime
from remediate.cluster import Cluster, ClusterError
from remediate.granting import granting
from sense.deadline import Deadline
from sense.kubernetes.written import Run, lines, runs
from sense.logs import Collecting, LogRules, Logs, signals, templates
from sense.metrics.evidence import AS_GIVEN

MOST_PODS = 20
"""Pods whose containers are read, the nearest first."""
MOST_RINGS = 6
"""How far from what complains pods are looked for, in relations of any kind."""
MOST_LINES, MOST_BYTES = 1000, 1 << 20
"""Of one run of a container, the newest."""
LOOK_BACK = timedelta(minutes=10)
AT_ONCE = 6
LONGEST_S = 1.0
"""For one container: where a kubelet does not answer, the API server waits."""
FORBIDDEN, ABSENT = 403, (400, 404)
"""Not granted; no such run, or no such pod any more."""


class Written(msgspec.Struct, frozen=True):
    logs: Logs
    warnings: tuple[str, ...] = ()
    """What could not be read."""


def written(
    runtime: Runtime, piece: Subgraph, alerts: Sequence[Signal], first: datetime, deadline: Deadline
) -> Written:
    """The troubles that the pods nearest to these alerts told of. Raises `ClusterError` where pods cannot be read."""
    cluster = Cluster(runtime.api_client, deadline.left(LONGEST_S))
    silent = out_of_reach(piece)
    near = [each for each in nearest(piece, {each.entity for each in alerts}) if each.id not in silent]
    wanted = [run for pod in read(cluster, near[:MOST_PODS], deadline) for run in runs(pod)]
    since = (first - LOOK_BACK).isoformat()
    forbidden: set[str] = set()

    def ask(run: Run) -> str | None:
        """What it wrote; None: nobody can tell."""
        if deadline.over or run.namespace in forbidden:
            return None
        try:
            return cluster.written(
                run.pod, run.namespace, run.container, since=since, most_lines=MOST_LINES, most_bytes=MOST_BYTES,
                previous=run.previous,
            )  # fmt: skip
        except ClusterError as error:
            if error.code in ABSENT:
                return ""
            if error.code == FORBIDDEN:
                forbidden.add(run.namespace)
            return None

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="logs") as pool:
        texts = list(pool.map(ask, wanted))
    return collected(list(zip(wanted, texts, strict=True)), first, runtime.clock(), forbidden)


def collected(
    read_runs: Sequence[tuple[Run, str | None]], first: datetime, until: datetime, forbidden: Collection[str] = ()
) -> Written:
    """The troubles in what runs wrote (None: nobody could tell) until then, `first` being the beginning of the alerts.

    `forbidden`: namespaces in which nothing may be read.
    """
    found, now, onset = Collecting(LogRules.load()), until.timestamp(), first.timestamp()
    silent = flooded = 0
    for run, text in read_runs:
        if text is None:
            silent += run.namespace not in forbidden
            continue
        told = list(lines(text))
        begin = max((first - LOOK_BACK).timestamp(), run.since.timestamp() if run.since else 0.0)
        if len(told) >= MOST_LINES or len(text) >= MOST_BYTES:
            begin = told[0][0] if told else now
            if begin > onset:
                # Nothing is left of the time before: what is usual there is not known.
                flooded += 1
                continue
        entity = entity_id("Pod", run.pod, run.namespace)
        found.watched(entity, begin, now)
        for at, message in told:
            found.line(entity, at, message)
    return Written(found.logs, tuple(_lacking(forbidden, silent, flooded)))


def _lacking(forbidden: Collection[str], silent: int, flooded: int) -> Iterator[str]:
    for namespace in sorted(forbidden):
        grant = granting([namespace], logs=True)
        yield f"diagnosed without the logs of {namespace}: KT may not read them; {grant}"
    if silent:
        yield f"diagnosed without the logs of {silent} containers, which did not come in time"
    if flooded:
        yield f"diagnosed without the logs of {flooded} containers, which wrote so much that none is left from before"


def told(logs: Logs, onset: datetime, piece: Subgraph, ontology: Ontology) -> list[Signal]:
    """What was written more often since the onset, as signals: about the pod, or the workload where most of its pods
    say the same."""
    rules = LogRules.load()
    found = templates(logs, onset.timestamp(), before_s=LOOK_BACK.total_seconds(), after_s=AS_GIVEN.after_s)
    makers = {each.target: each.source for each in piece.relations if each.kind == "OWNS"}
    owners = {pod: owner for pod in logs.spans if (owner := _owner(pod, makers, piece.entities, ontology))}
    pods_of = defaultdict[str, int](int)
    for owner in owners.values():
        pods_of[owner] += 1
    alike = defaultdict[tuple[str, str], list[Signal]](list)
    for each in signals(found, rules):
        alike[owners.get(each.entity, each.entity), each.symptom].append(each)
    return [signal for (owner, _), same in alike.items() for signal in _of_most(owner, same, pods_of[owner])]


def _of_most(owner: str, same: Sequence[Signal], pods: int) -> Sequence[Signal]:
    if len(same) < max(2, pods / 2):
        return same
    surest = max(same, key=lambda each: each.confidence)
    first = min(each.starts_at for each in same)
    digest = min(each.fingerprint for each in same)
    return [msgspec.structs.replace(surest, entity=owner, starts_at=first, fingerprint=digest)]


def _owner(pod: str, makers: Mapping[str, str], entities: Mapping[str, Entity], ontology: Ontology) -> str | None:
    """The workload above a pod."""
    found, above, seen = None, makers.get(pod), {pod}
    while above is not None and above not in seen:
        if above in entities and ontology.workload(entities[above].kind):
            found = above
        seen.add(above)
        above = makers.get(above)
    return found


def nearest(piece: Subgraph, seeds: set[str]) -> list[Entity]:
    """The pods around these entities, those with the fewest relations in between first, then by id."""
    beside = defaultdict[str, set[str]](set)
    for each in piece.relations:
        beside[each.source].add(each.target)
        beside[each.target].add(each.source)
    front, seen, found = sorted(seeds & piece.entities.keys()), set(seeds), list[Entity]()
    for _ in range(MOST_RINGS):
        found += [piece.entities[each] for each in front if piece.entities[each].kind == "Pod"]
        if len(found) >= MOST_PODS:
            break
        front = sorted({other for each in front for other in beside[each]} - seen)
        seen.update(front)
    return found


def out_of_reach(piece: Subgraph) -> set[str]:
    """What runs on nodes that are known not to answer."""
    nodes = (each for each in piece.entities.values() if each.kind == "Node")
    down = {each.id for each in nodes if each.properties.get("ready") is False}
    return {each.source for each in piece.relations if each.kind == "RUNS_ON" and each.target in down}
