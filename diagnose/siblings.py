"""Pods made from one template, and which of them the cluster's API says are sick.

What is wrong with a revision, a configuration or a load is so for all that were made from it; one that is sick while
those beside it are well has something of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diagnose.wiring import Wiring
from graph_schema.model import Entity

POD = "Pod"


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


def siblings_well(pod: str, wiring: Wiring, entities: Mapping[str, Entity]) -> list[str]:
    """The pods that were made from the same template as a sick one, if all of them are well; nothing of any other."""
    unready, ready = _by_word([part for maker in wiring.owners(pod) for part in wiring.parts(maker)], entities)
    return ready if unready == [pod] else []


def _by_word(parts: Sequence[str], entities: Mapping[str, Entity]) -> tuple[list[str], list[str]]:
    """(pods that are not ready, pods that are)."""
    pods = sorted(part for part in set(parts) if part in entities and entities[part].kind == POD)
    return (
        [each for each in pods if entities[each].properties.get("ready") is False],
        [each for each in pods if entities[each].properties.get("ready") is True],
    )
