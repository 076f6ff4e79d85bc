"""Everything a process of KT works with, built from settings: stores, schema, cluster, metrics, clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from graph_schema import config_versions
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Entity
from graph_schema.ontology import load_ontology
from kt.incident.state import State
from kt.notify import Messenger, services
from kt.policy import Policy, policy_of
from kt.settings import BadSettings, Settings
from kt.stores.places import (
    open_brakes,
    open_chaos,
    open_graph,
    open_learned,
    open_leases,
    open_log,
    open_pulses,
    open_trials,
)
from kt.telemetry import Telemetry
from remediate.actions import ACTIONS
from remediate.cluster import Cluster
from remediate.guard import Guard
from remediate.limits import Limits
from remediate.playbook import load_playbooks
from remediate.remediator import Remediator
from sense.index import pick
from sense.mapping import LabelMapping
from verify.silences import SilenceCheck
from verify.steady import SymptomCheck

Clock = Callable[[], datetime]
CONNECTIONS = 32
"""To the API server that are kept: each kind that is followed holds one."""


def wall_clock() -> datetime:
    return datetime.now(UTC)


class Runtime:
    """What the stages are given. What needs the network is connected at first use."""

    def __init__(
        self, settings: Settings, clock: Clock = wall_clock, policy: Callable[[], Policy] | None = None
    ) -> None:
        """`policy`: what the guard and the approvals go by now; else always what the settings say."""
        self.settings = settings
        self.clock = clock
        fixed = policy_of(settings)
        self.policy = policy or (lambda: fixed)
        self.workdir: Path = settings.data / "experiments"
        self.telemetry = Telemetry()
        self.ontology = load_ontology()
        self.catalogue = load_catalogue(ontology=self.ontology)
        self.mapping = LabelMapping.load(Path(settings.sense.label_mapping) if settings.sense.label_mapping else None)
        self.log = open_log(settings)
        self.leases = open_leases(settings, wall_clock)
        self.brakes = open_brakes(settings)
        self.trials = open_trials(settings)
        self.pulses = open_pulses(settings, wall_clock)
        self.chaos = open_chaos(settings)
        self.learned = open_learned(settings)
        self.graph = open_graph(settings, self.ontology)
        # Read now: a mistake in a playbook is told at the start, not when it is needed.
        folder = settings.guard.playbooks
        self.playbooks = load_playbooks(ACTIONS, Path(folder) if folder else None)
        self.symptoms = SymptomCheck(settings.prometheus.url)
        self.silences = SilenceCheck(settings.alertmanager.url)
        self.messenger = Messenger(services(settings.notify.urls), settings.notify.kinds, self.telemetry.told)

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
        configuration.connection_pool_maxsize = CONNECTIONS
        # urllib3 would ask three times more behind our back, each time as long, and repeat deletions.
        configuration.retries = False
        return client.ApiClient(configuration)

    @cached_property
    def cluster(self) -> Cluster:
        return Cluster(self.api_client, self.settings.kubernetes.timeout_s)

    @cached_property
    def remediator(self) -> Remediator:
        return Remediator(
            self.cluster,
            self.playbooks,
            self.catalogue,
            Guard(self.cluster, self._limits, self.brakes, self.clock),
            lambda: self.policy().risks,
            self.clock,
            lambda namespace, name: config_versions.kept(self.graph, namespace, name),
            self.graph.history,
            lambda fault: self.trials.of(fault=fault),
        )

    def _limits(self) -> tuple[Limits, str]:
        policy = self.policy()
        return policy.guard.limits, policy.version

    def lookup(self, kind: str, namespace: str, name: str) -> Entity | None:
        """The one entity in the graph that is meant (see `sense.mapping.Lookup`); a node also by its address."""
        found = self.graph.find(kind=kind or None, namespace=namespace or None, name=name or None)
        if not found and kind == "Node":
            found = self.graph.find(kind=kind, properties={"address": name})
        return pick(found, kind, namespace)

    def experiment_environment(self) -> dict[str, str]:
        """What an experiment's process needs to find the same cluster."""
        options = self.settings.kubernetes
        # Without a kubeconfig KT may run in a pod; chaostoolkit-kubernetes uses the pod's account only when told so.
        found = {"KUBECONFIG": options.kubeconfig} if options.kubeconfig else {"CHAOSTOOLKIT_IN_POD": "true"}
        return found | ({"KUBERNETES_CONTEXT": options.context} if options.context else {})

    def ended(self, state: State) -> None:
        """Give back what an incident that has ended had reserved."""
        for action in state.actions:
            self.leases.release_all(action.held, state.id)

    def close(self) -> None:
        self.messenger.close()
        self.log.close()
        self.brakes.close()
        self.trials.close()
        self.pulses.close()
        self.chaos.close()
        self.learned.close()
        self.graph.close()
