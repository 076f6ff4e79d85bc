"""One right less than an action needs is told by its name when the plan is made, before anything is done: also what is
needed only to go back. On the twin, which holds KT to rights as an API server does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remediate.actions import ACTIONS, CannotAct
from remediate.cluster import ClusterError
from tests.contract.action_cases import CASES, MARK, Case
from tests.contract.clusters import TWIN, Place, place_in
from tests.contract.mortal import REVIEWS
from tests.e2e.gate import Right, read
from twin.server import Twin

READS = ("get", "list", "watch")


@pytest.fixture
def place(the_twin: Twin) -> Iterator[Place]:
    with place_in(str(the_twin.kubeconfig), TWIN, nodes=True) as here:
        yield here
        the_twin.cluster.denied.clear()


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_missing_right_is_told_before_anything_is_done(place: Place, the_twin: Twin, name: str) -> None:
    case = CASES[name]
    target = case.make(place)
    parameters = {"namespaces": [place.namespace], **case.parameters, **(case.of_place(place) if case.of_place else {})}

    def told() -> str:
        try:
            return ACTIONS[case.action].prepare(place.cluster, target, parameters).summary
        except (CannotAct, ClusterError) as error:
            return str(error)

    named = set()
    for right in writes(case):
        group, resource, verb = right
        space = "" if resource == "nodes" else place.namespace
        the_twin.cluster.denied = {(space, group, resource, verb)}
        place.cluster._granted.clear()  # what was granted a moment ago is good enough for a plan
        said = told()
        if verb in said and resource in said and ("forbidden" in said or "lacks rights" in said):
            named.add(right)
        the_twin.cluster.denied = set()
    needed = {right for right in used(place, case, target, parameters) if right[2] not in READS}
    assert needed <= named, f"not told beforehand: {sorted(needed - named)}"


def writes(case: Case) -> list[Right]:
    return [
        (group, resource, verb)
        for group, resource, verbs in ACTIONS[case.action].rules
        for verb in verbs.split()
        if verb not in READS
    ]


def used(place: Place, case: Case, target: dict[str, Any], parameters: dict[str, Any]) -> set[Right]:
    """The rights by which it is done and taken back."""
    found: set[Right] = set()
    ask: Callable[..., Any] = place.cluster._ask

    def asked(method: str, path: str, **how: Any) -> Any:
        if (right := read(path, method, "")) and not path.endswith(REVIEWS):
            found.add(right[1])
        return ask(method, path, **how)

    place.cluster._ask = asked  # type: ignore[method-assign]
    action = ACTIONS[case.action]
    step = action.prepare(place.cluster, target, parameters)
    outcome = action.apply(place.cluster, step, MARK)
    assert outcome.ok, outcome.detail
    assert action.undo(place.cluster, step, MARK.action, outcome.undo).ok
    return found
