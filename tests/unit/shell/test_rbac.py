"""Rights come from what the code declares, and the manifests in the repository are what `kt rbac` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from kt import rbac
from kt.cli import cli
from remediate.actions import ACTIONS
from sense.kubernetes.follower import PATHS

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"


def allowed(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(
    ("file", "options"),
    [("rbac-watch", []), ("rbac-act", ["--act"]), ("rbac-verify", ["--verify"]), ("rbac-chaos", ["--chaos"])],
)
def test_the_manifest_is_what_kt_rbac_prints(file: str, options: list[str]) -> None:
    printed = CliRunner().invoke(cli, ["rbac", *options])
    assert printed.exit_code == 0
    command = " ".join(["kt rbac", *options])
    kept = (FOLDER / f"{file}.yaml").read_text()
    assert kept == printed.output, f"run: {command} > deploy/kubernetes/{file}.yaml"


def test_watching_reads_every_kind_that_is_followed_and_changes_nothing() -> None:
    rights = allowed(rbac.watching()[0])
    assert {verb for _, _, verb in rights} == {"get", "list", "watch"}
    followed = {path.rsplit("/", 1)[1] for path in PATHS.values()}
    assert {resource for _, resource, _ in rights} == followed | {"events"}


def test_acting_is_what_the_actions_declare_and_no_more() -> None:
    declared = {
        (group, resource, verb)
        for action in ACTIONS.values()
        for group, resource, verbs in action.rules
        for verb in verbs.split()
    }
    roles = [each for each in rbac.acting() if each["kind"] == "ClusterRole"]
    assert set().union(*(allowed(role) for role in roles)) == declared


def test_chaos_may_change_every_kind_that_its_actions_know_where_it_is_bound_and_no_secret() -> None:
    (role,) = rbac.attacking()
    rights = allowed(role)
    assert {("apps", "deployments", "patch"), ("networking.k8s.io", "networkpolicies", "create")} <= rights
    assert ("", "pods", "create") in rights
    assert not {resource for _, resource, _ in rights} & {"nodes", "namespaces", "secrets", "*"}
    printed = CliRunner().invoke(cli, ["rbac", "--chaos", "--namespace", "shop"])
    made = list(yaml.safe_load_all(printed.output))
    assert [(each["kind"], each["roleRef"]["name"]) for each in made] == [
        ("RoleBinding", "kt-chaos"), ("RoleBinding", "kt-verify"),
    ]  # fmt: skip


def test_no_secret_is_read_and_no_right_is_a_wildcard() -> None:
    roles = [each for each in [*rbac.watching(), *rbac.acting(), *rbac.verifying()] if each["kind"] == "ClusterRole"]
    for _, resource, verb in set().union(*(allowed(role) for role in roles)):
        assert "*" not in (resource, verb)
        assert not resource.startswith("secrets")


def test_only_nodes_may_be_changed_outside_of_a_namespace_that_grants_it() -> None:
    bound = {each["roleRef"]["name"] for each in rbac.acting() + rbac.verifying() if each["kind"].endswith("Binding")}
    assert bound == {"kt-act-nodes"}
    assert {resource for _, resource, _ in allowed(rbac.acting()[1])} == {"nodes"}


def test_a_namespace_is_granted_by_bindings_of_its_own() -> None:
    printed = CliRunner().invoke(cli, ["rbac", "--namespace", "shop"])
    made = list(yaml.safe_load_all(printed.output))
    assert [(each["kind"], each["metadata"]["namespace"]) for each in made] == [("RoleBinding", "shop")] * 2
    assert [each["roleRef"]["name"] for each in made] == ["kt-act", "kt-verify"]


def test_a_namespace_and_a_part_at_once_are_wrong_use() -> None:
    answer = CliRunner().invoke(cli, ["rbac", "--act", "--namespace", "shop"])
    assert (answer.exit_code, "--namespace prints bindings" in answer.output) == (2, True)
