"""Of an object no more than is asked for, for `Cluster.list_as`: most of what a list weighs is never looked at."""

from __future__ import annotations

from typing import Any

import msgspec


class _Named(msgspec.Struct):
    name: str
    labels: dict[str, str] = {}


class _Condition(msgspec.Struct):
    type: str
    status: str


class _Conditions(msgspec.Struct):
    conditions: list[_Condition] = []


class _Closed(msgspec.Struct):
    unschedulable: bool = False


class NodeSeen(msgspec.Struct):
    """Of a node what tells whether it takes pods and where it belongs."""

    metadata: _Named
    spec: _Closed = msgspec.field(default_factory=_Closed)
    status: _Conditions = msgspec.field(default_factory=_Conditions)

    @property
    def ready(self) -> bool:
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)


class BudgetSeen(msgspec.Struct):
    """Of a disruption budget what tells whether it lets a pod go now."""

    class About(msgspec.Struct):
        namespace: str

    class Selects(msgspec.Struct):
        selector: dict[str, Any] | None = None

    class Counts(msgspec.Struct):
        disruptionsAllowed: int = 0  # noqa: N815 - as the API writes it

    metadata: About
    spec: Selects
    status: Counts = msgspec.field(default_factory=Counts)
