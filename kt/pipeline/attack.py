"""Which experiment an incident's fix has to stand: the workload that was healed, its face, its alerts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from graph_schema.model import Signal, entity_id
from kt.pipeline.journey import Journey
from kt.runtime import Runtime
from remediate.actions.evict import moved
from remediate.cluster import Object
from remediate.plan import Plan
from remediate.rights import DELETE, lacking
from verify.experiments import ExperimentRequest, experiment_for
from verify.passive import Watch, watch_for
from verify.prometheus import PrometheusUnavailable, instant, selector
from verify.steady import alert_selector

WORKLOADS = ("Deployment", "StatefulSet")
ONSET_S = 60.0
"""Alerts come late: windows of rates, `for`. So long before the first one all counts as before the fault."""
PEERS_FROM = 3
"""Hops in the graph within which a service counts as touched by the fault."""
EXTRA_LOAD = 0.2
"""Load added on top of what there is, as a share of it: what overloaded the service is still there, and more comes."""


def experiment_of(runtime: Runtime, journey: Journey, signals: Sequence[Signal]) -> dict[str, Any]:
    """The experiment for the plan that was carried out; `signals` must stay away.

    Raises `ClusterError` when the cluster does not answer.
    """
    plan = journey.state.plan
    if plan is None:
        raise ValueError(f"incident {journey.incident} has no plan to verify")
    workload = _workload(runtime, plan)
    namespace = workload["metadata"]["namespace"] if workload else ""
    labels = workload["spec"]["selector"].get("matchLabels", {}) if workload else {}
    service = _service(runtime, namespace, labels)
    extra = _extra_load(runtime, namespace, service) if plan.playbook == "scale-out" else 0.0
    return experiment_for(
        ExperimentRequest(
            title=f"Does “{plan.playbook}” hold for {plan.hypothesis.entity}?",
            fault=f"{plan.hypothesis.fault} of {plan.hypothesis.entity}",
            namespace=namespace,
            workload_kind=workload["kind"] if workload else "",
            workload=workload["metadata"]["name"] if workload else "",
            pod_selector=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
            service=service,
            per_second=extra,
            watch=None if workload else _watch(runtime, plan),
            prometheus_url=runtime.settings.prometheus.url,
            alerts=tuple(dict.fromkeys(alert_selector(signal) for signal in signals)),
            incident=journey.incident,
            entities=tuple(sorted({signal.entity for signal in journey.signals})),
            compare_until=_before(runtime, journey),
            peers=_peers(runtime, namespace, service),
        )
    )


def _watch(runtime: Runtime, plan: Plan) -> Watch:
    mode = runtime.catalogue.faults.get(plan.hypothesis.fault)
    # An experiment that takes longer than its time is stopped, and half of it is for what is looked at besides.
    longest_s = runtime.settings.pipeline.experiment_timeout_s / 2
    return watch_for(mode.onset_s if mode else longest_s, longest_s=longest_s)


def _before(runtime: Runtime, journey: Journey) -> str:
    """The end of the time that counts as before the fault; empty when nothing is compared."""
    starts = [signal.starts_at - timedelta(seconds=signal.held_s) for signal in journey.signals]
    if not runtime.settings.pipeline.compare or not starts:
        return ""
    return (min(starts) - timedelta(seconds=ONSET_S)).isoformat()


def _peers(runtime: Runtime, namespace: str, service: str) -> tuple[str, ...]:
    """The failures of other Services of the namespace that neither call this one nor are called by it."""
    if not runtime.settings.pipeline.compare or not service:
        return ()
    me = entity_id("Service", service, namespace)
    near = runtime.graph.neighbourhood([me], hops=PEERS_FROM).entities
    others = [each["metadata"]["name"] for each in runtime.cluster.list("Service", namespace)]
    return tuple(
        selector("kt:error_ratio", {"namespace": namespace, "service": name})
        for name in sorted(others)
        if entity_id("Service", name, namespace) not in near
    )


def _workload(runtime: Runtime, plan: Plan) -> Object | None:
    """What was acted on, or, for a node, a workload whose pods were moved and a pod of which may be ended."""
    target = plan.steps[0].target
    if target.kind in WORKLOADS:
        found = runtime.cluster.get(target.kind, target.name, target.namespace)
        return {"kind": target.kind, **found} if found else None
    if target.namespace:
        there = runtime.cluster.list("Deployment", target.namespace)
    else:
        there = [each for step in plan.steps for each in moved(runtime.cluster, step)]
    for each in sorted(there, key=_harm):
        if not lacking(runtime.cluster, (DELETE,), [each["metadata"]["namespace"]]):
            return each
    return None


def _harm(workload: Object) -> tuple[bool, int, str]:
    """Of the largest Deployment a pod can be ended with the least harm."""
    return workload["kind"] != "Deployment", -int(workload["spec"].get("replicas", 1)), workload["metadata"]["name"]


def _service(runtime: Runtime, namespace: str, labels: dict[str, str]) -> str:
    if not namespace:
        return ""
    for service in runtime.cluster.list("Service", namespace):
        wanted = service["spec"].get("selector") or {}
        if wanted and all(labels.get(key) == value for key, value in wanted.items()):
            return str(service["metadata"]["name"])
    return ""


def _extra_load(runtime: Runtime, namespace: str, service: str) -> float:
    query = selector("kt:requests_per_second", {"namespace": namespace, "service": service})
    try:
        series = instant(runtime.settings.prometheus.url, query)
    except PrometheusUnavailable:
        return 0.0
    return round(EXTRA_LOAD * sum(value for _, value in series), 1)
