"""What an incident's state is made of: its phases, what was done for it, and a wish to have that back."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from kt.incident.events import ActionFinished, Approved, UndoAsked
from remediate.plan import Plan

Phase = Literal[
    "new", "diagnosed", "awaiting approval", "acting", "verifying", "undoing", "healed", "escalated", "undone"
]
Stage = Literal["diagnose", "remediate", "verify"]

STAGE_OF_PHASE: dict[str, Stage] = {
    "new": "diagnose",
    "diagnosed": "remediate",
    "awaiting approval": "remediate",
    "acting": "remediate",
    "undoing": "remediate",
    "verifying": "verify",
}
ENDED = frozenset({"healed", "escalated", "undone"})


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan that was begun. `finished` is None between intent and outcome: look before going on."""

    id: str
    step: int
    fencing: int
    started_at: datetime
    plan: Plan
    rights: dict[str, int] = {}
    """The tokens of all that its plan touches, by the name of the lease."""
    finished: ActionFinished | None = None
    undo_started: bool = False
    undone: bool = False

    @property
    def held(self) -> dict[str, int]:
        """What was reserved for it, with the tokens; of old logs only its target is known."""
        return self.rights or {self.plan.steps[self.step].target.lease: self.fencing}

    @property
    def undoable(self) -> bool:
        """It took effect, or may have, and was not undone: an action that died in between counts."""
        return not self.undone and (self.finished is None or self.finished.ok)


class Undoing(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for the state before the remedy; `was`, `approvals` …: what the incident was until then."""

    asked: UndoAsked
    was: Phase
    approvals: tuple[Approved, ...]
    approvals_needed: int
    expires_at: datetime | None
