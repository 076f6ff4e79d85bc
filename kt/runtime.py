"""Everything a process of KT works with, built from settings: stores, schema, cluster, metrics, clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from graph_schema.catalogue import load_catalogue
from graph_schema.model import Entity
from graph_schema.ontology import load_ontology
from kt.incident.state import State
from kt.settings import BadSettings, Settings
from kt.stores.places import open_graph, open_leases, open_log
from kt.telemetry import Telemetry
from remediate.actions import ACTIONS
from remediate.cluster import Cluster
from remediate.guard import Limits
from remediate.playbook import load_playbooks
from remediate.remediator import Remediator
from sense.index import pick
from sense.mapping import LabelMapping
from verify.steady import SymptomCheck

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    return datetime.now(UTC)


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
        self.log = open_log(settings)
        self.leases = open_leases(settings, wall_clock)
        self.graph = open_graph(settings, self.ontology)
        # Read now: a mistake in a playbook is told at the start, not when it is needed.
        folder = settings.guard.playbooks
        self.playbooks = load_playbooks(ACTIONS, Path(folder) if folder else None)
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
            self.playbooks,
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
        """The one entity in the graph that is meant (see `sense.mapping.Lookup`); a node also by its address."""
        found = self.graph.find(kind=kind or None, namespace=namespace or None, name=name or None)
        if not found and kind == "Node":
            found = self.graph.find(kind=kind, properties={"address": name})
        return pick(found, kind, namespace)

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
