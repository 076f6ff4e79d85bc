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
    assert {resource for _, resource, _ in rights} == followed | {"events", "poddisruptionbudgets"}


def test_acting_is_what_the_actions_of_the_playbooks_declare_and_no_more() -> None:
    for given, names in ((None, rbac.built_in()), (["run-job"], {"run-job"})):
        declared = {
            (group, resource, verb)
            for name in names
            for group, resource, verbs in ACTIONS[name].rules
            for verb in verbs.split()
        }
        roles = [each for each in rbac.acting(given) if each["kind"] == "ClusterRole"]
        assert set().union(*(allowed(role) for role in roles)) == declared


def test_a_playbook_of_ones_own_brings_the_rights_of_its_actions(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\nabout: x\ntargets: [Deployment]\nrisk: high\nsteady_state: [symptoms-gone]\nundo: none\n"
        "steps:\n  - action: run-job\n    parameters: {job: {template: {spec: {containers: [{name: a, image: b}]}}}}\n"
    )
    job = ("batch", "jobs", "create")
    assert job not in allowed(rbac.acting()[0])
    printed = CliRunner().invoke(cli, ["rbac", "--act"], env={"KT_GUARD__PLAYBOOKS": str(tmp_path)})
    assert job in allowed(next(yaml.safe_load_all(printed.output)))


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


def test_secrets_are_listed_only_where_that_was_asked_for_and_never_read_one_by_one() -> None:
    role, binding = rbac.watching_secrets()
    assert allowed(role) == {("", "secrets", "list"), ("", "secrets", "watch")}
    assert [each["name"] for each in binding["subjects"]] == ["kt-beat"]
    printed = CliRunner().invoke(cli, ["rbac", "--secrets"])
    assert list(yaml.safe_load_all(printed.output)) == [role, binding]


def test_only_nodes_may_be_changed_outside_of_a_namespace_that_grants_it() -> None:
    bound = {each["roleRef"]["name"] for each in rbac.acting() + rbac.verifying() if each["kind"].endswith("Binding")}
    assert bound == {"kt-act-nodes"}
    rights = allowed(rbac.acting()[1])
    assert {resource for _, resource, verb in rights if verb not in ("get", "list")} == {"nodes"}


def test_a_namespace_is_granted_by_bindings_of_its_own() -> None:
    printed = CliRunner().invoke(cli, ["rbac", "--namespace", "shop"])
    made = list(yaml.safe_load_all(printed.output))
    assert [(each["kind"], each["metadata"]["namespace"]) for each in made] == [("RoleBinding", "shop")] * 2
    assert [each["roleRef"]["name"] for each in made] == ["kt-act", "kt-verify"]


def test_a_namespace_and_a_part_at_once_are_wrong_use() -> None:
    answer = CliRunner().invoke(cli, ["rbac", "--act", "--namespace", "shop"])
    assert (answer.exit_code, "--namespace prints bindings" in answer.output) == (2, True)
