"""An incident whose remedy lacks one right, on a real API server that holds KT to what `kt rbac` prints: nothing is
done, and the incident says which right, on what, and how it is given. Nodes are played."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from rich.console import Console

from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt import rbac
from kt.incident.events import ActionStarted, AlertsReceived, Approved, Diagnosed, RolledBack
from kt.incident.log import Append
from kt.pipeline.journey import Held, Journey
from kt.pipeline.stages import remediate
from kt.runtime import Runtime
from kt.sections import Approval, Guard, Kubernetes
from kt.settings import Settings
from kt.views.screen import screen
from remediate.cluster import Object
from remediate.plan import Plan
from testbed import Missing
from testbed.kubernetes import alone
from testbed.kubernetes.audit import Write, writes_in
from testbed.kubernetes.cluster import Api
from testbed.kubernetes.kubelets import Kubelets
from tests.conftest import missing
from tests.contract.action_cases import BUSY, CASES, VERSIONS, state
from tests.contract.clusters import TWIN, Place, place_in, until
from tests.contract.rights import Right, apply, with_subject, without
from verify.steady import SymptomCheck

pytestmark = [pytest.mark.real("control plane"), pytest.mark.xdist_group("rights")]
DEPLOYMENTS: Right = ("apps", "deployments", "patch")
EVICTIONS: Right = ("", "pods/eviction", "create")
LACKING: list[tuple[str, str, Right]] = [
    ("scale-out", "scale-out", DEPLOYMENTS),
    ("scale-out", "scale-out", ("autoscaling", "horizontalpodautoscalers", "list")),
    ("rollback", "roll-back", DEPLOYMENTS),
    ("rollback", "roll-back", ("apps", "replicasets", "list")),
    ("rollback", "roll-back-stateful", ("apps", "statefulsets", "patch")),
    ("rollback", "roll-back-daemon", ("apps", "daemonsets", "patch")),
    ("restart", "restart", DEPLOYMENTS),
    ("restart", "restart-pod", EVICTIONS),
    ("terminate-pod", "terminate-pod", ("", "pods", "delete")),
    ("own-invalid", "terminate-invalid", EVICTIONS),
    ("own-busy", "move-busy", EVICTIONS),
    ("own-job", "run-job", ("batch", "jobs", "create")),
    ("pause-rollout", "pause-rollout", DEPLOYMENTS),
    ("resume-rollout", "resume-rollout", DEPLOYMENTS),
    ("raise-hpa-maximum", "raise-hpa-maximum", ("autoscaling", "horizontalpodautoscalers", "patch")),
    ("rollback-config", "restore-config", ("", "configmaps", "patch")),
    ("rollback-config", "restore-config", DEPLOYMENTS),
    ("migrate", "cordon", ("", "nodes", "patch")),
    ("migrate", "cordon", EVICTIONS),
    ("uncordon", "uncordon", ("", "nodes", "patch")),
    ("scale-up", "scale-up", DEPLOYMENTS),
    ("resize-pod", "scale-up-pod", ("", "pods/resize", "patch")),
    ("own-zone", "leave-zone", DEPLOYMENTS),
    ("quarantine", "quarantine", ("networking.k8s.io", "networkpolicies", "create")),
    ("quarantine", "quarantine", ("", "pods", "patch")),
    ("own-clean-up", "clean-up-pods", ("", "pods", "delete")),
    ("expand-volume", "expand-volume", ("", "persistentvolumeclaims", "patch")),
    ("hibernate", "hibernate", DEPLOYMENTS),
    ("wake", "wake", DEPLOYMENTS),
    ("pause-cronjob", "pause-cronjob", ("batch", "cronjobs", "patch")),
    ("resume-cronjob", "resume-cronjob", ("batch", "cronjobs", "patch")),
]
"""Playbook, what brings the cluster to where it fits (`action_cases`), and the right that is taken away."""
FAULT = "Workload.Overload"
JOBS_OWN = {"name": "own", "image": "v1"}
OWN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "own-invalid": ("terminate-invalid", "Deployment", {"policy": {"patience_s": 0.0}}),
    "own-busy": ("move-busy", "Deployment", {"policy": BUSY}),
    "own-clean-up": ("clean-up-pods", "Namespace", {"min_age_s": 0}),
    "own-zone": ("leave-zone", "Deployment", {"zone": "kt-a"}),
    "own-job": ("run-job", "Deployment", {"job": {"template": {"spec": {"containers": [JOBS_OWN]}}}}),
}
"""Playbooks of one's own: action, kind, parameters; for what the built-in ones wait for, or leave to an operator."""


def own_playbooks(folder: Path) -> Path:
    for name, (action, kind, parameters) in OWN.items():
        told = {
            "name": name, "about": "For a test.", "targets": [kind], "risk": "low", "undo": "See the action.",
            "steps": [{"action": action, "parameters": parameters}], "steady_state": ["symptoms-gone"],
        }  # fmt: skip
        (folder / f"{name}.yaml").write_text(json.dumps(told))
    return folder


def _name(part: str | Right) -> str:
    return part if isinstance(part, str) else " ".join(part)


class Plane(NamedTuple):
    of: alone.ControlPlane
    admin: Api
    roles: dict[str, Object]


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    try:
        with (
            alone.running(controllers=True) as of,
            Api(of.kubeconfig("admin")) as admin,
            Kubelets(of.kubeconfig("kubelets"), fails=_no_such_image),
        ):
            roles = {}
            for each in [*rbac.watching(), *rbac.acting(rbac.built_in() | {"run-job"}), *rbac.verifying()]:
                apply(admin, with_subject(each))
                if each["kind"] == "ClusterRole":
                    roles[each["metadata"]["name"]] = each
            yield Plane(of, admin, roles)
    except Missing as error:
        missing(str(error))


def _no_such_image(pod: Object) -> str:
    return "ErrImagePull" if any(each["image"] == TWIN.missing for each in pod["spec"]["containers"]) else ""


@pytest.fixture
def place(plane: Plane) -> Iterator[Place]:
    with place_in(plane.of.kubeconfig("admin"), TWIN, nodes=True) as here:
        for each in rbac.granted(here.namespace):
            apply(plane.admin, with_subject(each))
        yield here


class Desk:
    """KT with its own rights and one playbook, and an incident of which it is thought that this playbook helps."""

    def __init__(self, folder: Path, plane: Plane, playbook: str, approvals: int = 0) -> None:
        self.runtime = Runtime(
            Settings(
                data_dir=str(folder), broker_url="memory://",
                guard=Guard(
                    enabled=True, cooldown_s=0, sibling_delay_s=0, playbooks=str(own_playbooks(folder)),
                    max_share_of_workload=1.0, max_share_of_nodes=1.0,
                ),
                approval=_all(approvals),
                kubernetes=Kubernetes(kubeconfig=str(plane.of.kubeconfig("kt"))),
            )
        )  # fmt: skip
        runtime, fault = self.runtime, self.runtime.catalogue.faults[FAULT]
        remedied = {**runtime.catalogue.faults, FAULT: msgspec.structs.replace(fault, remedies=(playbook,))}
        runtime.catalogue = msgspec.structs.replace(runtime.catalogue, faults=remedied)
        runtime.symptoms = Firing()

    def open(self, entity: str) -> None:
        now = datetime.now(UTC)
        signal = Signal(fingerprint="f", entity=entity, symptom="latency", name="Slow", starts_at=now)
        found = Diagnosis(hypotheses=(Hypothesis(entity=entity, fault=FAULT, probability=0.9),), causes=(0,))
        events = (AlertsReceived(at=now, signals=(signal,)), Diagnosed(at=now, diagnosis=found))
        self.runtime.log.commit([Append(incident="i", expected=0, events=events)])

    def plan(self, entity: str) -> Plan | None:
        self.runtime.cluster._granted.clear()  # a yes of a moment ago is good enough for a plan
        cause = Hypothesis(entity=entity, fault=FAULT, probability=0.9)
        answer = self.runtime.remediator.propose([cause], tried=frozenset())
        if isinstance(answer, Plan):
            return answer
        print(answer.why)  # what a test that fails has to tell
        return None

    @property
    def journey(self) -> Journey:
        return Journey(self.runtime.log, "i")

    def visit(self) -> bool:
        """Whether the incident has ended after one more visit."""
        self.runtime.cluster._granted.clear()
        remediate.run(self.runtime, self.journey, Held(1))
        return self.journey.state.ended

    def shown(self) -> str:
        """What `kt incidents show` shows, without the breaks of its lines."""
        file, journey = io.StringIO(), self.journey
        what = screen(journey.records, journey.state, short="i", now=datetime.now(UTC), about={})
        Console(file=file, width=10_000).print(what)
        return " ".join(file.getvalue().split())


def _all(approvals: int) -> Approval:
    return msgspec.convert(dict.fromkeys(("low", "medium", "high"), approvals), Approval)


class Firing(SymptomCheck):
    """The alert goes on."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")

    def still_firing(self, signals: Any) -> list[str]:
        return [signal.name for signal in signals]


@pytest.fixture
def desk_of(tmp_path: Path, plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Desk]]:
    monkeypatch.setattr("graph_schema.config_versions.kept", lambda *_: VERSIONS)
    desks: list[Desk] = []

    def made(playbook: str, approvals: int = 0) -> Desk:
        desks.append(Desk(tmp_path, plane, playbook, approvals))
        return desks[-1]

    yield made
    for each in desks:
        each.runtime.close()


def entity_of(thing: Object) -> str:
    meta = thing["metadata"]
    return "/".join(filter(None, (thing["kind"], meta.get("namespace", ""), meta["name"])))


class Without:
    """The plane without one right of KT's, for as long as the block runs."""

    def __init__(self, plane: Plane, desk: Desk, right: Right, namespace: str) -> None:
        self._plane, self._desk, self._right, self._space = plane, desk, right, namespace

    def __enter__(self) -> None:
        for role in self._plane.roles.values():
            apply(self._plane.admin, without(role, self._right))
        until(lambda: not self._granted(), f"{' '.join(self._right)} is taken away")

    def __exit__(self, *_: object) -> None:
        for role in self._plane.roles.values():
            apply(self._plane.admin, role)
        until(self._granted, f"{' '.join(self._right)} is there again")

    def _granted(self) -> bool:
        group, resource, verb = self._right
        space = "" if resource in rbac.OF_THE_CLUSTER else self._space
        return self._desk.runtime.cluster.allowed(verb, group, resource, space) is True


def written(plane: Plane, since: datetime) -> list[Write]:
    """What KT changed; asking about rights changes nothing."""
    found = writes_in(plane.of.audit, "kt", since)
    return [each for each in found if each.resource != "selfsubjectaccessreviews"]


@pytest.mark.parametrize(("playbook", "case", "right"), LACKING, ids=_name)
def test_an_incident_says_which_right_its_remedy_lacks_and_how_it_is_given(
    plane: Plane, place: Place, desk_of: Callable[..., Desk], playbook: str, case: str, right: Right
) -> None:
    target, desk = CASES[case].make(place), desk_of(playbook)
    entity = entity_of(target)
    until(lambda: desk.plan(entity), "with all rights there is a plan")
    begun = datetime.now(UTC)
    with Without(plane, desk, right, place.namespace):
        desk.open(entity)
        until(desk.visit, "the incident ends")
    assert desk.journey.state.phase == "escalated"
    shown = desk.shown()
    _, resource, verb = right
    assert verb in shown
    assert resource.partition("/")[0] in shown
    assert "kt rbac --act" in shown
    if resource not in rbac.OF_THE_CLUSTER:
        assert f"kt rbac --namespace {place.namespace}" in shown
    assert not [each for each in desk.journey.records if isinstance(each.event, ActionStarted)]
    assert written(plane, begun) == []


LOST: list[tuple[str, str, Right]] = [
    ("rollback-config", "restore-config", DEPLOYMENTS),
    ("migrate", "cordon", EVICTIONS),
]
"""Playbooks of two steps, and a right that only the second one takes."""


@pytest.mark.parametrize(("playbook", "case", "right"), LOST, ids=_name)
def test_a_right_that_is_lost_between_consent_and_action_leaves_nothing_half_done(
    plane: Plane, place: Place, desk_of: Callable[..., Desk], playbook: str, case: str, right: Right
) -> None:
    target, desk = CASES[case].make(place), desk_of(playbook, approvals=1)
    entity = entity_of(target)
    until(lambda: desk.plan(entity), "with all rights there is a plan")
    desk.open(entity)
    until(lambda: not desk.visit() and desk.journey.state.phase == "awaiting approval", "somebody is asked")
    with Without(plane, desk, right, place.namespace):
        journey = desk.journey
        journey.append(Approved(at=datetime.now(UTC), by="ada", plan_digest=journey.state.digest))
        until(desk.visit, "the incident ends")
    shown = desk.shown()
    assert desk.journey.state.phase == "escalated"
    assert right[2] in shown
    assert right[1].partition("/")[0] in shown
    assert "kt rbac --act" in shown
    undone = [each.event for each in desk.journey.records if isinstance(each.event, RolledBack)]
    assert undone
    assert all(each.ok for each in undone)
    assert state(place.get(target["kind"], target["metadata"]["name"])) == state(target)
