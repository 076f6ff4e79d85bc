"""What a run has shown that somebody has to know: a weakness, a limit that was passed, a disturbance left behind.

A finding opens an incident that is told to a person at once; KT does not repair by itself what an experiment broke.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from graph_schema.model import Signal
from kt.chaos.model import Outcome, Run
from kt.incident.events import AlertsReceived, Escalated
from kt.incident.log import Append, VersionConflict
from kt.incident.state import fold
from kt.runtime import Runtime

NAME = "KtChaosFinding"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["weakness", "limit", "left behind"]
    text: str


def findings(outcome: Outcome, why: str, breach: str, journals: Mapping[str, Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Of a run that ended so, the gravest first. `journals`: those that were kept of it."""
    found = []
    if outcome not in ("refused", "skipped"):
        left = _left_behind(why, journals)
        if left:
            found.append(Finding(kind="left behind", text=left))
    if outcome == "regressed":
        found.append(Finding(kind="weakness", text=why))
    if breach:
        found.append(Finding(kind="limit", text=breach))
    return tuple(found)


def _left_behind(why: str, journals: Mapping[str, Mapping[str, Any]]) -> str:
    if "a person has to look" in why:
        return why
    # What another process took back later counts, not what the first one did not.
    ran = (journals.get("undo") or journals.get("run") or {}).get("rollbacks")
    failed = [each for each in ran or () if isinstance(each, dict) and each.get("status") != "succeeded"]
    names = ", ".join(str((each.get("activity") or {}).get("name", "unnamed")) for each in failed)
    return f"a rollback failed, something may be left of the disturbance: {names}" if failed else ""


def open_incident(runtime: Runtime, run: Run, found: tuple[Finding, ...]) -> str:
    """Tell a person, once however often this is called for a run; the incident's id."""
    incident = hashlib.blake2b(f"chaos/{run.id}".encode(), digest_size=13).hexdigest()
    now = runtime.clock()
    target = run.targets[0] if run.targets else ""
    namespace, _, name = target.partition("/")
    signal = Signal(
        fingerprint=f"chaos/{run.id}",
        entity=f"Service/{target}" if target else "",
        symptom="unknown",
        name=NAME,
        starts_at=run.started_at or now,
        labels={"namespace": namespace, "service": name} if target else {},
        annotations={"run": run.id, "experiment": run.what.name},
        source="chaos",
        mapped=bool(target),
    )
    told = "; ".join(f"{each.kind}: {each.text}" for each in found)
    why = f"Chaos run {run.id} ({run.what.name}) found: {told}. `kt chaos report {run.id}` has the whole of it."
    events = (AlertsReceived(at=now, signals=(signal,), chaos_runs=(run.id,)), Escalated(at=now, why=why))
    try:
        runtime.log.commit([Append(incident=incident, expected=0, events=events)])
    except VersionConflict:
        return incident
    runtime.telemetry.ended(fold(incident, events))
    return incident
