"""Makes the Chaos Toolkit experiment that a fix has to stand: a plain experiment file, which `chaos run` runs too.

The method repeats the disturbance within a safe radius, or, where repeating it would be the fault itself (a bad image,
a dead node), the nearest one that the fix must survive: one pod of the healed workload ends and must come back well.
Where nothing can be disturbed (a sick node that no pod had to leave) the symptoms are watched for a while instead.
"""

from __future__ import annotations

from typing import Any

import msgspec

from verify.passive import Watch
from verify.prometheus import selector

Activity = dict[str, Any]


class ExperimentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What was healed and how it is looked at."""

    title: str
    fault: str
    namespace: str
    workload_kind: str
    workload: str
    """Of the healed thing, or, for a node, one whose pods were moved. Empty: only the symptoms are watched."""
    pod_selector: str = ""
    service: str = ""
    """The Service in front of it, for load."""
    per_second: float = 0.0
    """Extra load to repeat an overload with; 0: none."""
    load_s: float = 5.0
    watch: Watch | None = None
    """For where there is no workload to attack."""
    prometheus_url: str
    alerts: tuple[str, ...]
    """Selectors of `ALERTS` that must have no series."""
    recover_s: float = 60.0
    incident: str = ""
    entities: tuple[str, ...] = ()
    """What the incident is about: noted in the experiment, for whoever finds it later."""
    compare_until: str = ""
    """The end of the time before the fault (ISO 8601), with which failures are compared; empty: they are not."""
    peers: tuple[str, ...] = ()
    """Selectors of the same series of services that the fault did not touch."""


def experiment_for(request: ExperimentRequest) -> dict[str, Any]:
    """The experiment, valid for Chaos Toolkit 1.x."""
    return {
        "version": "1.0.0",
        "title": request.title,
        "description": f"The fix of {request.fault} is attacked; the steady state must hold.",
        "tags": ["kt", "verification"],
        "steady-state-hypothesis": {"title": "The symptoms are gone", "probes": _steady(request)},
        "method": _method(request),
        "rollbacks": [],
        "extensions": [
            {"name": "kt", "fault": request.fault, "incident": request.incident, "entities": list(request.entities)}
        ],
    }


def attacks(experiment: dict[str, Any]) -> bool:
    """Whether anything is disturbed by it, or only watched."""
    return any(each["type"] == "action" for each in experiment.get("method", ()))


def _steady(request: ExperimentRequest) -> list[Activity]:
    watched = {
        "prometheus_url": request.prometheus_url,
        "selectors": list(request.alerts),
        "within_s": request.recover_s,
    }
    probes = [
        _python("probe", "no alert of the incident fires", "verify.probes", "settled_alerts", watched, tolerance=0)
    ]
    if request.workload:
        probes.insert(0, _ready(request, "all replicas are ready", tolerance=True))
    return probes


def _method(request: ExperimentRequest) -> list[Activity]:
    steps: list[Activity] = []
    if request.per_second > 0 and request.service:
        arguments = {
            "namespace": request.namespace,
            "service": request.service,
            "per_second": request.per_second,
            "seconds": request.load_s,
        }
        steps.append(_python("action", "send the load again", "verify.actions", "load_service", arguments))
    elif request.workload and request.pod_selector:
        arguments = {
            "ns": request.namespace,
            "label_selector": request.pod_selector,
            "qty": 1,
            "rand": True,
            "grace_period": 0,
        }
        steps.append(_python("action", "end one pod", "chaosk8s.pod.actions", "terminate_pods", arguments))
    if request.workload:
        steps.append(_ready(request, "the replicas come back"))
    elif request.watch:
        steps.append(_watched(request, request.watch))
    if request.compare_until and request.service:
        steps.append(_compared(request))
    return steps


def _watched(request: ExperimentRequest, watch: Watch) -> Activity:
    name = (
        f"nothing could be disturbed, watched for {watch.seconds:.0f} s: had it come back at its usual pace, "
        f"that would be seen with {watch.confidence:.0%}"
    )
    arguments = {
        "prometheus_url": request.prometheus_url,
        "selectors": list(request.alerts),
        "watch_s": watch.seconds,
    }
    return _python("probe", name, "verify.probes", "stays_quiet", arguments)


def _compared(request: ExperimentRequest) -> Activity:
    about = {"namespace": request.namespace, "service": request.service}
    arguments = {
        "prometheus_url": request.prometheus_url,
        "query": selector("kt:error_ratio", about),
        "peers": list(request.peers),
        "until": request.compare_until,
    }
    return _python("probe", "failures are as before the fault", "verify.probes", "as_before", arguments)


def _ready(request: ExperimentRequest, name: str, **more: Any) -> Activity:
    arguments = {
        "kind": request.workload_kind,
        "name": request.workload,
        "namespace": request.namespace,
        "within_s": request.recover_s,
    }
    return _python("probe", name, "verify.probes", "workload_ready", arguments, **more)


def _python(kind: str, name: str, module: str, function: str, arguments: dict[str, Any], **more: Any) -> Activity:
    provider = {"type": "python", "module": module, "func": function, "arguments": arguments}
    return {"type": kind, "name": name, "provider": provider, **more}
