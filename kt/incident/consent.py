"""What a person's answer to a plan comes to: an event, or a word on why there is none. Pure, and idempotent.

A wish to take a remedy back (`kt.incident.undoing`) is decided on in the same way.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from kt.incident.events import Approved, Rejected, Revoked, UndoAsked
from kt.incident.state import State


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, when, from where, why; `plan`: the beginning of the digest that was shown, empty for any."""

    by: str
    at: datetime
    where: str = ""
    why: str = ""
    plan: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What to say; `event`: what to append; `done`: whether things are now as the person wants them."""

    said: str
    done: bool
    event: Approved | Rejected | Revoked | UndoAsked | None = None


def approve(state: State, answer: Answer) -> Reply:
    """Agreeing twice is agreeing once, also to a plan that was carried out since."""
    agreed = any(given.by == answer.by for given in state.approvals)
    if state.phase != "awaiting approval" and agreed:
        since = "the plan was carried out" if state.actions else f"the incident is {state.phase}"
        return Reply(said=f"{answer.by} has agreed already, and {since}.", done=True)
    against = _not_open(state, answer)
    if against:
        return Reply(said=against, done=False)
    if agreed:
        more = "" if state.approved else " Another person is needed."
        return Reply(said=f"{answer.by} has agreed already.{more}", done=True)
    if state.undo is not None and state.undo.asked.others_only and answer.by == state.undo.asked.by:
        return Reply(said=f"{answer.by} has asked for it; somebody else has to agree.", done=False)
    event = Approved(plan_digest=state.digest, by=answer.by, at=answer.at, where=answer.where, why=answer.why)
    missing = state.approvals_needed - len(state.agreed | {answer.by})
    what = "; ".join(step.summary or step.action for step in state.plan.steps) if state.plan else ""
    if state.undo is not None:
        what = f"taking back: {what}"
    others = f" {missing} more {'person' if missing == 1 else 'people'} must agree." if missing > 0 else ""
    return Reply(said=f"Agreed to: {what}.{others}", done=True, event=event)


def reject(state: State, answer: Answer) -> Reply:
    if state.phase != "awaiting approval" and any(given.by == answer.by for given in state.rejections):
        return Reply(said=f"{answer.by} has turned it down already.", done=True)
    against = _not_open(state, answer)
    if against:
        return Reply(said=against, done=False)
    event = Rejected(plan_digest=state.digest, by=answer.by, at=answer.at, where=answer.where, why=answer.why)
    return Reply(said="Turned down.", done=True, event=event)


def revoke(state: State, answer: Answer) -> Reply:
    """Take consent back before anything was done: the plan waits for a new decision, also one that needed none."""
    against = _not_open(state, answer)
    if against:
        return Reply(said=against, done=False)
    if state.approvals_needed and not state.approvals:
        return Reply(said="Nobody has agreed to it; it waits for a decision.", done=True)
    event = Revoked(plan_digest=state.digest, by=answer.by, at=answer.at, where=answer.where, why=answer.why)
    return Reply(said="Taken back; it waits for a decision.", done=True, event=event)


def _not_open(state: State, answer: Answer) -> str:
    """Why there is nothing to decide; empty when there is."""
    if not state.digest or state.phase != "awaiting approval":
        if state.actions and state.phase in ("acting", "verifying", "healed"):
            return f"Too late: the plan was already carried out, incident {state.id} is {state.phase}."
        return f"Incident {state.id} is {state.phase}; it waits for nobody."
    if state.expires_at and answer.at >= state.expires_at:
        return f"Too late: the time to decide ran out at {state.expires_at:%Y-%m-%d %H:%M:%S} UTC."
    if not state.digest.startswith(answer.plan):
        return f"The plan is another one now ({state.digest[:12]}); look at it again: kt show {state.id}"
    return ""
