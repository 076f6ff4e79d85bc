"""Jobs run their pods to the end, CronJobs make Jobs on schedule."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim

from twin.api import defaults
from twin.errors import ApiError
from twin.objects import Object, Store, clone, stamp
from twin.simulation.controllers import made_pod, owned, reference

ENDS = ("Complete", "Failed")


def jobs(store: Store, now: datetime) -> None:
    for job in list(store.all("Job")):
        with contextlib.suppress(ApiError):
            _run(store, job, now)


def _run(store: Store, job: Object, now: datetime) -> None:
    meta, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    if _ended(status):
        _forget(store, job, now)
        return
    pods = owned(store, "Pod", job)
    phases = [pod["status"].get("phase") for pod in pods]
    succeeded, failed = phases.count("Succeeded"), phases.count("Failed")
    active = [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    begun = status.get("startTime") or stamp(now)
    report: dict[str, Any] = {
        "startTime": begun, "active": len(active), "succeeded": succeeded, "failed": failed
    }  # fmt: skip
    late = "activeDeadlineSeconds" in spec and (now - _moment(begun)).total_seconds() >= spec["activeDeadlineSeconds"]
    if succeeded >= spec["completions"]:
        report |= {"conditions": [_condition("Complete", "CompletionsReached", now)], "completionTime": stamp(now)}
    elif failed > spec["backoffLimit"]:
        report["conditions"] = [_condition("Failed", "BackoffLimitExceeded", now)]
    elif late:
        report["conditions"] = [_condition("Failed", "DeadlineExceeded", now)]
    elif not spec.get("suspend"):
        for _ in range(min(spec["parallelism"], spec["completions"] - succeeded) - len(active)):
            template = clone(spec["template"])
            labels = template.setdefault("metadata", {}).setdefault("labels", {})
            labels["batch.kubernetes.io/job-name"] = meta["name"]
            made_pod(store, job, template, generateName=f"{meta['name']}-")
    if "conditions" in report:
        for pod in active:
            store.remove("Pod", pod)
        report["active"] = 0
    store.edit("Job", meta["name"], meta["namespace"], lambda draft: draft.update({"status": report}))


def _forget(store: Store, job: Object, now: datetime) -> None:
    """What has ended goes after its time to live."""
    kept = job["spec"].get("ttlSecondsAfterFinished")
    ended = next(each["lastTransitionTime"] for each in job["status"]["conditions"] if each["type"] in ENDS)
    if kept is not None and (now - _moment(ended)).total_seconds() >= kept:
        store.remove("Job", job)


def _ended(status: Object) -> bool:
    return any(each["type"] in ENDS and each["status"] == "True" for each in status.get("conditions") or [])


def _condition(kind: str, reason: str, now: datetime) -> Object:
    return {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": stamp(now)}


def cron_jobs(store: Store, now: datetime) -> None:
    for cron in list(store.all("CronJob")):
        with contextlib.suppress(ApiError):
            _schedule(store, cron, now)


def _schedule(store: Store, cron: Object, now: datetime) -> None:
    meta, spec = cron["metadata"], cron["spec"]
    if spec.get("suspend"):
        return
    last = _moment((cron.get("status") or {}).get("lastScheduleTime") or meta["creationTimestamp"])
    due = next(CronSim(spec["schedule"], last))
    if due > now:
        return
    running = [each for each in owned(store, "Job", cron) if not _ended(each.get("status") or {})]
    if spec["concurrencyPolicy"] != "Forbid" or not running:
        job: Object = {
            "metadata": {
                "name": f"{meta['name']}-{int(due.timestamp()) // 60}",
                "namespace": meta["namespace"],
                "ownerReferences": [reference(cron)],
            },
            "spec": clone(spec["jobTemplate"]["spec"]),
        }
        defaults.fill(store, "Job", job)
        store.create("Job", job)

    def seen(draft: Object) -> None:
        draft["status"] = {**(draft.get("status") or {}), "lastScheduleTime": stamp(now)}

    store.edit("CronJob", meta["name"], meta["namespace"], seen)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
