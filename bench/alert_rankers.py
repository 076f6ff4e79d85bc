"""Other ways to name a cause from alerts, changes and a topology: what KT is compared with. Entities, best first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import networkx as nx

from graph_schema.model import Signal, Subgraph

N = TypeVar("N", bound=Hashable)
Ranking = Callable[[Subgraph, Sequence[Signal]], list[str]]
SEVERITIES = ("critical", "error", "warning", "info", "none", "")
DAMPING, ROUNDS = 0.85, 60
LATER_S = 300.0
"""How much later than its effect a cause may have been reported (Groot's look-back window is of that order)."""
SEEN_S = 3600.0
"""How long before an alert a change still counts as its cause."""
NEVER_BLAMED = ("ReplicaSet", "Namespace", "Zone")


def earliest(piece: Subgraph, signals: Sequence[Signal]) -> list[str]:
    ordered = sorted(_alerting(piece, signals), key=lambda pair: pair[1].starts_at)
    return list(dict.fromkeys(entity for entity, _ in ordered))


def most_severe(piece: Subgraph, signals: Sequence[Signal]) -> list[str]:
    def order(pair: tuple[str, Signal]) -> tuple[int, object]:
        known = pair[1].severity in SEVERITIES
        return SEVERITIES.index(pair[1].severity) if known else len(SEVERITIES), pair[1].starts_at

    ordered = sorted(_alerting(piece, signals), key=order)
    return list(dict.fromkeys(entity for entity, _ in ordered))


def deepest(piece: Subgraph, signals: Sequence[Signal]) -> list[str]:
    """What alerts and has the fewest alerting things below it."""
    graph = _below(piece)
    alerting = list(dict.fromkeys(entity for entity, _ in _alerting(piece, signals)))
    depth = {each: len(nx.descendants(graph, each) & set(alerting)) if each in graph else 0 for each in alerting}
    return sorted(alerting, key=lambda each: (depth[each], each))


def by_pagerank(piece: Subgraph, signals: Sequence[Signal]) -> list[str]:
    """Personalised PageRank from the alerting things towards what they rest on (after MonitorRank, 2013)."""
    graph = _below(piece)
    weight: dict[str, float] = defaultdict(float)
    for entity, _ in _alerting(piece, signals):
        if entity in graph:
            weight[entity] += 1.0
    if not weight:
        return []
    rank = pagerank({each: list(graph.successors(each)) for each in graph}, weight)
    order = sorted(rank, key=lambda each: (-rank[each], each))
    return [each for each in order if each in piece.entities and piece.entities[each].kind not in NEVER_BLAMED]


def by_groot(piece: Subgraph, signals: Sequence[Signal]) -> list[str]:
    """A walk over events as in Groot (Wang et al., ASE 2021).

    Events are alerts and changes; an edge leads from an event to one that may have caused it: on what its entity rests
    on (one step, or two over something that is silent), or a change of the entity itself or of what it rests on, not
    later than it. PageRank starts everywhere, but rather at events without a cause; what an entity's events got is its
    rank.
    """
    graph = _below(piece)
    owner = _owners(piece)
    events: list[tuple[str, float, bool]] = [
        (entity, each.starts_at.timestamp(), False) for entity, each in _alerting(piece, signals)
    ]
    events += [(owner.get(each.entity, each.entity), each.at.timestamp(), True) for each in piece.changes]
    by_entity: dict[str, list[int]] = defaultdict(list)
    for number, (entity, _, _) in enumerate(events):
        by_entity[entity].append(number)
    causes: dict[int, list[int]] = {}
    for number, (entity, at, changed) in enumerate(events):
        near = set(graph.successors(entity)) if entity in graph else set()
        near |= {after for each in near if each not in by_entity for after in graph.successors(each)}
        found = [] if changed else [other for each in sorted(near) for other in by_entity.get(each, ())]
        found += [] if changed else [other for other in by_entity[entity] if events[other][2]]
        causes[number] = [other for other in found if _may_cause(events[other], at)]
    reached = {number for number, found in causes.items() if found or not events[number][2]}
    reached |= {other for found in causes.values() for other in found}
    if not reached:
        return []
    start = {number: 1.0 if causes[number] else 2.0 for number in sorted(reached)}
    rank = pagerank({number: causes[number] for number in sorted(reached)}, start)
    total: dict[str, float] = defaultdict(float)
    for number, share in rank.items():
        total[events[number][0]] += share
    return sorted(total, key=lambda each: (-total[each], each))


def _may_cause(event: tuple[str, float, bool], effect_at: float) -> bool:
    _, at, changed = event
    return effect_at - SEEN_S <= at <= effect_at if changed else at <= effect_at + LATER_S


def label_prior(kinds: Iterable[str]) -> Ranking:
    """What alerts, was changed or lies below what alerts, by how often its kind was the cause. Looks at the truth."""
    counted = Counter(kinds)

    def ranking(piece: Subgraph, signals: Sequence[Signal]) -> list[str]:
        def frequency(entity: str) -> int:
            kind = piece.entities[entity].kind if entity in piece.entities else entity.split("/")[0]
            return -counted[kind]

        return sorted(near(piece, signals), key=frequency)

    return ranking


def near(piece: Subgraph, signals: Sequence[Signal]) -> list[str]:
    """What alerts, lies below what alerts, or was changed."""
    graph, owner = _below(piece), _owners(piece)
    first = earliest(piece, signals)
    below = [after for each in first if each in graph for after in sorted(graph.successors(each))]
    changed = [owner.get(each.entity, each.entity) for each in piece.changes]
    return list(dict.fromkeys([*first, *below, *reversed(changed)]))


def pagerank(onward: Mapping[N, Sequence[N]], start: Mapping[N, float]) -> dict[N, float]:
    """Power iteration; whoever leads nowhere sends the walker back to the start (networkx' own needs scipy)."""
    total = sum(start.values())
    home = {each: start.get(each, 0.0) / total for each in onward}
    rank = dict(home)
    for _ in range(ROUNDS):
        back = sum(rank[each] for each, after in onward.items() if not after)
        new = {each: (1 - DAMPING + DAMPING * back) * home[each] for each in onward}
        for each, after in onward.items():
            for other in after:
                new[other] += DAMPING * rank[each] / len(after)
        rank = new
    return rank


def _alerting(piece: Subgraph, signals: Sequence[Signal]) -> list[tuple[str, Signal]]:
    """(entity, signal); an alert on a Service or Pod counts for the workload behind it, which is what is asked for."""
    owner = _owners(piece)
    return [(owner.get(each.entity, each.entity), each) for each in signals if each.mapped]


def _owners(piece: Subgraph) -> dict[str, str]:
    above = {each.target: each.source for each in piece.relations if each.kind == "OWNS"}

    def top(entity: str) -> str:
        while entity in above:
            entity = above[entity]
        return entity

    behind = {each.source: top(each.target) for each in piece.relations if each.kind == "SELECTS"}
    return {each: behind.get(each, top(each)) for each in piece.entities}


def _below(piece: Subgraph) -> nx.DiGraph[str]:
    """Edges from a thing to what it rests on, Services and Pods folded into their workloads."""
    owner = _owners(piece)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(owner.values())
    for each in piece.relations:
        source, target = owner.get(each.source, each.source), owner.get(each.target, each.target)
        if each.kind in ("APPLIES_TO", "SCALES", "SECURES"):
            source, target = target, source
        if source != target and each.kind not in ("OWNS", "SELECTS", "CONTAINS"):
            graph.add_edge(source, target)
    return graph


RANKINGS: dict[str, Ranking] = {
    "earliest": earliest,
    "most_severe": most_severe,
    "deepest": deepest,
    "pagerank": by_pagerank,
    "groot": by_groot,
}
