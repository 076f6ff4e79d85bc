"""Everything a process of KT works with, built from settings: stores, schema, cluster, metrics, clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from graph_schema.catalogue import load_catalogue
from graph_schema.model import Entity
from graph_schema.ontology import Ontology, load_ontology
from graph_schema.store import GraphStore
from graph_schema.stores.sqlite import SqliteGraphStore
from kt.incident.log import IncidentLog, Leases
from kt.incident.state import State
from kt.settings import BadSettings, Settings
from kt.stores.sqlite_leases import SqliteLeases
from kt.stores.sqlite_log import SqliteIncidentLog
from kt.telemetry import Telemetry
from remediate.actions import ACTIONS
from remediate.cluster import Cluster
from remediate.guard import Limits
from remediate.playbook import load_playbooks
from remediate.remediator import Remediator
from sense.mapping import LabelMapping
from verify.steady import SymptomCheck

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    return datetime.now(UTC)


def _stores(settings: Settings, ontology: Ontology) -> tuple[IncidentLog, Leases, GraphStore]:
    """Log, leases and graph where the settings say. Leases are kept by the wall clock, whatever KT's own clock is."""
    where = settings.store
    if where.kind == "neo4j":
        # Loading the driver takes time that the embedded default need not spend.
        from graph_schema.stores.neo4j import Neo4jGraphStore
        from kt.stores.neo4j_leases import Neo4jLeases
        from kt.stores.neo4j_log import Neo4jIncidentLog

        auth = (where.user, where.password) if where.user else None
        return (
            Neo4jIncidentLog(where.uri, auth, where.database),
            Neo4jLeases(where.uri, auth, wall_clock, where.database),
            Neo4jGraphStore(where.uri, auth, ontology.fault_from, where.database),
        )
    file = settings.data / "kt.db"
    return (
        SqliteIncidentLog(file),
        SqliteLeases(file, wall_clock),
        SqliteGraphStore(settings.data / "graph.db", ontology.fault_from),
    )


class Runtime:
    """What the stages are given. What needs the network is connected at first use."""

    def __init__(self, settings: Settings, clock: Clock = wall_clock) -> None:
        self.settings = settings
        self.clock = clock
        self.workdir: Path = settings.data / "experiments"
        self.telemetry = Telemetry()
        self.ontology = load_ontology()
        self.catalogue = load_catalogue(ontology=self.ontology)
        self.mapping = LabelMapping.load(Path(settings.sense.label_mapping) if settings.sense.label_mapping else None)
        self.log, self.leases, self.graph = _stores(settings, self.ontology)
        self.symptoms = SymptomCheck(settings.prometheus.url)

    @cached_property
    def api_client(self) -> Any:
        """A client of the Kubernetes API. Raises `BadSettings` when no configuration is found."""
        from kubernetes import client, config  # slow to import: only processes that talk to a cluster pay for it
        from kubernetes.config import ConfigException

        options = self.settings.kubernetes
        configuration = client.Configuration()
        try:
            config.load_config(  # type: ignore[no-untyped-call]  # the client ships no types for it
                config_file=options.kubeconfig or None,
                context=options.context or None,
                client_configuration=configuration,
            )
        except (ConfigException, OSError) as error:
            raise BadSettings(f"no way to Kubernetes: {error}. Set kubernetes.kubeconfig, or run in a pod.") from error
        return client.ApiClient(configuration)

    @cached_property
    def cluster(self) -> Cluster:
        return Cluster(self.api_client)

    @cached_property
    def remediator(self) -> Remediator:
        guard, approval = self.settings.guard, self.settings.approval
        return Remediator(
            self.cluster,
            load_playbooks(ACTIONS, Path(guard.playbooks) if guard.playbooks else None),
            self.catalogue,
            Limits(
                cooldown_s=guard.cooldown_s,
                max_share_of_nodes=guard.max_share_of_nodes,
                max_replicas=guard.max_replicas,
            ),
            {"low": approval.low, "medium": approval.medium, "high": approval.high},
            self.clock,
        )

    def lookup(self, kind: str, namespace: str, name: str) -> Entity | None:
        """The one entity of this kind and name in the graph; a node also by its address."""
        found = self.graph.find(kind=kind, namespace=namespace or None, name=name)
        if not found and kind == "Node":
            found = self.graph.find(kind=kind, properties={"address": name})
        return found[0] if len(found) == 1 else None

    def experiment_environment(self) -> dict[str, str]:
        """What an experiment's process needs to find the same cluster."""
        options = self.settings.kubernetes
        found = {"KUBECONFIG": options.kubeconfig} if options.kubeconfig else {}
        return found | ({"KUBERNETES_CONTEXT": options.context} if options.context else {})

    def ended(self, state: State) -> None:
        """Give back what an incident that has ended had reserved."""
        for action in state.actions:
            target = action.plan.steps[action.step].target
            name = f"target/{target.kind}/{target.namespace}/{target.name}"
            self.leases.release(name, state.id, action.fencing)

    def close(self) -> None:
        self.log.close()
        self.graph.close()
