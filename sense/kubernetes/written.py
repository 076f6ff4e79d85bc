"""What containers write, as Kubernetes' API hands it out (`pods/log`, each line after its time). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from sense.kubernetes import objects
from sense.kubernetes.objects import Object

RIGHTS = (("", "pods/log", "get"),)
"""What it takes besides what is watched anyway: (API group, resource, verbs)."""


class Run(msgspec.Struct, frozen=True):
    """One run of a container of a pod: the present one, or the one before it."""

    pod: str
    namespace: str
    container: str
    previous: bool
    since: datetime | None
    """From when on there is something of the pod; None: not known."""


def runs(pod: Object) -> Iterator[Run]:
    """The runs of a pod's containers that may tell of trouble: all of those that serve, each with the one before if
    it ended, and those that prepare and failed."""
    meta, status = pod["metadata"], pod.get("status") or {}
    began = status.get("startTime")
    since = datetime.fromisoformat(began) if began else None
    preparing = [each for each in status.get("initContainerStatuses") or [] if objects.failed(each)]
    for each in (*(status.get("containerStatuses") or []), *preparing):
        for previous in (False, True):
            if each.get("restartCount") if previous else _ran(each):
                yield Run(meta["name"], meta.get("namespace", ""), each["name"], previous, since)


def _ran(container: Object) -> bool:
    """Whether there is a present run: what waits to be started again has only the one before."""
    return "waiting" not in (container.get("state") or {})


def lines(text: str) -> Iterator[tuple[float, str]]:
    """(seconds since 1970, the line). What bears no time, such as a line that was cut off, is left out."""
    for each in text.splitlines():
        at, _, said = each.partition(" ")
        try:
            yield datetime.fromisoformat(at).timestamp(), said
        except ValueError:
            continue
