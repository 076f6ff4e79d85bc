"""Keeps the graph in step with a cluster: one reflector for each kind, all writing into one store."""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
import structlog

from graph_schema.config_versions import ConfigVersion, keep
from graph_schema.model import Change, Entity, Relation, entity_id
from graph_schema.store import GraphStore, StoreUnavailable
from sense.kubernetes import bearing, objects
from sense.kubernetes.objects import Object
from sense.kubernetes.reflector import Reflector

STORE_RETRY_S = 1.0
_log = structlog.get_logger(__name__)
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Service": "/api/v1/services",
    "Pod": "/api/v1/pods",
    "ConfigMap": "/api/v1/configmaps",
    "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
    "Deployment": "/apis/apps/v1/deployments",
    "ReplicaSet": "/apis/apps/v1/replicasets",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "Ingress": "/apis/networking.k8s.io/v1/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
    "ResourceQuota": "/api/v1/resourcequotas",
    "Certificate": "/apis/cert-manager.io/v1/certificates",
}
SECRETS = "/api/v1/secrets"
"""Metadata only, and only where `kubernetes.secrets` is on: no right of Kubernetes shows metadata without contents."""
BESIDE = frozenset({"NetworkPolicy", "ResourceQuota", "Certificate", "Secret"})
"""The graph is whole without these: not every cluster has them, not every account may see them."""

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
OPT_IN = "kt.io/remediate"
BEARING = {"SELECTS": "Service", "APPLIES_TO": "NetworkPolicy", "SECURES": "Certificate"}
"""Relations that end by themselves when the thing at their end changes → the kind that they leave."""


class TopologyFollower:
    """`run` follows until told to stop; `synced` is set once every kind was listed."""

    def __init__(
        self,
        api_client: Any,
        store: GraphStore,
        clock: Callable[[], datetime],
        cluster_name: str,
        *,
        secrets: bool = False,
    ) -> None:
        self._paths = {**PATHS, "Secret": SECRETS} if secrets else PATHS
        self._client, self._store, self._clock, self._cluster = api_client, store, clock, cluster_name
        self._known: dict[str, dict[str, Object]] = defaultdict(dict)
        self._near: dict[tuple[str, str], dict[str, Object]] = defaultdict(dict)
        """(kind, namespace) → what is known there, by id."""
        self._lock = threading.Lock()
        """Whoever has it writes, and takes the time only then: of two versions the store keeps the later one."""
        self._calls: dict[str, set[Relation]] = {}
        """Service → its calls as metrics tell them, beside what its annotation says."""
        self._listed: set[str] = set()
        self.synced = threading.Event()

    def run(self, stop: threading.Event) -> None:
        self._name_cluster(stop)
        threads = []
        for kind, path in self._paths.items():
            reflector = Reflector(
                self._client, kind, path, self, functools.partial(self._note, kind),
                beside=kind in BESIDE, metadata_only=kind == "Secret",
            )  # fmt: skip
            threads.append(threading.Thread(target=reflector.run, args=(stop,), name=f"follow {kind}", daemon=True))
        for thread in threads:
            thread.start()
        stop.wait()

    def _name_cluster(self, stop: threading.Event) -> None:
        """The cluster itself is the one thing no list brings; a store that is away is waited for."""
        cluster = Entity(id=entity_id("Cluster", self._cluster), kind="Cluster", name=self._cluster)
        while not stop.is_set():
            try:
                self._store.upsert([cluster], at=self._clock())
            except StoreUnavailable as error:
                _log.warning("the graph is away, trying again", error=str(error), again_in_s=STORE_RETRY_S)
                stop.wait(STORE_RETRY_S)
            else:
                return

    def replace(self, kind: str, things: list[Object]) -> None:
        """A whole list: what the store has and the list has not is gone."""
        with self._lock:
            at = self._clock()
            before, self._known[kind] = self._known[kind], {objects.id_of(each): each for each in things}
            here = self._known[kind]
            for place in [place for place in self._near if place[0] == kind]:
                del self._near[place]
            for me, each in here.items():
                self._near[kind, _space(each)][me] = each
            relations = [relation for each in things for relation in self._relations(each)]
            gone = [entity.id for entity in self._store.find(kind=kind) if entity.id not in here]
            self._store.delete(gone, at=at)
            self._store.upsert([self._entity(each) for each in things], relations, at=at)
            if kind in ("Pod", *WORKLOADS):
                self._look_behind(self._known["Service"].values(), at)
            self._keep_versions(things, at)
            altered = [
                change
                for key, each in here.items()
                if key in before
                for change in objects.changes(before[key], each, at)
            ]
            rollouts = objects.newest_rollouts(things)
            removed = [Change(entity=each, at=at, kind="delete", id=f"{each}@{at.isoformat()}:delete") for each in gone]
            self._record([*altered, *rollouts, *(removed if kind != "Pod" else ())])

    def changed(self, kind: str, thing: Object) -> None:
        me = objects.id_of(thing)
        with self._lock:
            at = self._clock()
            before = self._known[kind].get(me)
            old = set(self._relations(before)) if before else set()
            self._known[kind][me] = self._near[kind, _space(thing)][me] = thing
            now = self._relations(thing)
            self._store.upsert([self._entity(thing)], now, at=at)
            self._look_behind(self._in_front(before, thing), at)
            self._keep_versions([thing], at)
            self._end(me, old, now, at)
            self._drop(relation for relation in old - set(now) if relation.source != me and relation.kind in BEARING)
            if before:
                self._record(objects.changes(before, thing, at))
            else:
                self._record(objects.newest_rollouts([thing], list(self._known[kind].values())))
                self._record(objects.made(thing, at))

    def observe_calls(self, calls: Iterable[Relation]) -> None:
        """These are all the calls between services that metrics tell of now."""
        told = defaultdict[str, set[Relation]](set)
        for call in calls:
            told[call.source].add(call)
        with self._lock:
            at = self._clock()
            for me in sorted({*self._calls, *told}):
                service, before = self._known["Service"].get(me), self._calls.get(me, set())
                if told[me] - before:
                    self._store.upsert([], told[me] - before, at=at)
                # Known only once it is stored: what the store did not take is told to it again by the next look.
                self._calls[me] = told[me]
                if before - told[me] and service is not None:
                    self._end(me, before, self._relations(service), at)

    def _end(self, me: str, old: set[Relation], now: list[Relation], at: datetime) -> None:
        """Take the relations that leave this object and are no more out of the graph."""
        kinds = {relation.kind for relation in old - set(now) if relation.source == me}
        if kinds:
            left = [each for each in now if each.source == me and each.kind in kinds]
            self._store.set_relations([me], kinds, left, at=at)

    def deleted(self, kind: str, thing: Object) -> None:
        me = objects.id_of(thing)
        with self._lock:
            at = self._clock()
            self._known[kind].pop(me, None)
            self._near[kind, _space(thing)].pop(me, None)
            self._store.delete([me], at=at)
            self._look_behind(self._in_front(thing, None), at)
            # Pods and old ReplicaSets come and go by themselves; that is no change that somebody made.
            if not thing["metadata"].get("ownerReferences"):
                version = thing["metadata"].get("resourceVersion", "")
                self._record([Change(entity=me, at=at, kind="delete", id=f"{me}@{version}:delete")])

    def _selected(self, service: Object) -> list[Relation]:
        """The pods behind a Service; where there are none, the workloads whose pods it would select."""
        me, space = objects.id_of(service), _space(service)
        pods = [pod for pod in self._near["Pod", space].values() if objects.selects(service, pod)]
        made = [each for kind in WORKLOADS for each in self._near[kind, space].values()]
        behind = pods or [each for each in made if objects.selects(service, objects.template(each))]
        return [Relation(me, objects.id_of(each), "SELECTS") for each in behind]

    def _entity(self, thing: Object) -> Entity:
        """What is kept of it; of a Service also what follows from the pods behind it."""
        kept = objects.entity(thing)
        if thing["kind"] != "Service":
            return kept
        told = objects.behind(thing, self._near["Pod", _space(thing)].values())
        if not told.get("selected_pods") and self._selected(thing):
            # Pods that it would select are wanted: that there are none is not the selector's fault.
            told.pop("selected_pods", None)
        properties = kept.properties | {key: value for key, value in told.items() if value is not None}
        return msgspec.structs.replace(kept, properties=properties)

    def _look_behind(self, services: Iterable[Object], at: datetime) -> None:
        """Write again what these Services are and select."""
        behind = {objects.id_of(service): service for service in services}
        if behind:
            # All at once: of a large cluster's tens of thousands each would be two transactions.
            self._store.upsert([self._entity(each) for each in behind.values()], at=at)
            selected = [relation for each in behind.values() for relation in self._selected(each)]
            self._store.set_relations(behind, ["SELECTS"], selected, at=at)

    def _in_front(self, before: Object | None, now: Object | None) -> list[Object]:
        """The Services for which the change of a pod or workload means something: selected, or ready, or no longer."""
        thing = now or before or {}

        def place(service: Object, version: Object | None) -> tuple[bool, bool]:
            if version is None:
                return False, False
            pod = version if version["kind"] == "Pod" else objects.template(version)
            selected = objects.selects(service, pod)
            return selected, selected and objects.is_ready(version.get("status") or {})

        if thing.get("kind") not in ("Pod", *WORKLOADS):
            return []
        services = self._near["Service", _space(thing)].values()
        return [each for each in services if place(each, before) != place(each, now)]

    def _relations(self, thing: Object) -> list[Relation]:
        found = [*objects.relations(thing), *objects.owners(thing), *bearing.relations_of(thing, self._known)]
        namespace = thing["metadata"].get("namespace", "")
        if namespace:
            found.append(Relation(entity_id("Namespace", namespace), objects.id_of(thing), "CONTAINS"))
        if thing["kind"] == "Pod":
            found += [
                Relation(objects.id_of(service), objects.id_of(thing), "SELECTS")
                for service in self._near["Service", _space(thing)].values()
                if objects.selects(service, thing)
            ]
        elif thing["kind"] == "Service":
            found += self._calls.get(objects.id_of(thing), set()) - set(found)
            found += self._selected(thing)
        elif thing["kind"] in ("Node", "Namespace"):
            found.append(Relation(entity_id("Cluster", self._cluster), objects.id_of(thing), "CONTAINS"))
        return found

    def _drop(self, stale: Iterable[Relation]) -> None:
        """What has other labels now is selected no longer by some services and policies; so are ingresses."""
        for relation in stale:
            source = self._known[BEARING[relation.kind]].get(relation.source)
            if source is not None:
                left = [each for each in self._relations(source) if each.kind == relation.kind]
                self._store.set_relations([relation.source], [relation.kind], left, at=self._clock())

    def _keep_versions(self, things: Iterable[Object], at: datetime) -> None:
        """What ConfigMaps hold, so that a wrong edit can be taken back; where KT may act, and never of Secrets."""
        for thing in things:
            if thing["kind"] == "Namespace" and _opted_in(thing):
                space = thing["metadata"]["name"]
                here = self._known["ConfigMap"].values()
                self._keep_versions([each for each in here if each["metadata"]["namespace"] == space], at)
            elif thing["kind"] == "ConfigMap":
                meta = thing["metadata"]
                space = self._known["Namespace"].get(entity_id("Namespace", meta["namespace"]))
                if space is not None and _opted_in(space):
                    version = ConfigVersion(
                        version=meta["resourceVersion"],
                        at=at,
                        data=thing.get("data") or {},
                        binary_data=thing.get("binaryData") or {},
                    )
                    keep(self._store, meta["namespace"], meta["name"], version)

    def _record(self, changes: list[Change]) -> None:
        if changes:
            self._store.record_changes(changes)

    def _note(self, kind: str) -> None:
        self._listed.add(kind)
        if len(self._listed) == len(self._paths):
            self.synced.set()


def _opted_in(namespace: Object) -> bool:
    return (namespace["metadata"].get("labels") or {}).get(OPT_IN) == "enabled"


def _space(thing: Object) -> str:
    return str(thing["metadata"].get("namespace", ""))
