"""Taking back what was done, at a person's wish: may it be, and is everything still as it was left?"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from remediate.actions import ACTIONS
from remediate.actions.base import Left, Revertible
from remediate.cluster import Cluster, Object
from remediate.guard import Guard
from remediate.plan import Difference, Step
from remediate.rules import Finding

Done = Mapping[str, Step]
"""Id of an action → the step that it did."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to go back to. `differences`: what is not as the actions left it; then nothing is touched."""

    differences: tuple[Difference, ...] = ()
    to_do: tuple[str, ...] = ()
    """Ids of the actions that have something to take back, in the order of taking them back."""
    nothing: tuple[str, ...] = ()
    """Why others have not."""


def look_back(cluster: Cluster, done: Done, kept: Mapping[str, Mapping[str, object]]) -> Look:
    """How the targets stand to what the actions left there. `done`: oldest first; `kept`: id of an action → what it
    gave for its undo. Raises `ClusterError`."""
    found = {action: _left(cluster, step, action, kept.get(action, {})) for action, step in done.items()}
    return Look(
        differences=tuple(each for left in found.values() for each in left.differences),
        to_do=tuple(action for action in reversed(found) if not found[action].undone and not found[action].nothing),
        nothing=tuple(dict.fromkeys(left.nothing for left in found.values() if left.nothing)),
    )


def review_undo(cluster: Cluster, guard: Guard, playbook: str, done: Done) -> list[Finding]:
    """What the guard says of taking these back. That KT acted on the targets just now is no reason against it.

    Raises `ClusterError`, and the store's error when it cannot tell what was done lately."""
    objects: list[Object] = []
    for step in done.values():
        at = step.target
        found = cluster.get(at.kind, at.name, at.namespace)
        if found is not None:
            objects.append({**found, "kind": at.kind})
    findings = guard.review(name_of(playbook), list(done.values()), objects, aside=frozenset(done))
    # An open circuit breaker lets KT only propose: here somebody has said the word, often because of what opened it.
    return [each for each in findings if each.rule != "breaker"]


def name_of(playbook: str) -> str:
    """Under what name taking a playbook back is counted."""
    return f"undo of {playbook}"


def _left(cluster: Cluster, step: Step, action: str, undo: Mapping[str, object]) -> Left:
    what = ACTIONS[step.action]
    return what.left(cluster, step, action, undo) if isinstance(what, Revertible) else Left()
