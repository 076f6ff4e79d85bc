"""Terminate invalid containers: of one workload the pods that fail and will not recover by themselves, in waves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from remediate.actions.base import called
from remediate.actions.judged import ENDING, EndsJudged, Judged, none_of, reasons
from remediate.placement import Rooms
from remediate.plan import Target
from remediate.termination import Policy


class TerminateInvalid(EndsJudged):
    name = "terminate-invalid"
    targets = ("Deployment", "StatefulSet", "DaemonSet")
    nothing = "pods that were ended have successors; there is nothing to go back to"

    def chosen(self, judged: Sequence[Judged], rooms: Rooms, policy: Policy) -> dict[str, dict[str, Any]]:
        pods = {
            each.key: {"uid": each.pod["metadata"]["uid"], "why": each.verdict.why}
            for each in judged
            if each.verdict.decision in ENDING
        }
        if not pods:
            raise none_of(judged, "is invalid")
        return pods

    def said(self, at: Target, pods: Mapping[str, Mapping[str, Any]], of: int) -> str:
        return f"end {len(pods)} invalid of {of} pods of {called(at)} ({reasons(pods)})"
