"""Each single right that actions need, taken away on a real API server that holds KT to what `kt rbac` prints: `kt
doctor` names it. With all of them it finds nothing missing. No nodes are needed: rights are the API server's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kt import checks, rbac
from kt.runtime import Runtime
from kt.sections import Guard, Kubernetes
from kt.settings import Settings
from remediate.actions import ACTIONS
from remediate.guard import OPT_IN
from testbed import Missing
from testbed.kubernetes import alone
from testbed.kubernetes.cluster import Api
from tests.conftest import missing
from tests.contract.clusters import until
from tests.contract.rights import Right, apply, with_subject, without

SPACE = "opted-in"
pytestmark = [pytest.mark.real("control plane"), pytest.mark.xdist_group("rights")]


class Held(NamedTuple):
    """KT, held to its rights, and who may change them."""

    runtime: Runtime
    admin: Api
    roles: dict[str, Any]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    try:
        with alone.running() as plane, Api(plane.kubeconfig("admin")) as admin:
            space = {"name": SPACE, "labels": {OPT_IN: "enabled"}}
            admin.apply(f"/api/v1/namespaces/{SPACE}", {"apiVersion": "v1", "kind": "Namespace", "metadata": space})
            roles = {}
            for each in [*rbac.watching(), *rbac.acting(), *rbac.verifying(), *rbac.granted(SPACE)]:
                if each["kind"] == "ClusterRole":
                    roles[each["metadata"]["name"]] = each
                apply(admin, with_subject(each))
            runtime = _runtime(tmp_path_factory.mktemp("kt"), plane.kubeconfig("kt"))
            until(lambda: checks.rights(runtime).state == "well", "the API server knows the rights")
            yield Held(runtime, admin, roles)
            runtime.close()
    except Missing as error:
        missing(str(error))


def _runtime(folder: Path, kubeconfig: Path) -> Runtime:
    return Runtime(
        Settings(
            data_dir=str(folder), broker_url="memory://", guard=Guard(enabled=True),
            kubernetes=Kubernetes(kubeconfig=str(kubeconfig)),
        )
    )  # fmt: skip


def _says(runtime: Runtime, what: str) -> bool:
    return what in checks.rights(runtime).detail


RIGHTS = sorted(
    {
        (group, resource, verb)
        for action in rbac.built_in()
        for group, resource, verbs in ACTIONS[action].rules
        for verb in verbs.split()
    }
)
"""Those of all actions; several need the same."""


@pytest.mark.parametrize("right", RIGHTS, ids=" ".join)
def test_doctor_names_the_one_right_that_actions_lack(held: Held, right: Right) -> None:
    group, resource, verb = right
    inside = resource not in rbac.OF_THE_CLUSTER
    told = f"{verb} {resource}{f'.{group}' if group else ''}{f' in {SPACE}' if inside else ''}"
    # Watching grants some of the reading a second time, everywhere.
    changed = [role for role in held.roles.values() if without(role, right) != without(role, ("", "", ""))]
    for role in changed:
        apply(held.admin, without(role, right))
    until(partial(_says, held.runtime, told), f"doctor says: {told}")
    found = checks.rights(held.runtime)
    assert found.state == "ill"
    assert "kt rbac" in found.fix
    for role in changed:
        apply(held.admin, role)
    until(lambda: checks.rights(held.runtime).state == "well", "the right is there again")
