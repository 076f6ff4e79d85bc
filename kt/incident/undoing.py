"""Whether what was done for an incident can be asked back, and by what event. Pure, and idempotent."""

from __future__ import annotations

from datetime import datetime

from kt.incident.consent import Answer, Reply
from kt.incident.events import UndoAsked
from kt.incident.phases import ENDED
from kt.incident.state import State


def ask(state: State, answer: Answer, *, needed: int, others_only: bool, expires_at: datetime) -> Reply:
    """Ask for the state before. `needed`: how many people must agree; `others_only`: not counting who asks."""
    if state.undo is not None:
        asked = state.undo.asked
        return Reply(said=f"{asked.by} has asked for it already, at {asked.at:%Y-%m-%d %H:%M:%S} UTC.", done=True)
    if state.phase == "undone":
        return Reply(said=f"It is taken back already: {state.ended_why}.", done=True)
    done = tuple(action.id for action in state.actions if action.undoable)
    if not done:
        said = "What was done is taken back already." if state.actions else "Nothing was done that could be taken back."
        return Reply(said=said, done=bool(state.actions))
    under_way = state.phase == "verifying" and state.verification is not None
    if under_way or state.phase not in ENDED | {"verifying"}:
        what = "an experiment attacks the fix" if under_way else f"incident {state.id} is {state.phase}"
        return Reply(said=f"Not now: {what}. `kt stop` holds KT; ask again when it has ended.", done=False)
    event = UndoAsked(
        at=answer.at, by=answer.by, why=answer.why, where=answer.where, actions=done, approvals_needed=needed,
        others_only=others_only, expires_at=expires_at,
    )  # fmt: skip
    waits = "" if not needed else f" It waits for {needed} {'person' if needed == 1 else 'people'} to agree."
    return Reply(said=f"Asked for.{waits}", done=True, event=event)
