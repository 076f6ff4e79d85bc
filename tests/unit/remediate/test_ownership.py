"""Who would undo a change: told by the marks that GitOps controllers and operators leave."""

from typing import Any

import pytest

from remediate.ownership import declared_by


def thing(**meta: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": "cart", **meta}}


def managed(manager: str, fields: dict[str, Any]) -> dict[str, Any]:
    return thing(managedFields=[{"manager": manager, "operation": "Apply", "fieldsV1": fields}])


@pytest.mark.parametrize(("given", "who"), [
    (thing(labels={"argocd.argoproj.io/instance": "shop"}), "Argo CD (shop)"),
    (thing(annotations={"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/cart"}), "Argo CD"),
    (thing(labels={"kustomize.toolkit.fluxcd.io/name": "apps"}), "Flux (apps)"),
    (thing(labels={"helm.toolkit.fluxcd.io/name": "cart"}), "Flux (cart)"),
    (thing(ownerReferences=[{"kind": "Shop", "name": "main", "controller": True}]), "Shop main"),
    (thing(ownerReferences=[{"apiVersion": "apps.kruise.io/v1alpha1", "kind": "StatefulSet", "name": "cart",
                             "controller": True}]), "StatefulSet cart"),
    (managed("kustomize-controller", {"f:spec": {"f:replicas": {}}}), "Flux"),
    (managed("argocd-controller", {"f:data": {}}), "Argo CD"),
])  # fmt: skip
def test_lesson_gitops_and_operators_are_recognised(given: dict[str, Any], who: str) -> None:
    assert declared_by(given) == who


@pytest.mark.parametrize("given", [
    thing(),
    thing(labels={"app.kubernetes.io/managed-by": "Helm"}),
    thing(ownerReferences=[{"kind": "Shop", "name": "main"}]),
    thing(ownerReferences=[{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-1", "controller": True}]),
    managed("kustomize-controller", {"f:status": {}}),
    managed("kubectl-client-side-apply", {"f:spec": {}}),
])  # fmt: skip
def test_what_nobody_would_undo_is_free(given: dict[str, Any]) -> None:
    assert declared_by(given) == ""
