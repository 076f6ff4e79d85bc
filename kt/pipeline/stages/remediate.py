"""Remediate: propose a plan, wait for consent, act with the intent logged first, undo what did not help."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from kt.incident.events import (
    ActionFinished,
    ActionStarted,
    Diagnosed,
    Escalated,
    Event,
    Healed,
    PlanDropped,
    PlanProposed,
    Postponed,
    RolledBack,
    UndoStarted,
)
from kt.incident.phases import Action
from kt.incident.state import State, likely
from kt.pipeline.dependants import dependants
from kt.pipeline.during_chaos import left_to_chaos
from kt.pipeline.journey import Held, Journey
from kt.pipeline.learning import learn
from kt.pipeline.stages.diagnose import look_again, named
from kt.pipeline.targets import give_back, in_the_way, reserve, stand_aside
from kt.runtime import Runtime
from remediate.actions import Outcome
from remediate.plan import Plan
from remediate.remediator import Refusal

NOT_YET = "No cause is likely enough to act on yet."
_log = structlog.get_logger(__name__)


MOST_PATIENT = 12
"""At most so many times `pipeline.retry_s` passes between two looks at what lasts."""
SOON_S = 1.0
"""What a metric shows of a fault, it shows within seconds: so soon evidence is looked for again at first."""


def run(runtime: Runtime, journey: Journey, lease: Held) -> None:
    """Go on until somebody else's turn has come: an operator's, the verification's, or the end."""
    while not lease.lost.is_set():
        match journey.state.phase:
            case "diagnosed":
                _propose(runtime, journey)
            case "awaiting approval" if not journey.state.approved or not stopped(runtime, journey):
                if not _consented(runtime, journey):
                    return
                _begin(runtime, journey)
            case "acting" if not stopped(runtime, journey):
                _act(runtime, journey)
            case "undoing" if not stopped(runtime, journey):
                _undo(runtime, journey)
            case _:
                return
        if journey.state.ended or (journey.state.due_at and journey.state.due_at > runtime.clock()):
            return


def stopped(runtime: Runtime, journey: Journey) -> bool:
    """Whether KT is stopped: then nothing touches the cluster. Told once in the log, asked of the store each time."""
    stop = runtime.brakes.stopped()
    if stop is None:
        return False
    _wait(runtime, journey, f"{stop.by} has stopped KT{': ' + stop.why if stop.why else ''}")
    return True


def wait_for(runtime: Runtime, journey: Journey, why: str, *, patient: bool = True) -> None:
    """Look again in a while; with patience, what lasts is looked at less often, so that it does not fill the log."""
    now = runtime.clock()
    journey.append(Postponed(at=now, until=now + _pause(runtime, journey, patient=patient), why=why))


def _pause(runtime: Runtime, journey: Journey, *, patient: bool = True) -> timedelta:
    waited = min(_waited(journey), MOST_PATIENT - 1) if patient else 0
    return timedelta(seconds=runtime.settings.pipeline.retry_s * (1 + waited))


def _waited(journey: Journey, why: str = "") -> int:
    """How many times in a row it was put off (for that reason) until now."""
    found = 0
    while isinstance(last := _event(journey, found + 1), Postponed) and why in ("", last.why):
        found += 1
    return found


def _event(journey: Journey, back: int) -> Event | None:
    return journey.records[-back].event if back <= len(journey.records) else None


def _wait(runtime: Runtime, journey: Journey, why: str) -> None:
    """Leave it due, so that each sweep looks again; told once in the log."""
    last = journey.records[-1].event if journey.records else None
    if not (isinstance(last, Postponed) and last.why == why):
        journey.append(Postponed(at=runtime.clock(), until=runtime.clock(), why=why))


def _propose(runtime: Runtime, journey: Journey) -> None:
    state, now, settings = journey.state, runtime.clock(), runtime.settings
    policy = runtime.policy()
    if not state.firing:
        journey.append(Healed(at=now, why="What was seen ended by itself."))
        return
    if left_to_chaos(runtime, journey):
        return
    causes = named(runtime, state.diagnosis, settings.diagnose.min_probability)
    if not causes:
        _wait_for_evidence(runtime, journey)
        return
    look_at_breaker(runtime)
    answer = runtime.remediator.propose(causes, tried=frozenset(state.attempts))
    if isinstance(answer, Refusal):
        if not _looked_anew(runtime, journey, answer):
            _refused(runtime, journey, answer)
        return
    answer = msgspec.structs.replace(answer, affects=dependants(runtime.graph, answer.blast_radius))
    expires = now + timedelta(seconds=policy.approval.expires_s)
    proposed = PlanProposed(
        at=now, plan=answer, approvals_needed=runtime.remediator.approvals(answer), expires_at=expires,
        shadow=not policy.guard.enabled,
    )  # fmt: skip
    if policy.guard.enabled and not answer.propose_only:
        journey.append(proposed)
        return
    if answer.propose_only:
        journey.append(proposed, Escalated(at=now, why=_for_a_person(answer)))
        return
    why = "KT only observes (guard.enabled is off). The plan above is what it would have done."
    journey.append(proposed, Escalated(at=now, why=why))


def look_at_breaker(runtime: Runtime) -> None:
    """Open the circuit breaker if there is reason to, and say so once."""
    trip = runtime.remediator.guard.watch()
    if trip is not None:
        _log.error("circuit breaker opened: KT only proposes", until=trip.until.isoformat(), why=trip.why)


def _for_a_person(plan: Plan) -> str:
    return f"KT proposes this plan and does not carry it out: {plan.propose_only}"


def _wait_for_evidence(runtime: Runtime, journey: Journey) -> None:
    """No cause is likely enough to act on: more alerts may tell, and so may what is measured meanwhile.

    A person is told when neither does."""
    state, now, options = journey.state, runtime.clock(), runtime.settings
    last = _event(journey, 1)
    if isinstance(last, Postponed) and last.why == NOT_YET:
        if now < last.until:
            return
        again = look_again(runtime, journey, options.diagnose.min_probability)
        if again is not None:
            journey.append(again)
            return
    patience = timedelta(seconds=options.pipeline.evidence_s)
    if state.since and now < state.since + patience:
        pause = min(options.pipeline.retry_s, SOON_S * 2 ** _waited(journey, NOT_YET))
        until = min(now + timedelta(seconds=pause), state.since + patience)
        journey.append(Postponed(at=now, until=until, why=NOT_YET))
        return
    found = next(iter(state.diagnosis.selected()), None) if state.diagnosis else None
    if found and found.fault not in runtime.catalogue.faults:
        why = f"It arises at {found.entity} ({found.probability:.0%}), but what is wrong there is not known."
        journey.append(Escalated(at=now, why=why))
        return
    guess = f"; the best guess is {found.fault} of {found.entity} ({found.probability:.0%})" if found else ""
    journey.append(Escalated(at=now, why=f"No cause is likely enough to act on{guess}."))


def _refused(runtime: Runtime, journey: Journey, refusal: Refusal) -> None:
    state, now, options = journey.state, runtime.clock(), runtime.settings.pipeline
    given_up = (state.since or now) + timedelta(seconds=options.guard_patience_s)
    if not refusal.later or now >= given_up:
        journey.append(Escalated(at=now, why=refusal.why))
        return
    # Once for each reason and end: news that leave the causes as they are do not make it ask again before.
    until, least = refusal.until or now + _pause(runtime, journey), runtime.settings.diagnose.min_probability
    causes = likely(state.diagnosis, least) if state.diagnosis else ()
    journey.append(Postponed(at=now, until=min(until, given_up), why=refusal.why, causes=causes, least=least))


def _looked_anew(runtime: Runtime, journey: Journey, refusal: Refusal) -> bool:
    """Where nothing is left to try for the cause that was named, and what was tried did not help: whether what is seen
    by now names a cause that can be acted on. Looked at once after each remedy that failed."""
    made = [each.event for each in journey.records if isinstance(each.event, Diagnosed | RolledBack)]
    if refusal.later or not made or not isinstance(made[-1], RolledBack):
        return False
    least = runtime.settings.diagnose.min_probability
    again = look_again(runtime, journey, least)
    tried = {(entity, fault) for entity, fault, _ in journey.state.attempts}
    if again is None or not any(
        each.probability >= least and (each.entity, each.fault) not in tried for each in again.diagnosis.selected()
    ):
        return False
    journey.append(again)
    return True


def _consented(runtime: Runtime, journey: Journey) -> bool:
    """Whether the plan may be carried out now; lapses it when it may never be."""
    state, now = journey.state, runtime.clock()
    if state.plan is None:
        return False
    if not state.firing:
        journey.append(PlanDropped(at=now, plan_digest=state.plan.digest, why="What it was for is no longer firing."))
        return False
    if state.expires_at and now >= state.expires_at:
        why = "Its time ran out before it could be carried out." if state.approved else "Nobody decided on it in time."
        journey.append(PlanDropped(at=now, plan_digest=state.plan.digest, why=why), Escalated(at=now, why=why))
        return False
    if not state.approved:
        return False
    if _quiet(runtime, state):
        _wait(runtime, journey, "Prometheus has none of its alerts any more; nothing is done unless they come back.")
        return False
    if silenced := runtime.silences.held(state.firing):
        _wait(runtime, journey, silenced)
        return False
    refusal = runtime.remediator.current(state.plan)
    if refusal is not None and refusal.later:
        # What was agreed to stays so: it is not for this that people would have to be asked again.
        until = min(
            refusal.until or now + _pause(runtime, journey), state.expires_at or datetime.max.replace(tzinfo=UTC)
        )
        journey.append(Postponed(at=now, until=until, why=refusal.why, causes=()))
        return False
    if refusal is not None:
        journey.append(PlanDropped(at=now, plan_digest=state.plan.digest, why=refusal.why))
        return False
    return True


def _quiet(runtime: Runtime, state: State) -> bool:
    """Whether the monitoring has none of the alerts any more, though the message that they ended is still on its way.

    What did not come from it, and a monitoring that does not answer, leaves them firing."""
    if any(signal.source != "alertmanager" for signal in state.firing):
        return False
    return not runtime.symptoms.still_firing(state.firing)


def _begin(runtime: Runtime, journey: Journey) -> None:
    """Log the intent of the next step, under fencing tokens for all that the plan touches."""
    state, now = journey.state, runtime.clock()
    if state.plan is None:
        return
    done = {action.step for action in state.actions if action.plan == state.plan and not action.undone}
    step = next(index for index in range(len(state.plan.steps)) if index not in done)
    tokens = reserve(runtime, journey.incident, state.plan.leases)
    if tokens is None:
        stand_aside(runtime, journey)
        wait_for(runtime, journey, in_the_way(runtime, journey.incident, state.plan.leases))
        return
    action = uuid.uuid4().hex
    # Counted before it is begun, once for a plan: after a crash in between one too many is counted, never one too few.
    first = state.phase == "awaiting approval"
    over, soon = "", False
    if first:
        over, soon = runtime.remediator.guard.spend(action, state.plan.playbook, state.plan.steps[step])
    if over:
        give_back(runtime, journey, tokens)
    if soon:
        wait_for(runtime, journey, over)
        return
    if over:
        journey.append(PlanDropped(at=now, plan_digest=state.plan.digest, why=over), Escalated(at=now, why=over))
        return
    target = state.plan.steps[step].target
    journey.append(
        ActionStarted(
            at=now, action_id=action, plan_digest=state.plan.digest, step=step, fencing=tokens[target.lease],
            rights=tokens,
        )
    )  # fmt: skip


def _act(runtime: Runtime, journey: Journey) -> None:
    """Bring the step that was begun to its end. One that may have been done already is looked for, never repeated."""
    open_action = next((action for action in journey.state.actions if action.finished is None), None)
    if open_action is None:
        _begin(runtime, journey)
        return
    plan, step = open_action.plan, open_action.step
    tokens = reserve(runtime, journey.incident, plan.leases)
    if tokens is None:
        wait_for(runtime, journey, in_the_way(runtime, journey.incident, plan.leases))
        return
    outcome = runtime.remediator.observe(plan, step, open_action.id)
    if outcome is None:
        token = max(tokens[plan.steps[step].target.lease], open_action.fencing)
        outcome = runtime.remediator.apply(plan, step, open_action.id, token, tokens)
    if outcome.later:
        outcome = _or_too_late(runtime, open_action, outcome)
    if outcome.later:
        wait_for(runtime, journey, outcome.detail, patient=False)
        return
    runtime.telemetry.acted(plan.steps[step].action, outcome.ok)
    if not outcome.ok and not outcome.stood_back:
        first = next(each for each in reversed(journey.state.actions) if each.plan == plan and each.step == 0)
        runtime.brakes.conclude(first.id, "failed")
        look_at_breaker(runtime)
    journey.record(
        ActionFinished(
            at=runtime.clock(), action_id=open_action.id, ok=outcome.ok, detail=outcome.detail, undo=outcome.undo
        )
    )


def _or_too_late(runtime: Runtime, action: Action, outcome: Outcome) -> Outcome:
    """What disruption budgets or an API server hold back is asked for until a deadline; then it has failed."""
    patience = timedelta(seconds=runtime.policy().guard.drain_deadline_s)
    if runtime.clock() < action.started_at + patience:
        return outcome
    detail = f"not done {patience.total_seconds():.0f} s after it was begun: {outcome.detail}"
    return Outcome(ok=False, detail=detail, undo=outcome.undo)


def _undo(runtime: Runtime, journey: Journey) -> None:
    """Undo the latest step that took effect; an undo that fails is for a person."""
    state = journey.state
    action = next((action for action in reversed(state.actions) if action.undoable), None)
    if action is None:
        failed = state.actions[-1]
        journey.append(RolledBack(at=runtime.clock(), action_id=failed.id, ok=True, detail="It had taken no effect."))
        return
    if not action.undo_started:
        journey.append(UndoStarted(at=runtime.clock(), action_id=action.id, why=_why_undo(journey)))
    reserve(runtime, journey.incident, action.plan.leases)
    if state.verdict is not None and state.verdict.outcome == "regressed":
        runtime.brakes.conclude(action.id, "ineffective")
        learn(runtime, journey, helped=False)
        look_at_breaker(runtime)
    undo = action.finished.undo if action.finished else {}
    outcome = runtime.remediator.undo(action.plan, action.step, action.id, undo)
    runtime.telemetry.undone(action.plan.steps[action.step].action, outcome.ok)
    if outcome.later and runtime.clock() < undo_deadline(runtime, journey, action):
        wait_for(runtime, journey, outcome.detail, patient=False)
        return
    rolled = RolledBack(at=runtime.clock(), action_id=action.id, ok=outcome.ok, detail=outcome.detail)
    if outcome.ok:
        journey.record(rolled)
        return
    why = f"Undoing “{_summary(action)}” failed: {outcome.detail}. The cluster may be in between; a person has to look."
    journey.record(rolled, Escalated(at=runtime.clock(), why=why))


def undo_deadline(runtime: Runtime, journey: Journey, action: Action) -> datetime:
    """Until when an undo is asked for again that the cluster cannot do now."""
    begun = (
        record.event.at
        for record in journey.records
        if isinstance(record.event, UndoStarted) and record.event.action_id == action.id
    )
    return next(begun, runtime.clock()) + timedelta(seconds=runtime.settings.pipeline.recovery_s)


def _why_undo(journey: Journey) -> str:
    state = journey.state
    if state.verdict is not None:
        return f"The fix did not hold: {state.verdict.why}"
    failed = next((action.finished for action in state.actions if action.finished and not action.finished.ok), None)
    return f"A step failed: {failed.detail}" if failed else "The plan is taken back."


def _summary(action: Action) -> str:
    step = action.plan.steps[action.step]
    return step.summary or step.action
