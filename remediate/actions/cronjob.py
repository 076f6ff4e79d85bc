"""Pause and resume a CronJob: no new runs while somebody looks; what runs already goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediate.actions.base import CannotAct
from remediate.actions.field import FieldChange, Wish
from remediate.cluster import Cluster, Object

RULES = (("batch", "cronjobs", "get patch"),)


class PauseCronJob(FieldChange):
    name = "pause-cronjob"
    rules = RULES
    pointers = ("/spec/suspend",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        return _wish(target, "pause", suspend=True)


class ResumeCronJob(FieldChange):
    name = "resume-cronjob"
    rules = RULES
    pointers = ("/spec/suspend",)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        return _wish(target, "resume", suspend=False)


def _wish(target: Object, what: str, *, suspend: bool) -> Wish:
    if target["kind"] != "CronJob":
        raise CannotAct(f"a {target['kind']} has no schedule that could be {what}d")
    meta, spec = target["metadata"], target["spec"]
    if bool(spec.get("suspend")) == suspend:
        raise CannotAct("it is suspended already" if suspend else "it is not suspended")
    return Wish(
        thing=target,
        values={"/spec/suspend": suspend},
        summary=f"{what} CronJob {meta['namespace']}/{meta['name']} ({spec.get('schedule', 'no schedule')})",
        parameters={"to": suspend},
    )
