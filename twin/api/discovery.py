"""What the cluster says of itself: /version, /api, /apis and the lists of resources."""

from __future__ import annotations

from typing import Any

from twin import errors
from twin.kinds import KINDS, Kind

VERSION: dict[str, str] = {
    "major": "1", "minor": "34", "gitVersion": "v1.34.4+twin", "gitCommit": "twin", "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "linux/amd64",
}  # fmt: skip

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_SUBRESOURCES: dict[str, tuple[dict[str, str], list[str]]] = {
    "status": ({}, ["get", "patch", "update"]),
    "scale": ({"group": "autoscaling", "version": "v1", "kind": "Scale"}, ["get", "patch", "update"]),
    "eviction": ({"group": "policy", "version": "v1", "kind": "Eviction"}, ["create"]),
    "log": ({}, ["get"]),
    "resize": ({}, ["get", "patch", "update"]),
    "proxy": ({"kind": "ServiceProxyOptions"}, ["create", "delete", "get", "patch", "update"]),
}


def _groups() -> dict[str, str]:
    return {kind.group: kind.version for kind in KINDS if kind.group}


def answer(parts: list[str], host: str) -> dict[str, Any]:
    """The document for /api, /apis and what is right under them; `parts` is the path taken apart."""
    if parts == ["api"]:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
    if parts == ["apis"]:
        groups = [_group(group, version) for group, version in _groups().items()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if parts == ["api", "v1"]:
        return _resources("", "v1")
    if len(parts) == 2 and parts[1] in _groups():
        return {"kind": "APIGroup", "apiVersion": "v1"} | _group(parts[1], _groups()[parts[1]])
    if len(parts) == 3 and _groups().get(parts[1]) == parts[2]:
        return _resources(parts[1], parts[2])
    raise errors.no_such_path()


def _group(group: str, version: str) -> dict[str, Any]:
    named = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [named], "preferredVersion": named}


def _resources(group: str, version: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        if (kind.group, kind.version) == (group, version):
            found += _described(kind)
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": found}


def _described(kind: Kind) -> list[dict[str, Any]]:
    main: dict[str, Any] = {
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": _VERBS,
    }  # fmt: skip
    if kind.short:
        main["shortNames"] = list(kind.short)
    if kind.categories:
        main["categories"] = list(kind.categories)
    described = [main]
    for subresource in kind.subresources:
        extra, verbs = _SUBRESOURCES[subresource]
        described.append(
            {"name": f"{kind.plural}/{subresource}", "singularName": "", "namespaced": kind.namespaced}
            | {"kind": kind.kind} | extra | {"verbs": verbs}
        )  # fmt: skip
    return described
