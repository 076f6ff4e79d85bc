"""The state of an incident: a fold over its log. Pure; the only place that knows what each event means.

`fold` gives the state; `describe` gives the line that the index of the log keeps of it; `next_step` of the state names
the stage whose turn it is, which is all the pipeline needs to go on after any crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from graph_schema.model import Diagnosis, ProbeAnswer, Signal
from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    AlertsReceived,
    Approved,
    Confirmed,
    Diagnosed,
    Escalated,
    Event,
    Healed,
    PlanDropped,
    PlanProposed,
    Postponed,
    Probed,
    Rejected,
    Revoked,
    RolledBack,
    UndoAsked,
    UndoDropped,
    Undone,
    UndoStarted,
    VerificationStarted,
    Verified,
)
from kt.incident.log import Entry, Record
from kt.incident.phases import ENDED, STAGE_OF_PHASE, Action, Phase, Stage, Undoing
from remediate.plan import Plan
from verify.experiments import attacks
from verify.verdict import Verdict

NEWS = (AlertsReceived, Probed, Diagnosed, Confirmed)
"""What can come in while a step waits for its time."""


class State(msgspec.Struct, kw_only=True):
    """Where an incident stands. Built by `fold`; nothing else changes it."""

    id: str
    version: int = 0
    phase: Phase = "new"
    opened_at: datetime | None = None
    updated_at: datetime | None = None
    due_at: datetime | None = None
    signals: dict[str, Signal] = {}
    """By fingerprint, the latest known of each."""
    group_keys: tuple[str, ...] = ()
    truncated: int = 0
    chaos_runs: tuple[str, ...] = ()
    """The runs of scheduled chaos that were on when it was opened."""
    calm_at: datetime | None = None
    """Until then it may be the doing of KT's own attack on the fix of another incident."""
    diagnosis: Diagnosis | None = None
    diagnosed_version: int = 0
    answers: tuple[ProbeAnswer, ...] = ()
    """What probes answered; nothing any more once KT has acted, since the world is another one then."""
    confirmed: Confirmed | None = None
    """What a person says was the cause."""
    plan: Plan | None = None
    plan_at: datetime | None = None
    approvals_needed: int = 0
    approvals: tuple[Approved, ...] = ()
    rejections: tuple[Rejected, ...] = ()
    expires_at: datetime | None = None
    actions: tuple[Action, ...] = ()
    attempts: tuple[tuple[str, str, str], ...] = ()
    """(entity, fault, playbook) already tried and found wanting, or turned down: not to be proposed again."""
    verification: VerificationStarted | None = None
    verifications: int = 0
    attacked: tuple[datetime, datetime | None] | None = None
    """When an attack on its fix began last, and when it was over."""
    acted_at: datetime | None = None
    verdict: Verdict | None = None
    undo: Undoing | None = None
    """While somebody's wish to have the state before back is open: approvals are about that."""
    ended_why: str = ""
    postponed: Postponed | None = None
    """What its next step waits for, while nothing but news has come since."""
    escalated_at: datetime | None = None
    given_up: tuple[str, str] | None = None
    """The likeliest cause (entity, fault) when it was given to a person last; empty words where none was."""
    reopened_at: datetime | None = None
    reopened: int = 0
    """How often it came back after it was given to a person."""
    told_before: bool = False
    """It was given to a person again for the same cause: nobody is told twice."""

    @property
    def since(self) -> datetime | None:
        """Since when it has been looked at: patience counts from there."""
        return self.reopened_at or self.opened_at

    @property
    def reopenable(self) -> bool:
        """It is with a person, and nothing of KT's doing is left in the cluster."""
        return self.phase == "escalated" and self.undo is None and not any(each.undoable for each in self.actions)

    @property
    def digest(self) -> str:
        """Of what waits for consent; empty when nothing does."""
        if self.undo is not None:
            return self.undo.asked.digest
        return self.plan.digest if self.plan else ""

    @property
    def ended(self) -> bool:
        return self.phase in ENDED

    @property
    def firing(self) -> tuple[Signal, ...]:
        return tuple(signal for signal in self.signals.values() if signal.firing)

    @property
    def approved(self) -> bool:
        """Enough different people agreed to exactly this plan, or to taking it back."""
        return bool(self.digest) and len(self.agreed) >= self.approvals_needed

    @property
    def agreed(self) -> frozenset[str]:
        """Those whose consent counts."""
        aside = {self.undo.asked.by} if self.undo is not None and self.undo.asked.others_only else set()
        return frozenset({given.by for given in self.approvals} - aside)

    @property
    def next_step(self) -> Stage | None:
        """The stage whose turn it is; None once it has ended."""
        return STAGE_OF_PHASE.get(self.phase)


def fold(incident: str, events: Iterable[Event]) -> State:
    """The state after these events, oldest first."""
    state = State(id=incident)
    for event in events:
        state.version += 1
        state.opened_at = state.opened_at or event.at
        state.updated_at = event.at
        if not isinstance(event, Confirmed):
            state.due_at = event.at
        if not isinstance(event, NEWS):
            state.postponed = None
        _apply(state, event)
        if _holds(state, event.at) and state.postponed:
            state.due_at = state.postponed.until
        if state.ended:
            state.due_at = None
    return state


def _holds(state: State, now: datetime) -> bool:
    """Whether what was postponed stays so, whatever came in since."""
    wait = state.postponed
    if wait is None or wait.causes is None or now >= wait.until or not state.firing:
        return False
    if state.phase != "diagnosed":
        return state.phase == "awaiting approval" and not wait.causes
    return not wait.causes or (state.diagnosis is not None and likely(state.diagnosis, wait.least) == wait.causes)


def likely(diagnosis: Diagnosis, least: float) -> tuple[tuple[str, str], ...]:
    """The causes (entity, fault) that are as probable as that, in order."""
    return tuple((each.entity, each.fault) for each in diagnosis.selected() if each.probability >= least)


def describe(records: Sequence[Record]) -> Entry:
    """What the index keeps of a log. `records` is the whole log of one incident, never empty."""
    state = fold(records[0].incident, (record.event for record in records))
    first = records[0].event.at
    return Entry(
        incident=state.id,
        version=state.version,
        phase=state.phase,
        due_at=state.due_at,
        opened_at=state.opened_at or first,
        updated_at=state.updated_at or first,
        summary=summary(state),
    )


def summary(state: State) -> str:
    """One line for a list: the cause when it is known, else what was seen."""
    cause = next(iter(state.diagnosis.selected()), None) if state.diagnosis else None
    back = f", came back {'once' if state.reopened == 1 else f'{state.reopened} times'}" if state.reopened else ""
    if cause:
        return f"{cause.fault} of {cause.entity} ({cause.probability:.0%}){back}"
    seen = sorted({f"{signal.name} on {signal.entity}" for signal in state.signals.values()})
    more = f" and {len(seen) - 1} more" if len(seen) > 1 else ""
    return seen[0] + more + back if seen else "no signal"


def _apply(state: State, event: Event) -> None:
    match event:
        case AlertsReceived():
            _receive(state, event)
        case Probed():
            state.answers = (*state.answers, event.answer)
        case Confirmed():
            state.confirmed = event
        case Diagnosed():
            state.diagnosis, state.diagnosed_version = event.diagnosis, state.version
            state.phase = "diagnosed"
        case PlanProposed() | Approved() | Rejected() | Revoked() | PlanDropped():
            _decide(state, event)
        case ActionStarted() | ActionFinished():
            _act(state, event)
        case UndoStarted() | RolledBack():
            _undo(state, event)
        case UndoAsked() | UndoDropped() | Undone():
            _take_back(state, event)
        case VerificationStarted():
            state.verification, state.verifications = event, event.attempt
            if attacks(event.experiment):
                state.attacked = event.at, None
        case Verified():
            state.verdict, state.verification = event.verdict, None
            if state.attacked and state.attacked[1] is None:
                state.attacked = state.attacked[0], event.at
            if event.verdict.outcome == "regressed":
                state.phase = "undoing"
        case Postponed():
            state.due_at, state.postponed = event.until, event
        case Healed():
            state.phase, state.ended_why = "healed", event.why
        case Escalated():
            state.phase, state.ended_why, state.escalated_at = "escalated", event.why, event.at
            cause = next(iter(likely(state.diagnosis, 0.0)), ("", "")) if state.diagnosis else ("", "")
            state.told_before = state.reopened > 0 and cause == state.given_up
            state.given_up = cause


def _receive(state: State, event: AlertsReceived) -> None:
    due, news = state.due_at, False
    if event.reopens and state.phase == "escalated":
        _reopen(state, event)
    if not state.signals:
        state.chaos_runs, state.calm_at = event.chaos_runs, event.calm_at
    for signal in event.signals:
        known = state.signals.get(signal.fingerprint)
        if known is None or signal.starts_at >= known.starts_at:
            news = news or (signal.firing and (known is None or not known.firing))
            state.signals = {**state.signals, signal.fingerprint: signal}
    if event.group_key and event.group_key not in state.group_keys:
        state.group_keys = (*state.group_keys, event.group_key)
    state.truncated = max(state.truncated, event.truncated)
    if news and state.phase == "diagnosed":
        # Nothing was proposed yet: what is seen now may point elsewhere.
        state.phase = "new"
    if state.ended:
        state.due_at = due


def _reopen(state: State, event: AlertsReceived) -> None:
    """As new, but for what was tried: that is not tried again."""
    state.phase, state.reopened, state.reopened_at = "new", state.reopened + 1, event.at
    state.plan, state.approvals, state.approvals_needed, state.expires_at = None, (), 0, None
    state.verification, state.verifications, state.verdict, state.acted_at = None, 0, None, None
    state.answers, state.chaos_runs, state.ended_why = (), event.chaos_runs, ""
    state.calm_at = event.calm_at


def _decide(state: State, event: PlanProposed | Approved | Rejected | Revoked | PlanDropped) -> None:
    if isinstance(event, PlanProposed):
        state.plan, state.plan_at, state.approvals = event.plan, event.at, ()
        state.approvals_needed, state.expires_at = event.approvals_needed, event.expires_at
        state.phase = "awaiting approval"
        # Nobody is asked: it is due at once. Otherwise it is due when the time to decide is over.
        state.due_at = event.at if not event.approvals_needed else event.expires_at
        return
    if not state.digest or event.plan_digest != state.digest or state.phase != "awaiting approval":
        return
    if isinstance(event, Approved):
        state.approvals = (*state.approvals, event)
        state.due_at = event.at if state.approved else state.expires_at
        return
    if isinstance(event, Revoked):
        # Also a plan that needed nobody's consent waits for somebody's now.
        state.approvals, state.approvals_needed = (), max(1, state.approvals_needed)
        state.due_at = state.expires_at
        return
    if isinstance(event, Rejected):
        state.rejections = (*state.rejections, event)
    if state.undo is not None:
        _as_before(state)
        return
    if isinstance(event, Rejected) and state.plan is not None:
        state.attempts = (*state.attempts, state.plan.attempt)
    state.plan, state.approvals, state.phase = None, (), "diagnosed"


def _act(state: State, event: ActionStarted | ActionFinished) -> None:
    if isinstance(event, ActionStarted):
        if state.plan is None or event.plan_digest != state.plan.digest:
            return
        action = Action(
            id=event.action_id, step=event.step, fencing=event.fencing, rights=event.rights, started_at=event.at,
            plan=state.plan,
        )  # fmt: skip
        state.actions, state.phase, state.answers = (*state.actions, action), "acting", ()
        return
    state.actions = tuple(
        msgspec.structs.replace(action, finished=event) if action.id == event.action_id else action
        for action in state.actions
    )
    if not event.ok:
        state.phase = "undoing"
    elif state.plan is not None and _finished_steps(state) == len(state.plan.steps):
        state.phase, state.acted_at, state.verdict, state.verifications = "verifying", event.at, None, 0


def _finished_steps(state: State) -> int:
    """Steps of the current plan that are done; those of an earlier go at the same plan were undone and do not count."""
    return sum(
        1
        for action in state.actions
        if action.finished and action.finished.ok and not action.undone and action.plan == state.plan
    )


def _undo(state: State, event: UndoStarted | RolledBack) -> None:
    state.phase = "undoing"
    # What could not be undone is still to be undone: by a person, or when one asks again.
    change = {"undo_started": True} if isinstance(event, UndoStarted) else {"undone": event.ok}
    state.actions = tuple(
        msgspec.structs.replace(action, **change) if action.id == event.action_id else action
        for action in state.actions
    )
    if state.undo is not None:
        return
    if isinstance(event, RolledBack) and not any(action.undoable for action in state.actions):
        if state.plan is not None:
            state.attempts = (*state.attempts, state.plan.attempt)
        state.plan, state.approvals, state.phase = None, (), "diagnosed"


def _take_back(state: State, event: UndoAsked | UndoDropped | Undone) -> None:
    if isinstance(event, UndoAsked):
        state.undo = Undoing(
            asked=event, was=state.phase, approvals=state.approvals, approvals_needed=state.approvals_needed,
            expires_at=state.expires_at,
        )  # fmt: skip
        state.approvals, state.approvals_needed, state.expires_at = (), event.approvals_needed, event.expires_at
        state.phase, state.due_at = "awaiting approval", event.expires_at if event.approvals_needed else event.at
        return
    _as_before(state)
    if isinstance(event, Undone):
        state.phase = "undone"
        state.ended_why = f"{event.by} took it back" + (f": {event.why}" if event.why else "")


def _as_before(state: State) -> None:
    """Nobody wants anything back any more."""
    if state.undo is None:
        return
    state.phase, state.approvals = state.undo.was, state.undo.approvals
    state.approvals_needed, state.expires_at, state.undo = state.undo.approvals_needed, state.undo.expires_at, None
