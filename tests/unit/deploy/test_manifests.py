"""deploy/kubernetes: whole, hardened, and consistent with the image and the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kt.settings import load

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
THINGS: list[dict[str, Any]] = [
    thing
    for file in sorted(FOLDER.glob("*.yaml"))
    if file.name != "kustomization.yaml"
    for thing in yaml.safe_load_all(file.read_text())
]
BY_NAME = {f"{thing['kind']}/{thing['metadata']['name']}": thing for thing in THINGS}
WORKLOADS = [thing for thing in THINGS if thing["kind"] in ("Deployment", "StatefulSet")]
OURS = ["web", "worker", "beat"]


def pod(thing: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = thing["spec"]["template"]["spec"]
    return found


def ours(component: str) -> dict[str, Any]:
    return BY_NAME[f"Deployment/kt-{component}"]


def container(component: str) -> dict[str, Any]:
    found: dict[str, Any] = pod(ours(component))["containers"][0]
    return found


def test_the_kustomization_leaves_out_the_secret_the_stores_and_the_rights_to_act() -> None:
    files = set(yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"])
    rights = {"rbac-act.yaml", "rbac-verify.yaml", "rbac-chaos.yaml"}
    left_out = {"kustomization.yaml", "secret.example.yaml", "stores.yaml", *rights}
    assert files == {file.name for file in FOLDER.glob("*.yaml")} - left_out


def test_the_secret_holds_no_value_and_every_key_that_is_read() -> None:
    keys = BY_NAME["Secret/kt"]["stringData"]
    assert set(keys.values()) == {""}
    read = {item["key"] for each in WORKLOADS for volume in pod(each)["volumes"] for item in _items(volume)}
    assert read == set(keys)


def _items(volume: dict[str, Any]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = volume.get("secret", {}).get("items", [])
    return found


@pytest.mark.parametrize("thing", WORKLOADS, ids=lambda thing: thing["metadata"]["name"])
def test_every_pod_is_held_tightly(thing: dict[str, Any]) -> None:
    spec = pod(thing)
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert thing["kind"] == "Deployment" or thing["metadata"]["name"] == "neo4j"
    for each in spec["containers"]:
        own = each["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own.get("readOnlyRootFilesystem", False) is (each["name"] != "neo4j")
        assert "memory" in each["resources"]["limits"]
        assert {"readinessProbe", "livenessProbe"} <= set(each)
        assert re.search(r":v?\d+\.\d+\.\d+", each["image"])


@pytest.mark.parametrize("thing", WORKLOADS, ids=lambda thing: thing["metadata"]["name"])
def test_selectors_find_their_pods_and_mounts_their_volumes(thing: dict[str, Any]) -> None:
    labels = thing["spec"]["template"]["metadata"]["labels"]
    assert thing["spec"]["selector"]["matchLabels"].items() <= labels.items()
    volumes = {volume["name"] for volume in pod(thing)["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in thing["spec"].get("volumeClaimTemplates", [])}
    mounts = {mount["name"] for each in pod(thing)["containers"] for mount in each["volumeMounts"]}
    assert mounts == volumes


@pytest.mark.parametrize("component", OURS)
def test_pods_run_as_the_user_of_the_image_with_an_account_of_their_own(component: str) -> None:
    assert f"USER {pod(ours(component))['securityContext']['runAsUser']}:10001" in (ROOT / "Dockerfile").read_text()
    account = BY_NAME[f"ServiceAccount/{pod(ours(component))['serviceAccountName']}"]
    assert account["metadata"]["name"] == f"kt-{component}"
    # The web process talks to no cluster.
    assert pod(ours(component))["automountServiceAccountToken"] is (component != "web")


@pytest.mark.parametrize("component", OURS)
def test_a_service_beside_kt_cannot_become_one_of_its_settings(component: str) -> None:
    """Kubernetes tells pods of Services by variables such as KT_WEB_PORT, which would be an unknown setting."""
    assert pod(ours(component))["enableServiceLinks"] is False


@pytest.mark.parametrize("component", OURS)
def test_it_is_asked_for_its_health_where_it_listens(component: str) -> None:
    one = container(component)
    port = one["ports"][0]["containerPort"]
    if component == "web":
        assert port == 8650
    else:
        assert one["args"] == [component, "--listen", f"0.0.0.0:{port}"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert one[probe]["httpGet"]["port"] == one["ports"][0]["name"]


@pytest.mark.parametrize("component", OURS)
def test_kt_takes_its_settings_and_secrets_as_they_are_mounted(tmp_path: Path, component: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "config" / "kt.toml").write_text(BY_NAME["ConfigMap/kt"]["data"]["kt.toml"])
    volume = next(each for each in pod(ours(component))["volumes"] if each["name"] == "secrets")
    for item in volume["secret"]["items"]:
        (tmp_path / "secrets" / item["path"]).write_text(f"the {item['key']}\n")
    given = {each["name"]: each["value"].replace("/etc/kt", str(tmp_path)) for each in container(component)["env"]}
    settings = load(None, given)
    assert (settings.store.kind, settings.store.password) == ("neo4j", "the neo4j_password")
    assert settings.broker_url == "the broker_url"
    assert settings.web.token == ("the webhook_token" if component == "web" else "")
    assert settings.guard.enabled is False


def test_services_policies_and_budgets_choose_pods_that_there_are() -> None:
    labels = [thing["spec"]["template"]["metadata"]["labels"] for thing in WORKLOADS]
    for thing in THINGS:
        chosen = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"].get("matchLabels", {}),
        }.get(thing["kind"])
        if chosen:
            wanted = chosen(thing["spec"])
            assert any(wanted.items() <= each.items() for each in labels), thing["metadata"]["name"]


def test_redis_is_set_up_as_in_the_compose_file() -> None:
    def settings(text: str) -> list[str]:
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    inside = BY_NAME["ConfigMap/redis"]["data"]["redis.conf"]
    assert settings(inside) == settings((ROOT / "deploy" / "redis" / "redis.conf").read_text())
    images = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name in ("redis", "neo4j"):
        thing = BY_NAME.get(f"Deployment/{name}") or BY_NAME[f"StatefulSet/{name}"]
        assert pod(thing)["containers"][0]["image"] == images[name]["image"]
