"""A pod as the API server tells of it, as the judge of containers needs it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from remediate.cluster import Object
from remediate.conditions import ready
from remediate.termination import Container

Usage = Mapping[str, tuple[float | None, float | None]]
"""`namespace/pod/container` → shares of the processor and memory limit that it uses, None where not known."""


def seen(
    pod: Object, now: datetime, *, tier: int | None, siblings: int, load: float = 0.0, least: float = 0.0,
    usage: Usage | None = None,
) -> list[Container]:  # fmt: skip
    """The containers of a pod. `siblings`: others of its kind that serve; `load`, `least`: how much of its node, and of
    the least loaded one, is asked for."""
    meta, status = pod["metadata"], pod.get("status") or {}
    created = _moment(meta["creationTimestamp"])
    begun = _moment(status.get("startTime") or meta["creationTimestamp"])
    over = status.get("reason") or "Failed" if status.get("phase") == "Failed" else ""
    found = []
    for each in status.get("containerStatuses") or []:
        name = f"{meta.get('namespace', '')}/{meta['name']}/{each['name']}"
        state, last = each.get("state") or {}, (each.get("lastState") or {}).get("terminated") or {}
        since = (state.get("running") or {}).get("startedAt") or last.get("finishedAt") or status.get("startTime")
        since_s = _ago(now, _moment(since) if since else created)
        cpu, memory = (usage or {}).get(name, (None, None))
        found.append(
            Container(
                name=name, tier=tier, cpu=cpu, memory=memory, restarts=int(each.get("restartCount") or 0),
                waiting=(state.get("waiting") or {}).get("reason", ""), ready=bool(each.get("ready")),
                age_s=_ago(now, begun), since_s=since_s, ended=over or last.get("reason", ""), siblings=siblings,
                unready_s=min(since_s, _unready(pod, now)) if "running" in state and not each.get("ready") else 0.0,
                node_load=load, least_load=least,
            )
        )  # fmt: skip
    return found


def _unready(pod: Object, now: datetime) -> float:
    """For how long the pod has not been ready."""
    if ready(pod):
        return 0.0
    conditions = (pod.get("status") or {}).get("conditions") or []
    at = next((each.get("lastTransitionTime") for each in conditions if each["type"] == "Ready"), None)
    return _ago(now, _moment(at or pod["metadata"]["creationTimestamp"]))


def _ago(now: datetime, at: datetime) -> float:
    return max(0.0, (now - at).total_seconds())


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
