"""Move busy pods: those that use up their limits on a node which is fuller than others go, and start anew elsewhere.

The scheduler chooses where (it prefers nodes with less asked of them). A pod is only moved when there is such a node
that takes it and is not the fuller one afterwards, and only as many go as it needs until the nodes are not apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from remediate.actions.base import CannotAct, called
from remediate.actions.judged import EndsJudged, Judged, none_of, reasons
from remediate.placement import Rooms
from remediate.plan import Target
from remediate.termination import Policy


class MoveBusy(EndsJudged):
    name = "move-busy"
    targets = ("Deployment", "StatefulSet", "Pod", "Node")
    nothing = "pods that have moved stay where they are"

    def chosen(self, judged: Sequence[Judged], rooms: Rooms, policy: Policy) -> dict[str, dict[str, Any]]:
        busy = [each for each in judged if each.verdict.decision == "move"]
        if not busy:
            raise none_of(judged, "is to be moved")
        pods: dict[str, dict[str, Any]] = {}
        for each in sorted(busy, key=lambda each: (-each.verdict.score, each.key)):
            where, left = each.pod["spec"]["nodeName"], rooms.copy()
            spec = {key: value for key, value in each.pod["spec"].items() if key != "nodeName"}
            left.give_back(each.pod)
            to = left.take(spec, (where,))
            if not to:
                continue
            apart, after = rooms.load(where) - rooms.load(to), left.load(to) - left.load(where)
            if apart > policy.imbalance and after <= abs(policy.imbalance):
                pods[each.key] = {"uid": each.pod["metadata"]["uid"], "why": f"{each.verdict.why}; {where} → {to}"}
                rooms = left
        if not pods:
            raise CannotAct(f"no other node that is emptier takes them: {busy[0].verdict.why}")
        return pods

    def said(self, at: Target, pods: Mapping[str, Mapping[str, Any]], of: int) -> str:
        whose = "" if at.kind == "Pod" else f" of {of} pods of {called(at)}"
        return f"move {len(pods)} busy{whose} to where there is room ({reasons(pods)})"
