"""What ConfigMaps held before: their last versions, kept when seen changing, so that a wrong edit can be taken back.

Each version is an entity of its own kind without relations: it is in nobody's way when causes are looked for, and both
stores keep it as they keep everything else. Only ConfigMaps of namespaces whose owners let KT act there are kept,
and Secrets never: what they hold has no business outside of the cluster.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from graph_schema.model import Entity
from graph_schema.store import GraphStore

KIND = "ConfigVersion"
MOST = 5
"""Versions kept of one ConfigMap."""
MOST_BYTES = 64 * 1024
"""A version larger than this is not kept."""


class ConfigVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a ConfigMap held from `at` on. `version`: its resourceVersion then."""

    version: str
    at: datetime
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}
    """Base64, as the API has it."""


def kept(store: GraphStore, namespace: str, name: str) -> list[ConfigVersion]:
    """The versions of a ConfigMap, the newest first."""
    found = store.find(kind=KIND, namespace=namespace, name=name)
    versions = [msgspec.convert(each.properties, ConfigVersion) for each in found]
    return sorted(versions, key=lambda each: (each.at, each.version), reverse=True)


def keep(store: GraphStore, namespace: str, name: str, version: ConfigVersion) -> bool:
    """Keep a version unless the newest one kept holds the same; drop the oldest beyond `MOST`. Tells whether it did."""
    if len(msgspec.json.encode((version.data, version.binary_data))) > MOST_BYTES:
        return False
    before = kept(store, namespace, name)
    if before and (before[0].data, before[0].binary_data) == (version.data, version.binary_data):
        return False
    properties = msgspec.to_builtins(version)
    entity = Entity(id=_id(namespace, name, version), kind=KIND, name=name, namespace=namespace, properties=properties)
    store.upsert([entity], at=version.at)
    store.delete([_id(namespace, name, each) for each in before[MOST - 1 :]], at=version.at)
    return True


def _id(namespace: str, name: str, version: ConfigVersion) -> str:
    return f"{KIND}/{namespace}/{name}@{version.version}"
