"""Verify: wait until the fix has arrived and the symptoms are gone, then attack it with a Chaos Toolkit experiment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from graph_schema.model import Signal
from kt.incident.events import Escalated, Healed, VerificationStarted, Verified
from kt.incident.outcome import compared, effect_s
from kt.pipeline.attack import experiment_of
from kt.pipeline.doubts import Doubts
from kt.pipeline.halted import Halt
from kt.pipeline.journey import Held, Journey
from kt.pipeline.learning import learn
from kt.pipeline.stages.remediate import stopped
from kt.pipeline.watching import begun_at, go_on_watching, watch_of
from kt.runtime import Runtime
from remediate.plan import Plan
from verify import runner
from verify.experiments import attacks
from verify.judge import judge
from verify.steady import namespace_of, watched
from verify.verdict import Verdict

LOOK_EVERY_S = 0.2
KEPT_OF_JOURNAL = ("status", "deviated", "steady_states", "run", "rollbacks", "start", "end", "duration")


def run(runtime: Runtime, journey: Journey, lease: Held, doubts: Doubts) -> None:
    """Take an acted incident as far as it goes now; what is not there yet is looked for again by the sweep."""
    state = journey.state
    if state.phase != "verifying" or state.plan is None or state.acted_at is None:
        return
    if state.verification is None:
        waiting_for = _not_yet(runtime, journey, lease)
        watch = watch_of(runtime, journey)
        if waiting_for:
            since = begun_at(journey, watch) if watch else None
            give_up_late(runtime, journey, waiting_for, since, doubts)
            return
        if watch and go_on_watching(runtime, journey, watch):
            return
    if state.verifications >= runtime.settings.pipeline.max_attempts:
        verdict = state.verdict.why if state.verdict else "it never came to an end"
        why = f"The fix could not be verified in {state.verifications} experiments; the last one: {verdict}"
        journey.append(Escalated(at=runtime.clock(), why=why))
        return
    if stopped(runtime, journey):
        return
    _attack(runtime, journey, lease)


def _not_yet(runtime: Runtime, journey: Journey, lease: Held) -> str:
    """What is still missing before the experiment may begin; empty once all was well for long enough."""
    state, options = journey.state, runtime.settings.pipeline
    if state.plan is None:
        return "there is no plan"
    quiet_since: float | None = None
    begun = time.monotonic()
    while not lease.lost.is_set():
        missing = runtime.remediator.settled(state.plan) or ", ".join(runtime.symptoms.still_firing(must_end(journey)))
        now = time.monotonic()
        if missing:
            quiet_since = None
            if now - begun > options.verify_quiet_s:
                return missing
        elif quiet_since is None:
            quiet_since = now
        elif now - quiet_since >= options.verify_quiet_s:
            return ""
        time.sleep(LOOK_EVERY_S)
    return "the lease was lost"


def must_end(journey: Journey) -> list[Signal]:
    """The signals that have to end for the plan that was carried out to count."""
    plan = journey.state.plan
    return watched(journey.signals, plan.steady_state, plan.hypothesis.entity, acted_within(plan)) if plan else []


def acted_within(plan: Plan) -> frozenset[str] | None:
    """The namespaces in which a plan for a node may act; what others have there it leaves where it is. None for a plan
    that is not for a node."""
    if not any(step.target.kind == "Node" for step in plan.steps):
        return None
    return frozenset(space for step in plan.steps for space in step.parameters.get("namespaces", ()))


def _left(journey: Journey) -> tuple[list[str], bool]:
    """What still fires after all, and whether some of it is where KT may not act: those who suffer there are not
    healed."""
    plan, ended = journey.state.plan, must_end(journey)
    left = [signal for signal in journey.state.firing if signal not in ended]
    within = acted_within(plan) if plan else None
    outside = within is not None and any(namespace_of(signal.entity) not in ("", *within) for signal in left)
    return [f"{signal.name} on {signal.entity}" for signal in left], outside


def give_up_late(
    runtime: Runtime, journey: Journey, waiting_for: str, watched_since: datetime | None, doubts: Doubts
) -> None:
    """A fix that has not arrived by the deadline, that did not last, under which its target ends again and again, or
    that is for what is not the cause after all, did not work: the fold turns to undoing it."""
    state, now = journey.state, runtime.clock()
    if watched_since is not None:
        why = f"It came back {(now - watched_since).total_seconds():.0f} s after it was gone: {waiting_for}"
        journey.append(Verified(at=now, verdict=Verdict(outcome="regressed", why=why)))
        return
    patience = timedelta(seconds=runtime.settings.pipeline.recovery_s)
    if state.acted_at and now >= state.acted_at + patience:
        why = f"{patience.total_seconds():.0f} s after the action still: {waiting_for}"
        journey.append(Verified(at=now, verdict=Verdict(outcome="regressed", why=why)))
    elif state.acted_at and (crashes := doubts.crashes.under_the_fix(runtime, journey)):
        why = f"{(now - state.acted_at).total_seconds():.0f} s after the action {crashes}; and still: {waiting_for}"
        journey.append(Verified(at=now, verdict=Verdict(outcome="regressed", why=why)))
    elif state.acted_at and (other := doubts.about(runtime, journey)) is not None:
        instead = f"what came in since speaks for {other.fault} of {other.entity} ({other.probability:.0%}) instead"
        why = f"{(now - state.acted_at).total_seconds():.0f} s after the action still: {waiting_for}; {instead}"
        journey.append(Verified(at=now, verdict=Verdict(outcome="regressed", why=why)))


def _attack(runtime: Runtime, journey: Journey, lease: Held) -> None:
    looked_at = must_end(journey)
    experiment = experiment_of(runtime, journey, looked_at)
    attempt = journey.state.verifications + 1
    journey.append(VerificationStarted(at=runtime.clock(), attempt=attempt, experiment=experiment))
    journal = runner.run(
        experiment,
        runtime.workdir / journey.incident / str(attempt),
        timeout_s=runtime.settings.pipeline.experiment_timeout_s,
        environment=runtime.experiment_environment(),
        stop=Halt(runtime.brakes, lease),
    )
    verdict = judge(journal)
    kept = {name: journal[name] for name in KEPT_OF_JOURNAL if name in journal}
    journey.record(Verified(at=runtime.clock(), verdict=verdict, journal=kept))
    if verdict.outcome == "held" and not _news(journey, looked_at):
        for action in journey.state.actions:
            if not action.undone:
                runtime.brakes.conclude(action.id, "held")
        learn(runtime, journey, helped=True)
        told = compared(journey.state.actions[-1].plan, effect_s(journey.records, journey.state))
        more = f" ({told})" if told else ""
        how = "attacked" if attacks(experiment) else "watched"
        left, outside = _left(journey)
        rest = f". Still there, for a person to look at: {', '.join(left)}" if left else ""
        why = f"The fix was {how} and held: {verdict.why}{rest}{more}"
        if outside:
            why = f"{why}. That is where KT may not act: it is not opted in there, or lacks rights."
        journey.append((Escalated if outside else Healed)(at=runtime.clock(), why=why))


def _news(journey: Journey, looked_at: Sequence[Signal]) -> bool:
    """Whether something fires that must end and that the experiment did not look at: it began meanwhile."""
    seen = {signal.fingerprint for signal in looked_at}
    return any(signal.firing and signal.fingerprint not in seen for signal in must_end(journey))
