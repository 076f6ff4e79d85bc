"""Pods made from one template, and which of them the cluster's API says are sick.

What is wrong with a revision, a configuration or a load is so for all that were made from it; one that is sick while
those beside it are well has something of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from diagnose.wiring import Wiring
from graph_schema.model import Entity, Subgraph

POD = "Pod"
OOM_KILLED = "OOMKilled"
SICK_ALONE = "sick_alone"
"""Property of a pod that runs and is not ready, with nothing to say why, when all others of its template are well."""
OOM_OF_SEVERAL = "oom_of_several"
"""Property of a node where containers of several workloads were ended for want of memory: one alone may have too low a
limit."""
COMPARED = frozenset({SICK_ALONE, OOM_OF_SEVERAL})
FEWEST = 2
"""Workloads."""
REASONS = frozenset({"waiting", "terminated", "init_failed", "unschedulable", "reason", "terminating"})
"""Properties that say why a pod is not ready."""


def told_apart(owner: str, wiring: Wiring, entities: Mapping[str, Entity]) -> tuple[list[str], list[str]]:
    """(sick pods, those of the same templates that are well), by their own word, of all that this owns.

    A template is one of its revisions, or it has but one; those whose pods are all alike are left out.
    """
    sick: list[str] = []
    well: list[str] = []
    for maker in (owner, *wiring.parts(owner)):
        unready, ready = _by_word(wiring.parts(maker), entities)
        if unready and ready:
            sick += unready
            well += ready
    return sick, well


def with_comparisons(piece: Subgraph, stated: Iterable[Entity] | None = None) -> Subgraph:
    """The piece in which things know what only a look at several pods tells: `SICK_ALONE` and `OOM_OF_SEVERAL`.

    `stated`: its entities that have properties, where they are known already.
    """
    pods = [each for each in (piece.entities.values() if stated is None else stated) if each.kind == POD]
    hung = {each.id for each in pods if _hangs(each.properties)}
    killed = {each.id for each in pods if each.properties.get("terminated") == OOM_KILLED}
    if not hung and len(killed) < FEWEST:
        return piece
    makers: dict[str, str] = {}
    made: dict[str, list[str]] = defaultdict(list)
    for each in piece.relations:
        if each.kind == "OWNS":
            makers[each.target] = each.source
            made[each.source].append(each.target)
    found: dict[str, str] = {}
    for pod in hung & makers.keys():
        unready, ready = _by_word(made[makers[pod]], piece.entities)
        if unready == [pod] and ready:
            found[pod] = SICK_ALONE
    ended: dict[str, set[str]] = defaultdict(set)
    for each in piece.relations:
        if each.kind == "RUNS_ON" and each.source in killed:
            ended[each.target].add(makers.get(each.source, each.source))
    found |= {node: OOM_OF_SEVERAL for node, of in ended.items() if len(of) >= FEWEST}
    entities = dict(piece.entities)
    for name, told in found.items():
        entities[name] = msgspec.structs.replace(entities[name], properties={**entities[name].properties, told: True})
    return msgspec.structs.replace(piece, entities=entities)


def _hangs(states: Mapping[str, Any]) -> bool:
    return states.get("phase") == "Running" and states.get("ready") is False and not REASONS & states.keys()


def _by_word(parts: Sequence[str], entities: Mapping[str, Entity]) -> tuple[list[str], list[str]]:
    """(pods that are not ready, pods that are)."""
    pods = sorted(part for part in set(parts) if part in entities and entities[part].kind == POD)
    return (
        [each for each in pods if entities[each].properties.get("ready") is False],
        [each for each in pods if entities[each].properties.get("ready") is True],
    )
