"""Who declares an object: a GitOps controller or an operator that would undo what KT changes there. Pure."""

from __future__ import annotations

from collections.abc import Callable

from remediate.cluster import Object

# Where these leave their mark: documented by Argo CD (resource tracking), Flux (kustomize and helm controllers) and
# the Kubernetes garbage collector (controller references).
_LABELS = {
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
_ANNOTATIONS = {"argocd.argoproj.io/tracking-id": "Argo CD"}
_MANAGERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
}
_MAKERS = frozenset({
    ("apps/v1", "ReplicaSet"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job"),
    ("v1", "ReplicationController"),
})  # fmt: skip
"""Kubernetes' own, which make pods anew and leave those that are there as they were changed."""


def declared_by(thing: Object) -> str:
    """Who would undo a change of this object; empty when nobody would."""
    for find in _FINDERS:
        if found := find(thing["metadata"]):
            return found
    return ""


def _by_label(meta: Object) -> str:
    labels = meta.get("labels") or {}
    return next((f"{who} ({labels[key]})" for key, who in _LABELS.items() if labels.get(key)), "")


def _by_annotation(meta: Object) -> str:
    annotations = meta.get("annotations") or {}
    return next((who for key, who in _ANNOTATIONS.items() if annotations.get(key)), "")


def _by_controller(meta: Object) -> str:
    owner = next((each for each in meta.get("ownerReferences") or [] if each.get("controller")), None)
    if owner is None or (owner.get("apiVersion", ""), owner["kind"]) in _MAKERS:
        return ""
    return f"{owner['kind']} {owner['name']}"


def _by_manager(meta: Object) -> str:
    """Whoever applied a part of its spec or data; a status or a label alone is no declaration."""
    for entry in meta.get("managedFields") or []:
        who = _MANAGERS.get(entry.get("manager", ""))
        fields = entry.get("fieldsV1") or {}
        if who and ("f:spec" in fields or "f:data" in fields):
            return who
    return ""


_FINDERS: tuple[Callable[[Object], str], ...] = (_by_label, _by_annotation, _by_controller, _by_manager)
