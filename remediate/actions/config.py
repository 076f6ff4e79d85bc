"""Restore a ConfigMap: what it held before the present version, of the versions kept when it was seen changing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph_schema.config_versions import ConfigVersion
from remediate.actions.base import CannotAct
from remediate.actions.field import FieldChange, Values, Wish, values_of
from remediate.cluster import Cluster, Object
from remediate.plan import Step

MOST_KEPT = 100_000
"""Characters of the values before that are kept on the object itself; annotations have a limit of 256 KiB in all."""


class RestoreConfig(FieldChange):
    name = "restore-config"
    rules = (("", "configmaps", "get patch"),)
    pointers = ("/data", "/binaryData")

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """`config_versions`: (namespace, name) → versions, newest first."""
        if target["kind"] != "ConfigMap":
            raise CannotAct(f"what a {target['kind']} held before is never kept")
        if target.get("immutable"):
            raise CannotAct("it is immutable; whoever uses it has to use another one")
        meta, now = target["metadata"], values_of(target, self.pointers)
        versions: list[ConfigVersion] = parameters["config_versions"](meta["namespace"], meta["name"])
        earlier = next((each for each in _before(versions, now) if _values(each) != _plain(now)), None)
        if earlier is None:
            raise CannotAct("no other version of it was seen; KT keeps those of namespaces in which it may act")
        wanted = _values(earlier)
        keys = sorted(
            key
            for part, value in wanted.items()
            for key in {*(value or {}), *(now[part] or {})}
            if (value or {}).get(key) != (now[part] or {}).get(key)
        )
        name = f"{meta['namespace']}/{meta['name']}"
        return Wish(
            thing=target,
            values=wanted,
            summary=f"put back what ConfigMap {name} held at {earlier.at:%Y-%m-%d %H:%M:%S} (keys {', '.join(keys)})",
            parameters={"to": wanted, "version": earlier.version},
        )

    def wanted(self, cluster: Cluster, step: Step, thing: Object) -> Values:
        found: Values = step.parameters["to"]
        return found

    def remember(self, step: Step, before: Values) -> object:
        small = sum(len(text) for part in before.values() for text in (part or {}).values()) <= MOST_KEPT
        return dict(before) if small else None

    def remember_was(self, thing: Object) -> Any:
        return self.digest(values_of(thing, self.pointers))

    def plain(self, values: Values) -> Values:
        return _plain(values)

    def said(self, values: Values) -> str:
        return f"version {self.digest(values)}"


def _before(versions: list[ConfigVersion], now: Values) -> list[ConfigVersion]:
    """The versions older than the present one, which may itself not be among them yet."""
    for index, each in enumerate(versions):
        if _values(each) == _plain(now):
            return versions[index + 1 :]
    return versions


def _values(version: ConfigVersion) -> dict[str, Any]:
    return {"/data": version.data or None, "/binaryData": version.binary_data or None}


def _plain(values: Values) -> dict[str, Any]:
    """An empty map and none at all are the same."""
    return {pointer: value or None for pointer, value in values.items()}
