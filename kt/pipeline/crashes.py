"""A fix under which what it was for ends again and again is given up before `pipeline.recovery_s` is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from kt.pipeline.journey import Journey
from kt.runtime import Runtime
from kt.settings import BadSettings
from remediate.cluster import ClusterError, Object
from remediate.plan import Plan
from remediate.revisions import present_pods
from verify.failing import ends_of, failing, made_since

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
MOST_LOOKED_AT = 8
"""Workloads and pods; a fix that concerns more is judged by the first ones."""
MOST_KEPT = 64
"""Incidents; the oldest is forgotten, and what its old pods had gone through with it."""


class Crashes:
    """How often the containers of old pods had ended when this process first looked at them after a fix: what was
    before the fix is not held against it."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, datetime], dict[str, int]] = {}

    def under_the_fix(self, runtime: Runtime, journey: Journey) -> str:
        """What fails, in words; empty while the fix may still work, and where the cluster does not tell."""
        options, since = runtime.settings.pipeline, _begun(journey)
        if not options.most_crashes or journey.state.plan is None or since is None:
            return ""
        try:
            pods = _pods(runtime, journey.state.plan)
        except (BadSettings, ClusterError):
            return ""
        before = self._known(journey.incident, since)
        for pod in pods:
            if not made_since(pod, since):
                for each in ends_of(pod):
                    before.setdefault(each.key, each.times)
        arriving = timedelta(seconds=options.doubt_s)
        return failing(pods, before, since, runtime.clock(), most=options.most_crashes, arriving=arriving)

    def _known(self, incident: str, since: datetime) -> dict[str, int]:
        known = self._before.setdefault((incident, since), {})
        if len(self._before) > MOST_KEPT:
            del self._before[next(iter(self._before))]
        return known


def _begun(journey: Journey) -> datetime | None:
    """When the first step of what is being verified was begun."""
    state = journey.state
    return next((each.started_at for each in state.actions if each.plan == state.plan and not each.undone), None)


def _pods(runtime: Runtime, plan: Plan) -> list[Object]:
    """Those of the workloads and pods that the plan is for or touches, as they are made now. Raises `ClusterError`."""
    found: dict[str, Object] = {}
    for entity in sorted({plan.hypothesis.entity, *plan.blast_radius})[:MOST_LOOKED_AT]:
        kind, _, rest = entity.partition("/")
        namespace, _, name = rest.rpartition("/")
        if kind not in (*WORKLOADS, "Pod"):
            continue
        thing = runtime.cluster.get(kind, name, namespace)
        if thing is None:
            continue
        for pod in [thing] if kind == "Pod" else present_pods(runtime.cluster, {**thing, "kind": kind}):
            if not pod["metadata"].get("deletionTimestamp"):
                found[pod["metadata"]["uid"]] = pod
    return list(found.values())
