"""What every playbook promises, on the twin and on a real cluster: what the plan shows is what is done, once, however
often the process that does it is killed, and everything goes back.

One story for each: a fault, a plan of it through the guard, then for each step a process that is killed between intent
and effect and one that is killed between effect and record, the next one that goes on, and the undo. On the real
cluster KT does it all with exactly the rights that `kt rbac` prints.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from graph_schema import config_versions
from graph_schema.model import Diagnosis, Hypothesis, Signal, entity_id
from kt import rbac
from kt.incident.consent import Answer
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    AlertsReceived,
    Diagnosed,
    PlanProposed,
    RolledBack,
    UndoDropped,
)
from kt.incident.log import Append
from kt.incident.undoing import ask
from kt.pipeline.journey import Journey
from remediate.actions import ACTIONS
from remediate.actions.base import diff
from remediate.actions.field import ROLLED
from remediate.cluster import Cluster, Object
from remediate.plan import Plan, Target
from remediate.playbook import Playbook, load_playbooks
from remediate.remediator import Remediator
from remediate.rights import lacking
from tests.conftest import Servers
from tests.contract.action_cases import CASES, VERSIONS, Case, changed, marked, plain, seen, state
from tests.contract.clusters import TWIN, Api, Place, until
from tests.contract.mortal import INCIDENT, NOW, Dies, Mortals, runtime_of, visit, writes

PLAYBOOKS = load_playbooks(ACTIONS)
FAULTY = {
    "migrate": "evict-pods", "rollback": "roll-back", "rollback-config": "restore-config", "resize-pod": "scale-up-pod",
}  # fmt: skip
"""Playbook → the case whose cluster it fits, where that has another name."""
VARIANTS = {
    "rollback of a StatefulSet": ("rollback", "roll-back-stateful"),
    "rollback of a DaemonSet": ("rollback", "roll-back-daemon"),
    "restart of a pod": ("restart", "restart-pod"),
}
STORIES = {name: (name, FAULTY.get(name, name)) for name in PLAYBOOKS} | VARIANTS
GOES_BACK = {case.action for case in CASES.values() if case.goes_back}
FAULT = "Workload.Overload"
"""Stands for whatever fault a playbook is a remedy of."""


@pytest.fixture
def place(planted: Place) -> Place:
    return planted


@pytest.fixture(scope="session")
def mortals() -> Iterator[Mortals]:
    one = Mortals()
    yield one
    one.close()


@pytest.fixture
def own(place: Place, servers: Servers) -> str:
    """The kubeconfig of KT: on the real cluster of a user that may there what `kt rbac` prints, and no more."""
    if place.images == TWIN:
        return place.api.kubeconfig
    from tests.e2e.real import grant

    grant(place.namespace)
    kubeconfig = servers("kubernetes")["KT_TEST_KUBECONFIG_OF_KT"]
    cluster = Cluster(Api(kubeconfig).client, 10.0)
    needed = [(group, resource, verb) for group, resource, verbs in rbac.acted(rbac.built_in(), of_the_cluster=False)
              for verb in verbs.split()]  # fmt: skip
    until(lambda: not lacking(cluster, needed, [place.namespace]), "the API server knows the rights")
    return kubeconfig


class Story:
    """A fault in the cluster, the plan of one playbook for it, and those who carry it out."""

    def __init__(self, folder: Path, place: Place, own: str, mortals: Mortals, playbook: Playbook, case: Case) -> None:
        self._folder, self._place, self._own, self._mortals = folder, place, own, mortals
        self.runtime = runtime_of(str(folder), own)
        target = case.make(place)
        for version in VERSIONS:
            config_versions.keep(self.runtime.graph, place.namespace, "web", version)
        self.plan = self._planned(target, _fitted(playbook, case, place))

    def _planned(self, target: Object, playbook: Playbook) -> Plan:
        kind, meta = target["kind"], target["metadata"]
        cause = Hypothesis(
            entity=entity_id(kind, meta["name"], meta.get("namespace", "")), fault=FAULT, probability=0.9
        )
        catalogue, own = self.runtime.catalogue, self.runtime
        remedied = {FAULT: msgspec.structs.replace(catalogue.faults[FAULT], remedies=(playbook.name,))}
        catalogue = msgspec.structs.replace(catalogue, faults=remedied)
        remediator = Remediator(
            own.cluster, {playbook.name: playbook}, catalogue, own.remediator.guard,
            lambda: own.policy().risks, own.clock, functools.partial(config_versions.kept, own.graph),
            own.graph.history,
        )  # fmt: skip
        plan = remediator.propose([cause], tried=frozenset())
        assert isinstance(plan, Plan), plan.why
        alert = Signal(fingerprint="f", entity=cause.entity, symptom="errors", name="A", starts_at=NOW, source="event")
        diagnosis = Diagnosis(hypotheses=(cause,), causes=(0,))
        events = (
            AlertsReceived(at=NOW, signals=(alert,)),
            Diagnosed(at=NOW, diagnosis=diagnosis),
            PlanProposed(at=NOW, plan=plan, approvals_needed=0, expires_at=NOW + timedelta(days=1)),
        )
        own.log.commit([Append(incident=INCIDENT, expected=0, events=events)])
        return plan

    @property
    def journey(self) -> Journey:
        return Journey(self.runtime.log, INCIDENT)

    @property
    def targets(self) -> list[Target]:
        return list({(each.target.kind, each.target.name): each.target for each in self.plan.steps}.values())

    def now(self, target: Target) -> Object | None:
        """None for a pod that is gone or on its way, as its owner has made another."""
        found = self._place.cluster.get(target.kind, target.name, target.namespace)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return None
        return {**found, "kind": target.kind}

    def states(self) -> dict[str, Object | None]:
        found = {target.name: self.now(target) for target in self.targets}
        return {name: thing and state(thing) for name, thing in found.items()}

    def shown(self, target: Target) -> list[str]:
        """What the plan says of an object, line by line."""
        steps = [each for each in self.plan.steps if (each.target.kind, each.target.name) == (target.kind, target.name)]
        return [line for step in steps for line in changed(_first(step.diff))]

    def written(self) -> list[tuple[str, str]]:
        return [(each.method, each.path) for each in writes(self._folder)]

    def killed(self, dies: Dies) -> None:
        code = self._mortals.visit(self._folder, self._own, dies)
        assert code == -signal.SIGKILL, self.journey.records[-1].event

    def goes_on(self, phase: str) -> None:
        until(lambda: visit(self.runtime).state.phase == phase, f"the incident is {phase}")


def _fitted(playbook: Playbook, case: Case, place: Place) -> Playbook:
    """The playbook with what its case needs in this cluster, in this namespace alone."""
    own = {key: value for key, value in case.parameters.items() if key != "config_versions"}
    parameters = {"namespaces": [place.namespace], **own}
    steps = (msgspec.structs.replace(each, parameters={**each.parameters, **parameters}) for each in playbook.steps)
    return msgspec.structs.replace(playbook, steps=tuple(steps))


def test_every_playbook_has_its_story() -> None:
    assert {playbook for playbook, _ in STORIES.values()} == set(PLAYBOOKS)


@pytest.mark.parametrize("name", marked({name: case for name, (_, case) in STORIES.items()}))
def test_what_is_shown_is_done_once_however_often_it_is_killed_and_goes_back(
    place: Place, own: str, tmp_path: Path, mortals: Mortals, name: str
) -> None:
    playbook, case = STORIES[name]
    story = Story(tmp_path, place, own, mortals, PLAYBOOKS[playbook], CASES[case])
    try:
        before = {target.name: story.now(target) for target in story.targets}
        assert story.written() == [], "a plan changes nothing"
        for number, _ in enumerate(story.plan.steps):
            was = story.states(), len(story.written())
            story.killed("before")
            assert (story.states(), len(story.written())) == was
            assert len(_begun(story)) == number + 1, "the intent is in the log"
            story.killed("after")
            assert len(story.written()) == was[1] + 1
        story.goes_on("verifying")
        done = story.written()
        assert len(set(done)) == len(done), "nothing was done a second time"
        assert len(_begun(story)) == len(story.plan.steps)
        assert all(each.event.ok for each in story.journey.records if isinstance(each.event, ActionFinished))
        _is_what_was_shown(story, before)
        _goes_back(story, before)
    finally:
        story.runtime.close()


def _begun(story: Story) -> list[str]:
    return [each.event.action_id for each in story.journey.records if isinstance(each.event, ActionStarted)]


def _is_what_was_shown(story: Story, before: dict[str, Object | None]) -> None:
    for target in story.targets:
        was, is_ = before[target.name], story.now(target)
        shown = [
            line for step in story.plan.steps if step.target.name == target.name for line in changed(_first(step.diff))
        ]
        assert was is not None
        if is_ is not None:
            assert changed(diff(plain(was), plain(is_))) == shown
        else:
            assert (target.kind, shown) == ("Pod", []), "an object that is gone is a pod that was to go"


def _first(text: str) -> str:
    """Of several diffs, one after the other, that of the target: it comes first."""
    return "--- ".join(text.split("\n--- ")[:1])


def _goes_back(story: Story, before: dict[str, Object | None]) -> None:
    """Also when the process that takes it back is killed after it did, before that was in the log."""
    for target in story.targets:
        if target.kind in ROLLED:
            until(lambda target=target: _seen(story, target), "the controller has seen it")  # type: ignore[misc]
    back = {step.target.name for step in story.plan.steps if step.action in GOES_BACK}
    journey = story.journey
    answer = Answer(by="ada", at=NOW, where="here", why="")
    wish = ask(journey.state, answer, needed=0, others_only=False, expires_at=NOW + timedelta(days=1)).event
    assert wish is not None
    journey.append(wish)
    if not back:
        visit(story.runtime)
        assert isinstance(story.journey.records[-1].event, UndoDropped)
        return
    done = len(story.written())
    story.killed("after")
    story.goes_on("undone")
    taken_back = story.written()[done:]
    assert len(set(taken_back)) == len(taken_back), "nothing was taken back a second time"
    assert all(each.event.ok for each in story.journey.records if isinstance(each.event, RolledBack))
    for target in story.targets:
        was = before[target.name]
        if target.name in back and was is not None:
            until(lambda target=target, was=was: _as_before(story, target, was), "the state before")  # type: ignore[misc]


def _seen(story: Story, target: Target) -> bool:
    thing = story.now(target)
    return thing is not None and seen(thing)


def _as_before(story: Story, target: Target, was: Object) -> bool:
    thing = story.now(target)
    return thing is not None and state(thing) == state(was)
