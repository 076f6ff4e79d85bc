"""Take back, at a person's wish, what was done for an incident: also days later, as long as nobody changed it since.

It goes the way of every action: consent, the stop, the guard, a reservation of the target, the intent in the log, then
the effect. What was interrupted is looked for, never done twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from kt.incident.events import Escalated, Postponed, RolledBack, UndoDropped, Undone, UndoStarted
from kt.incident.phases import Action, Undoing
from kt.incident.state import State
from kt.pipeline.journey import Held, Journey
from kt.pipeline.stages.remediate import stopped, undo_deadline, wait_for
from kt.pipeline.targets import in_the_way, reserve
from kt.runtime import Runtime
from remediate.actions import ACTIONS
from remediate.actions.field import FieldChange
from remediate.cluster import ClusterError
from remediate.plan import Step
from remediate.revert import Look, look_back, name_of, review_undo
from remediate.rules import Verdict, against, verdict_of


def run(runtime: Runtime, journey: Journey, lease: Held) -> None:
    """Go on until it is taken back, dropped, or has to wait."""
    while not lease.lost.is_set() and (undo := journey.state.undo) is not None:
        if (journey.state.phase == "undoing" or journey.state.approved) and stopped(runtime, journey):
            return
        more = True
        if journey.state.phase == "undoing":
            _carry_on(runtime, journey, undo)
        else:
            more = _begin(runtime, journey, undo)
        if journey.state.undo is None:
            _let_go(runtime, journey, undo)
        if not more:
            return
        if journey.state.due_at and journey.state.due_at > runtime.clock():
            return


def _begin(runtime: Runtime, journey: Journey, undo: Undoing) -> bool:
    """Whether there is more to do now: it was begun. What speaks against it ends the wish, or lets it wait."""
    state, now = journey.state, runtime.clock()
    if now >= undo.asked.expires_at:
        last = next((each.event.why for each in reversed(journey.records) if isinstance(each.event, Postponed)), "")
        why = f"It could not be done in time: {last}" if state.approved else "Nobody decided on it in time."
        journey.append(UndoDropped(at=now, why=why))
        return False
    if not state.approved:
        return False
    done = _steps(state, undo)
    wanted = _leases(done.values())
    if reserve(runtime, journey.incident, wanted) is None:
        wait_for(runtime, journey, in_the_way(runtime, journey.incident, wanted))
        return False
    try:
        kept = {each.id: each.finished.undo for each in state.actions if each.finished}
        look = look_back(runtime.cluster, done, kept)
        against_it = _against(runtime, undo, look, done, journey) if look.to_do and not look.differences else None
    except ClusterError as error:
        wait_for(runtime, journey, f"The cluster does not answer: {error}")
        return False
    if look.differences:
        count = len(look.differences)
        why = f"{count} field{'s are' if count > 1 else ' is'} not as KT left {'them' if count > 1 else 'it'}"
        journey.append(UndoDropped(at=now, why=f"{why}; nothing was touched.", differences=look.differences))
        return False
    if not look.to_do:
        journey.append(UndoDropped(at=now, why=f"Nothing to go back to: {'; '.join(look.nothing)}."))
        return False
    if against_it is not None:
        journey.append(against_it)
        return False
    journey.append(UndoStarted(at=now, action_id=_next(state, undo).id, why=_wish(undo)))
    return True


def _against(
    runtime: Runtime, undo: Undoing, look: Look, done: Mapping[str, Step], journey: Journey
) -> Postponed | UndoDropped | None:
    """What the guard has against it now; also counts it, once, before it begins."""
    to_do = {action: done[action] for action in reversed(look.to_do)}
    playbook = next(action.plan.playbook for action in journey.state.actions if action.id in to_do)
    findings = review_undo(runtime.cluster, runtime.remediator.guard, playbook, to_do)
    now, verdict = runtime.clock(), verdict_of(findings)
    asked = max([undo.asked.at, *(given.at for given in journey.state.approvals)])
    patience = timedelta(seconds=runtime.settings.pipeline.guard_patience_s)
    if verdict is Verdict.LATER and now < asked + patience:
        return _later(runtime, against(findings))
    if verdict >= Verdict.LATER:
        return UndoDropped(at=now, why=f"The guard is against it: {against(findings)}")
    name, step = next(iter(to_do.items()))
    over, soon = runtime.remediator.guard.spend(f"{name}/undo", name_of(playbook), step)
    if soon:
        return _later(runtime, over)
    return UndoDropped(at=now, why=f"The guard is against it: {over}") if over else None


def _later(runtime: Runtime, why: str) -> Postponed:
    now = runtime.clock()
    return Postponed(at=now, until=now + timedelta(seconds=runtime.settings.pipeline.retry_s), why=why)


def _carry_on(runtime: Runtime, journey: Journey, undo: Undoing) -> None:
    """Take the latest action back that was not yet; the last one ends the incident."""
    state, now = journey.state, runtime.clock()
    action = _next(state, undo)
    if not action.undo_started:
        journey.append(UndoStarted(at=now, action_id=action.id, why=_wish(undo)))
    wanted = _leases([action.plan.steps[action.step]])
    if reserve(runtime, journey.incident, wanted) is None:
        wait_for(runtime, journey, in_the_way(runtime, journey.incident, wanted))
        return
    kept = action.finished.undo if action.finished else {}
    outcome = runtime.remediator.undo(action.plan, action.step, action.id, kept)
    if outcome.later and now < undo_deadline(runtime, journey, action):
        journey.append(_later(runtime, outcome.detail))
        return
    ok = outcome.ok and not outcome.left
    runtime.telemetry.undone(action.plan.steps[action.step].action, ok)
    rolled = RolledBack(at=now, action_id=action.id, ok=ok, detail=outcome.detail)
    if ok:
        runtime.brakes.conclude(action.id, "taken back")
        last = len(_steps(state, undo)) == 1
        journey.record(rolled, *([Undone(at=now, by=undo.asked.by, why=undo.asked.why)] if last else []))
        return
    begun = any(each.undone for each in state.actions if each.id in undo.asked.actions)
    if outcome.left and not begun:
        journey.record(rolled, UndoDropped(at=now, why=f"Nothing was touched: {outcome.detail}"))
        return
    why = f"Taking it back failed: {outcome.detail}. The cluster may be in between; a person has to look."
    journey.record(rolled, UndoDropped(at=now, why=why), Escalated(at=now, why=why))


def _steps(state: State, undo: Undoing) -> dict[str, Step]:
    """Id of each action that is still to be taken back → its step, oldest first."""
    return {
        action.id: action.plan.steps[action.step]
        for action in state.actions
        if action.id in undo.asked.actions and not action.undone
    }


def _next(state: State, undo: Undoing) -> Action:
    left = _steps(state, undo)
    return next(action for action in reversed(state.actions) if action.id in left)


def _wish(undo: Undoing) -> str:
    return f"{undo.asked.by} takes it back" + (f": {undo.asked.why}" if undo.asked.why else "")


def _let_go(runtime: Runtime, journey: Journey, undo: Undoing) -> None:
    """Give the targets back; asking for what one holds gives the same token again."""
    if not journey.state.ended:
        return
    steps = [each.plan.steps[each.step] for each in journey.state.actions if each.id in undo.asked.actions]
    tokens = reserve(runtime, journey.incident, _leases(steps))
    if tokens is not None:
        runtime.leases.release_all(tokens, journey.incident)


def _leases(steps: Iterable[Step]) -> frozenset[str]:
    """What has to be had to take these steps back. Pods that moved and what was restarted stay as they are, so that the
    workloads of a whole node need not be waited for to open it again."""
    found: set[str] = set()
    for step in steps:
        found |= step.leases if isinstance(ACTIONS[step.action], FieldChange) else {step.target.lease}
    return frozenset(found)
