"""The twin's etcd and the laws of every object: versions, uids, generations, namespaces, and the log that watches read.

Objects are JSON dicts. What the store hands out is shared and never changed in place: whoever writes gives a new dict
(`clone`, change, `update`), and an update that changes nothing writes nothing, as in the real API server.
Everything here is called with the cluster's lock held.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from twin import errors
from twin.kinds import BY_KIND, Kind

Object = dict[str, Any]
Clock = Callable[[], datetime]

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


def clone(value: Any) -> Any:
    """A deep copy of JSON data."""
    if isinstance(value, dict):
        return {key: clone(each) for key, each in value.items()}
    if isinstance(value, list):
        return [clone(each) for each in value]
    return value


def stamp(at: datetime) -> str:
    """RFC 3339 with whole seconds, as metadata has it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _node_of(pod: Object) -> str:
    return (pod.get("spec") or {}).get("nodeName") or ""


class Change(msgspec.Struct, frozen=True):
    """One entry of the watch log."""

    version: int
    type: str
    kind: str
    object: Object
    before: Object | None


class Store:
    """All objects by kind, namespace and name, and the log of what happened to them."""

    def __init__(self, clock: Clock, rng: random.Random, *, keep: int = 20_000) -> None:
        self._clock = clock
        self._rng = rng
        self._objects: dict[str, dict[tuple[str, str], Object]] = {kind: {} for kind in BY_KIND}
        self._spaces: dict[str, defaultdict[str, set[str]]] = {kind: defaultdict(set) for kind in BY_KIND}
        """The names by kind and namespace: in a large cluster one namespace is asked for all the time."""
        self._bound: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        """The pods by node, as the real API server indexes them."""
        self._log: deque[Change] = deque()
        self._keep = keep
        self._oldest = 1
        self.version = 1
        self.watchers: list[Callable[[], None]] = []
        """Called after every change: the live watches' bells."""
        self.versions: dict[str, int] = dict.fromkeys(BY_KIND, 1)
        """The version of the last change of each kind."""

    # reading

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        return self._objects[kind].get((namespace, name))

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        found = self.find(kind, name, namespace)
        if found is None:
            raise errors.not_found(BY_KIND[kind].plural, BY_KIND[kind].group, name)
        return found

    def all(self, kind: str, namespace: str | None = None) -> Iterator[Object]:
        """Sorted by namespace and name, of one namespace or (None) of all."""
        objects = self._objects[kind]
        if namespace is None:
            yield from (objects[place] for place in sorted(objects))
        else:
            yield from (objects[namespace, name] for name in sorted(self._spaces[kind].get(namespace, ())))

    def bound(self, node: str) -> Iterator[Object]:
        """The pods on a node, sorted by namespace and name."""
        yield from (self._objects["Pod"][place] for place in sorted(self._bound.get(node, ())))

    def since(self, kind: str, version: int) -> list[Change]:
        """What happened to objects of a kind after a version. Raises 410 when the log no longer has all of it."""
        if version < self._oldest - 1:
            raise errors.gone(version, self._oldest)
        found: list[Change] = []
        for change in reversed(self._log):
            if change.version <= version:
                break
            if change.kind == kind:
                found.append(change)
        return found[::-1]

    def compact(self, keep: int = 0) -> None:
        """Forget the log but for its last entries: watches from before get 410, as after etcd's compaction."""
        while len(self._log) > keep:
            self._oldest = self._log.popleft().version + 1

    # writing

    def uid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def suffix(self, length: int = 5) -> str:
        return "".join(self._rng.choices(_SUFFIX, k=length))

    def prepare(self, kind: Kind, given: Object) -> Object:
        """What a create would store: named and stamped. Raises AlreadyExists, NotFound of the namespace."""
        made: Object = clone(given)
        made["apiVersion"], made["kind"] = kind.api_version, kind.kind
        meta = made.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + self.suffix()
        namespace = meta.get("namespace", "") if kind.namespaced else ""
        if kind.namespaced:
            self._check_namespace(kind, namespace, meta["name"])
        else:
            meta.pop("namespace", None)
        if (namespace, meta["name"]) in self._objects[kind.kind]:
            raise errors.already_exists(kind.plural, kind.group, meta["name"])
        for system in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"):
            meta.pop(system, None)
        meta["uid"], meta["creationTimestamp"] = self.uid(), stamp(self._clock())
        if kind.generation:
            meta["generation"] = 1
        return made

    def _check_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        space = self._objects["Namespace"].get(("", namespace))
        if space is None:
            raise errors.not_found("namespaces", "", namespace)
        if space["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise errors.forbidden(kind.plural, kind.group, name, why)

    def create(self, kind: str, given: Object) -> Object:
        made = self.prepare(BY_KIND[kind], given)
        return self._commit("ADDED", kind, made, None)

    def update(self, kind: str, changed: Object) -> Object:
        """Replace an object. An unchanged one is not written; a changed spec counts the generation up."""
        before = self._current(kind, changed)
        after = self.merged(kind, before, changed)
        if after == before:
            return before
        meta = after["metadata"]
        if meta.get("deletionTimestamp") and not meta.get("finalizers") and kind != "Pod":
            return self.remove(kind, after)
        return self._commit("MODIFIED", kind, after, before)

    def merged(self, kind: str, before: Object, changed: Object) -> Object:
        """What an update would store: system fields kept as they were. Raises 409 for a stale resourceVersion."""
        after: Object = clone(changed)
        meta, old = after.setdefault("metadata", {}), before["metadata"]
        shape = BY_KIND[kind]
        after["apiVersion"], after["kind"] = shape.api_version, kind
        asked = meta.get("resourceVersion")
        if asked and asked != old["resourceVersion"]:
            raise errors.conflict(shape.plural, shape.group, old["name"], errors.STALE)
        if meta.get("uid") and meta["uid"] != old["uid"]:
            raise errors.conflict(shape.plural, shape.group, old["name"], "the UID in the precondition does not match")
        for field in ("uid", "creationTimestamp", "resourceVersion", "generation", "namespace", "name"):
            if field in old:
                meta[field] = old[field]
        if "deletionTimestamp" in old:
            meta["deletionTimestamp"] = old["deletionTimestamp"]
        if shape.generation and after.get("spec") != before.get("spec"):
            meta["generation"] = old.get("generation", 0) + 1
        return after

    def _current(self, kind: str, given: Object) -> Object:
        meta = given["metadata"]
        return self.get(kind, meta["name"], meta.get("namespace", "") if BY_KIND[kind].namespaced else "")

    def edit(self, kind: str, name: str, namespace: str, change: Callable[[Object], None]) -> Object:
        """Change a copy of an object and store it."""
        draft = clone(self.get(kind, name, namespace))
        change(draft)
        return self.update(kind, draft)

    def mark_deleted(self, kind: str, given: Object, grace_s: int, finalizer: str = "") -> Object:
        """Begin a deletion that somebody else will end: the kubelet, or whoever holds a finalizer."""
        before = self._current(kind, given)
        after = clone(before)
        meta = after["metadata"]
        first = "deletionTimestamp" not in meta
        if first or grace_s < meta.get("deletionGracePeriodSeconds", 0):
            meta["deletionTimestamp"] = stamp(datetime.fromtimestamp(self._clock().timestamp() + grace_s, UTC))
            meta["deletionGracePeriodSeconds"] = grace_s
        if first and "generation" in meta:
            meta["generation"] += 1
        if finalizer and finalizer not in meta.get("finalizers", []):
            meta["finalizers"] = [*meta.get("finalizers", []), finalizer]
        return before if after == before else self._commit("MODIFIED", kind, after, before)

    def remove(self, kind: str, given: Object) -> Object:
        """Take an object out for good."""
        before = self._current(kind, given)
        meta = before["metadata"]
        place = meta.get("namespace", ""), meta["name"]
        del self._objects[kind][place]
        self._spaces[kind][place[0]].discard(place[1])
        if kind == "Pod":
            self._bound[_node_of(before)].discard(place)
        return self._append("DELETED", kind, clone(given), before)

    def _commit(self, type_: str, kind: str, after: Object, before: Object | None) -> Object:
        meta = after["metadata"]
        place = meta.get("namespace", ""), meta["name"]
        self._objects[kind][place] = after
        self._spaces[kind][place[0]].add(place[1])
        if kind == "Pod":
            if before is not None:
                self._bound[_node_of(before)].discard(place)
            self._bound[_node_of(after)].add(place)
        return self._append(type_, kind, after, before)

    def _append(self, type_: str, kind: str, after: Object, before: Object | None) -> Object:
        self.version += 1
        self.versions[kind] = self.version
        after["metadata"]["resourceVersion"] = str(self.version)
        self._log.append(Change(self.version, type_, kind, after, before))
        if len(self._log) > self._keep:
            self.compact(self._keep)
        for ring in self.watchers:
            ring()
        return after
