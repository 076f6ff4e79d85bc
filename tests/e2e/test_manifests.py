"""deploy/kubernetes: a real API server takes every manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
FILES = sorted(file.name for file in FOLDER.glob("*.yaml") if file.name not in ("kustomization.yaml", "namespace.yaml"))


@pytest.fixture(scope="module")
def api(kubeconfig: str) -> Iterator[Any]:
    """A client of the cluster, in which there is a namespace kt: only then can be tried what belongs into it."""
    from kubernetes import client, config, dynamic

    api_client: Any = config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]  # it ships no types
    core: Any = client.CoreV1Api(api_client)
    namespace = yaml.safe_load((FOLDER / "namespace.yaml").read_text())
    name = namespace["metadata"]["name"]
    made = not any(each.metadata.name == name for each in core.list_namespace().items)
    if made:
        core.create_namespace(namespace)
    yield dynamic.DynamicClient(api_client)  # type: ignore[no-untyped-call]  # as above
    if made:
        core.delete_namespace(name)


@pytest.mark.parametrize("file", FILES)
def test_the_api_server_takes_every_manifest(api: Any, file: str) -> None:
    """Tried with dryRun=All and strict validation: a field that the server does not know is an error."""
    for thing in yaml.safe_load_all((FOLDER / file).read_text()):
        resource = api.resources.get(api_version=thing["apiVersion"], kind=thing["kind"])
        answer = api.patch(
            resource,
            name=thing["metadata"]["name"],
            namespace=thing["metadata"].get("namespace"),
            body=json.dumps(thing),
            content_type="application/apply-patch+yaml",
            query_params=[("dryRun", "All"), ("fieldManager", "kt-tests"), ("fieldValidation", "Strict")],
        )
        assert answer["metadata"]["name"] == thing["metadata"]["name"]
