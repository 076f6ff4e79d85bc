"""A diagnosis of a made-up alert, thrown away, so that the first real incident need not wait for what is slow once.

Modules that are slow to import, stores that look at their schema, plans that Neo4j makes for queries, connections:
seconds all together, in a process that was just started. Nothing is written, and nothing that is asked changes a thing.
"""

from __future__ import annotations

import structlog

from graph_schema.model import Signal
from graph_schema.store import StoreUnavailable
from kt.incident.basis import judge
from kt.incident.log import LogUnavailable
from kt.pipeline.dependants import dependants
from kt.pipeline.gathering import gather
from kt.runtime import Runtime
from kt.settings import BadSettings
from remediate.cluster import ClusterError
from verify.http import client

_log = structlog.get_logger(__name__)


def rehearse(runtime: Runtime) -> None:
    """Do once what an incident needs, up to the plan. What does not answer now is left to the first incident."""
    with structlog.contextvars.bound_contextvars(stage="rehearsal"):
        _ask_cluster(runtime)
        client()
        _ask_stores(runtime)


def _ask_cluster(runtime: Runtime) -> None:
    try:
        runtime.cluster.list("Namespace")
        _ = runtime.remediator
    except (BadSettings, ClusterError) as error:
        _log.warning("the cluster cannot be asked yet", error=str(error))


def _ask_stores(runtime: Runtime) -> None:
    try:
        _read(runtime)
        _diagnose(runtime)
    except (LogUnavailable, StoreUnavailable) as error:
        _log.warning("the store cannot be asked yet", error=str(error))
    except RuntimeError as error:  # threads that can no longer be started, as the process ends
        _log.info("rehearsal cut short", error=str(error))


def _read(runtime: Runtime) -> None:
    now = runtime.clock()
    runtime.log.entries(limit=1)
    runtime.log.claimed(["rehearsal"])
    runtime.leases.held_by("rehearsal")
    runtime.brakes.since(now)
    runtime.trials.of(fault="rehearsal")
    runtime.chaos.runs_during(now)


def _diagnose(runtime: Runtime) -> None:
    # Few in any cluster, and a step away from what most diagnoses read; before the graph is filled one is made up.
    nodes = [each.id for each in runtime.graph.find(kind="Node")][:1] or ["Node/rehearsal"]
    at = runtime.clock()
    signals = [
        Signal(fingerprint=f"rehearsal-{node}", entity=node, symptom="node_not_ready", name="", starts_at=at)
        for node in nodes
    ]
    judge(gather(runtime, signals).basis, runtime.catalogue, runtime.ontology)
    dependants(runtime.graph, nodes)
