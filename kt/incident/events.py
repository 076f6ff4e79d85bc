"""What can happen to an incident. Each event is a fact that took place; the log never changes one.

Events are tagged structs: their JSON carries `"type": "<name>"`, so a log written today is read by tomorrow's code.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec

from graph_schema.model import Diagnosis, NextProbe, ProbeAnswer, Signal
from remediate.plan import Difference, Plan
from verify.verdict import Verdict


class Happened(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """Common to all events: when it happened."""

    at: datetime


class AlertsReceived(Happened, frozen=True):
    """Signals that joined this incident, firing and resolved. The first one opens it."""

    signals: tuple[Signal, ...]
    group_key: str = ""
    truncated: int = 0
    """Alerts that Alertmanager left out of the notification."""
    received_at: datetime | None = None
    """When the notification came in; `at` is when it was looked at."""
    chaos_runs: tuple[str, ...] = ()
    """The runs of scheduled chaos that were on when they were raised, and may have raised them."""
    reopens: bool = False
    """The incident was given to a person shortly before, and the same comes again: it is looked at anew."""
    attacked: str = ""
    """The incident whose fix KT had just attacked when this was raised near it."""
    calm_at: datetime | None = None
    """Until then it may be the doing of that attack, which ends by itself."""


class Probed(Happened, frozen=True):
    """The evidence was not enough, and one read-only question was asked; its answer counts in the next diagnosis."""

    probe: NextProbe
    answer: ProbeAnswer
    guess: str = ""
    """The likeliest cause before it was asked, with its probability; in words."""


class Diagnosed(Happened, frozen=True):
    diagnosis: Diagnosis
    basis: bytes = b""
    """What it rests on (`kt.incident.basis`), packed; empty when it was too large, and in old logs."""


class Confirmed(Happened, frozen=True):
    """A person says what the cause was. The last one counts, above what KT believes; the incident stays as it is."""

    entity: str
    kind: str
    fault: str
    by: str
    why: str = ""


class PlanProposed(Happened, frozen=True):
    plan: Plan
    approvals_needed: int
    """0: automatic, 1: one approver, 2: two different ones."""
    expires_at: datetime
    shadow: bool = False
    """It is only shown: the guard is off."""


class Approved(Happened, frozen=True):
    plan_digest: str
    by: str
    why: str = ""
    where: str = ""
    """The host it was said on."""


class Rejected(Happened, frozen=True):
    plan_digest: str
    by: str
    why: str
    where: str = ""


class Revoked(Happened, frozen=True):
    """What was agreed to is taken back before anything was done: the plan waits for a new decision."""

    plan_digest: str
    by: str
    why: str = ""
    where: str = ""


class PlanDropped(Happened, frozen=True):
    """The plan lapsed before it acted: it expired, its target changed, or what it was for is no longer firing."""

    plan_digest: str
    why: str


class ActionStarted(Happened, frozen=True):
    """The intent, logged before the effect. After a crash the next worker looks at the object instead of guessing."""

    action_id: str
    plan_digest: str
    step: int
    fencing: int
    """The token of its target."""
    rights: dict[str, int] = {}
    """The tokens of all that the plan touches, its targets among them, by the name of the lease; empty in old logs."""


class ActionFinished(Happened, frozen=True):
    action_id: str
    ok: bool
    detail: str = ""
    undo: dict[str, object] = {}
    """What the undo of this step needs to know: the state before, seen right before the effect."""


class VerificationStarted(Happened, frozen=True):
    """The symptoms are gone for long enough; the experiment begins."""

    attempt: int
    experiment: dict[str, object]


class Verified(Happened, frozen=True):
    verdict: Verdict
    journal: dict[str, object] = {}


class UndoStarted(Happened, frozen=True):
    action_id: str
    """Of the action that is being undone."""
    why: str


class RolledBack(Happened, frozen=True):
    """An action was undone (ok) or could not be."""

    action_id: str
    ok: bool
    detail: str = ""


class UndoAsked(Happened, frozen=True):
    """A person wants the state before a remedy back. Nothing is done yet: the guard and others may have to agree."""

    by: str
    actions: tuple[str, ...]
    """Ids of the actions to be taken back."""
    expires_at: datetime
    why: str = ""
    where: str = ""
    approvals_needed: int = 0
    others_only: bool = False
    """Whoever asked does not count among those who agree."""

    @property
    def digest(self) -> str:
        """What an approval of it is bound to."""
        return hashlib.sha256(msgspec.json.encode(("undo", self.actions))).hexdigest()


class UndoDropped(Happened, frozen=True):
    """Nothing was taken back, and why: the incident is again what it was before anybody asked."""

    why: str
    differences: tuple[Difference, ...] = ()
    """What is not as the remedy left it."""


class Undone(Happened, frozen=True):
    """What was done is taken back, by whose word. The end of an incident."""

    by: str
    why: str = ""


class Postponed(Happened, frozen=True):
    """The next step is not possible now (a guard says later, a server does not answer); it is due again at `until`."""

    until: datetime
    why: str
    causes: tuple[tuple[str, str], ...] | None = None
    """For which causes (entity, fault) nothing can be done until then: news that leave them as they are change nothing.
    Empty: whatever the causes. None: any news is a reason to look at once."""
    least: float = 0.0
    """The probability from which on a cause counts among them."""


class Healed(Happened, frozen=True):
    why: str


class Escalated(Happened, frozen=True):
    """KT is at the end of what it may or can do; a person has to look. Carries why in words for that person."""

    why: str


Event = (
    AlertsReceived
    | Probed
    | Diagnosed
    | Confirmed
    | PlanProposed
    | Approved
    | Rejected
    | Revoked
    | PlanDropped
    | ActionStarted
    | ActionFinished
    | VerificationStarted
    | Verified
    | UndoStarted
    | RolledBack
    | UndoAsked
    | UndoDropped
    | Undone
    | Postponed
    | Healed
    | Escalated
)
