"""Roles as `kt rbac` prints them, on an API server that holds the user `kt` to them."""

from __future__ import annotations

import copy
from typing import Any

from testbed.kubernetes.cluster import Api

Right = tuple[str, str, str]
"""(API group, resource, verb)."""
ROLES = "/apis/rbac.authorization.k8s.io/v1"
USER = [{"kind": "User", "name": "kt", "apiGroup": "rbac.authorization.k8s.io"}]


def with_subject(manifest: dict[str, Any]) -> dict[str, Any]:
    """A binding for the user `kt` instead of KT's accounts; a role as it is."""
    return {**manifest, "subjects": USER} if "subjects" in manifest else manifest


def apply(admin: Api, manifest: dict[str, Any]) -> None:
    meta = manifest["metadata"]
    where = f"namespaces/{meta['namespace']}/" if "namespace" in meta else ""
    admin.apply(f"{ROLES}/{where}{manifest['kind'].lower()}s/{meta['name']}", manifest)


def without(role: dict[str, Any], right: Right) -> dict[str, Any]:
    """The role with everything but this one verb on this one resource."""
    group, resource, verb = right
    less, rules = copy.deepcopy(role), []
    for rule in less["rules"]:
        for each in rule["resources"]:
            mine = group in rule["apiGroups"] and each == resource
            verbs = [word for word in rule["verbs"] if not (mine and word == verb)]
            if verbs:
                rules.append({"apiGroups": rule["apiGroups"], "resources": [each], "verbs": verbs})
    return {**less, "rules": rules}
