"""From causes to a plan, and from a plan to what is done: playbook, guard, actions. Everything passes through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from graph_schema.catalogue import Catalogue
from graph_schema.config_versions import ConfigVersion
from graph_schema.model import Hypothesis
from remediate.actions import ACTIONS, CannotAct, Mark, Outcome
from remediate.actions.base import HeldToPolicy, target_of
from remediate.choosing import Choice, asks, expected, ranked
from remediate.cluster import PATHS, Cluster, ClusterError, Object, OneLook
from remediate.guard import Guard, counts_for, key_of
from remediate.parameters import together
from remediate.plan import Plan, Step
from remediate.playbook import Playbook
from remediate.revisions import History
from remediate.rules import Finding, Verdict, against, in_words, until_of, verdict_of
from remediate.trials import Trial
from remediate.whatif import Lately, look_ahead

Attempts = frozenset[tuple[str, str, str]]
"""(entity, fault, playbook) that were tried before."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """No plan can be made now, and why; `later`: asking again can help; `until`: not before then."""

    why: str
    later: bool = False
    until: datetime | None = None


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """What a playbook would do, what is to be expected of that, and what each rule of the guard says."""

    steps: tuple[Step, ...]
    forecast: tuple[str, ...]
    findings: tuple[Finding, ...]


class Remediator:
    """`risks`: risk → how many people must agree (0, 1, 2), and `tier0` → to what touches the most important.
    `config_versions`: (namespace, name) → what a ConfigMap held, newest first."""

    def __init__(
        self,
        cluster: Cluster,
        playbooks: Mapping[str, Playbook],
        catalogue: Catalogue,
        guard: Guard,
        risks: Callable[[], Mapping[str, int]],
        clock: Callable[[], datetime],
        config_versions: Callable[[str, str], Sequence[ConfigVersion]],
        history: History = lambda _: (),
        trials: Callable[[str], Sequence[Trial]] = lambda _: (),
    ) -> None:
        self._cluster, self._playbooks, self._catalogue = cluster, playbooks, catalogue
        self.guard = guard
        self._lately = Lately()
        self._trials = trials
        self._risks, self._clock, self._config_versions, self._history = risks, clock, config_versions, history

    def propose(self, hypotheses: Sequence[Hypothesis], *, tried: Attempts) -> Plan | Refusal:
        """The first remedy of the likeliest cause that can be done and was not tried; else one that only a person may
        do; else why there is none."""
        reasons: list[str] = []
        for_a_person: Plan | None = None
        waits: list[datetime | None] = []
        for hypothesis in hypotheses:
            choices = self.choices(hypothesis)
            if not choices:
                reasons.append(f"no safe action is known for {hypothesis.fault} of {hypothesis.entity}")
            for chosen in choices:
                name = chosen.playbook
                if (hypothesis.entity, hypothesis.fault, name) in tried:
                    reasons.append(f"{name} of {hypothesis.entity} was tried and did not help")
                    continue
                try:
                    answer = self._plan(hypothesis, self._playbooks[name], chosen)
                except ClusterError as error:  # each further playbook would wait as long for nothing
                    return Refusal(why=f"the cluster does not answer: {error}", later=True)
                if isinstance(answer, Plan) and not answer.propose_only:
                    return answer
                if isinstance(answer, Plan):
                    for_a_person = for_a_person or answer
                    continue
                reasons.append(f"{name} of {hypothesis.entity}: {answer.why}")
                if answer.later:
                    waits.append(answer.until)
        if for_a_person is not None and not waits:
            return for_a_person
        known = [each for each in waits if each is not None]
        return Refusal(
            why="; ".join(reasons) or "nothing is known that would help",
            later=bool(waits),
            until=min(known) if known and len(known) == len(waits) else None,
        )

    def choices(self, hypothesis: Hypothesis) -> list[Choice]:
        """The remedies of a hypothesis, the best first."""
        fault = self._catalogue.faults.get(hypothesis.fault)
        remedies = fault.remedies if fault else ()  # metrics may tell where it arises and not what it is
        return ranked(hypothesis, remedies, self._playbooks, self._trials(hypothesis.fault) if remedies else ())

    def rehearse(self, name: str, entity: str) -> Rehearsal:
        """What a playbook would do to an entity now, whether or not the guard would let it; nothing is changed.

        Raises `CannotAct` when it does not fit, and `ClusterError`."""
        look = OneLook(self._cluster)
        playbook, target = self._playbooks[name], _object(look, entity)
        if target is None:
            raise CannotAct(f"{entity} is not in the cluster")
        if target["kind"] not in playbook.targets:
            raise CannotAct(f"{name} is not made for a {target['kind']}; it is for {', '.join(playbook.targets)}")
        steps = self._prepared(look, target, playbook)
        prepared = _prepared_on(look, target, steps)
        findings = self.guard.review(name, steps, prepared, look=look)
        ahead = look_ahead(look, steps, prepared, self._lately)
        return Rehearsal(steps=steps, forecast=ahead.lines, findings=tuple(findings))

    def approvals(self, plan: Plan) -> int:
        """How many different people must agree: by risk, and at least one where it has rarely helped."""
        risks = self._risks()
        before = [each for each in self._trials(plan.hypothesis.fault) if each.playbook == plan.playbook]
        return max(risks[plan.risk], risks["tier0"] if plan.ask else 0, 1 if asks(before) else 0)

    def current(self, plan: Plan) -> Refusal | None:
        """Why the plan does not fit any more what is there, or what the guard has against it now; None when it does."""
        try:
            changed, objects = self._targets(plan)
            if changed:
                return Refusal(why=changed)
            findings = self.guard.review(plan.playbook, plan.steps, objects)
        except ClusterError as error:
            return Refusal(why=f"the cluster does not answer: {error}", later=error.later)
        return self._newly_against(plan, findings)

    def _newly_against(self, plan: Plan, findings: Sequence[Finding]) -> Refusal | None:
        """What speaks against a plan that those who had to agreed to, as it was made; None when nothing does."""
        if plan.policy and plan.policy != self.guard.policy:
            now = self.guard.policy
            return Refusal(why=f"the policy is another one now ({now}); the plan was made under {plan.policy}")
        asked = bool(plan.ask) or self._risks()[plan.risk] > 0
        left = [each for each in findings if each.verdict > (Verdict.ASK if asked else Verdict.ALLOW)]
        if not left:
            return None
        return Refusal(why=against(left), later=verdict_of(left) is Verdict.LATER, until=until_of(left))

    def explain(self, plan: Plan) -> tuple[str, list[Finding]]:
        """What has changed since the plan was made, if anything, and what every rule says of it now.

        Raises `ClusterError`."""
        changed, objects = self._targets(plan)
        return changed, self.guard.review(plan.playbook, plan.steps, objects)

    def _targets(self, plan: Plan) -> tuple[str, list[Object]]:
        """Why a target is not as the plan was made for, and the targets as they are."""
        objects, changed = [], ""
        for step in plan.steps:
            at = step.target
            now = self._cluster.get(at.kind, at.name, at.namespace)
            if now is None or now["metadata"].get("uid") != at.uid:
                changed = changed or f"{at.kind} {at.name} is not the one that the plan was made for"
                continue
            if at.generation and now["metadata"].get("generation", 0) != at.generation:
                changed = changed or f"{at.kind} {at.name} was changed since the plan was made"
            objects.append({**now, "kind": at.kind})
        return changed, objects

    def apply(
        self, plan: Plan, step: int, action_id: str, fencing: int, rights: Mapping[str, int] | None = None
    ) -> Outcome:
        """Do a step. `rights`: the tokens of all that the plan touches, by the name of the lease.

        A cluster that does not do it is an outcome, not an exception: `later` when asking again can help, since whether
        it was done is then not known either."""
        what = self._held(plan.steps[step])
        mark = Mark(action=action_id, fencing=fencing, at=self._clock().isoformat(), rights=rights or {})
        try:
            return ACTIONS[what.action].apply(self._cluster, what, mark)
        except (CannotAct, ClusterError) as error:
            return _not_done(error)

    def observe(self, plan: Plan, step: int, action_id: str) -> Outcome | None:
        """What became of a step that was begun before; None when it is yet to be done."""
        what = plan.steps[step]
        try:
            return ACTIONS[what.action].observe(self._cluster, what, action_id)
        except (CannotAct, ClusterError) as error:
            return _not_done(error)

    def undo(self, plan: Plan, step: int, action_id: str, undo: Mapping[str, object]) -> Outcome:
        what = self._held(plan.steps[step])
        try:
            return ACTIONS[what.action].undo(self._cluster, what, action_id, undo)
        except (CannotAct, ClusterError) as error:
            return _not_done(error)

    def _held(self, step: Step) -> Step:
        """The step under the policy of now, which may be another one than when it was planned or begun."""
        action = ACTIONS[step.action]
        return action.held_to(step, self.guard.limits) if isinstance(action, HeldToPolicy) else step

    def settled(self, plan: Plan) -> str | None:
        """Why the effect has not fully arrived yet; None when it has."""
        try:
            waiting = [ACTIONS[step.action].settled(self._cluster, step) for step in plan.steps]
        except (CannotAct, ClusterError) as error:
            return str(error)
        return next((why for why in waiting if why), None)

    def _plan(self, hypothesis: Hypothesis, playbook: Playbook, chosen: Choice) -> Plan | Refusal:
        """Raises `ClusterError` when the API server does not answer at all."""
        policy, look = self.guard.policy, OneLook(self._cluster)
        try:
            target = _object(look, hypothesis.entity)
            if target is None:
                return Refusal(why="it is not in the cluster")
            if target["kind"] not in playbook.targets:
                return Refusal(why=f"{playbook.name} is not made for a {target['kind']}")
            steps = self._prepared(look, target, playbook)
            prepared = _prepared_on(look, target, steps)
            findings = self.guard.review(playbook.name, steps, prepared, look=look)
            ahead = look_ahead(look, steps, prepared, self._lately)
        except (CannotAct, ClusterError) as error:
            if isinstance(error, ClusterError) and not error.code:
                raise
            return Refusal(why=str(error), later=error.later)
        verdict, why = verdict_of(findings), against(findings)
        if verdict in (Verdict.LATER, Verdict.REFUSE):
            return Refusal(why=why, later=verdict is Verdict.LATER, until=until_of(findings))
        if ahead.short:
            return Refusal(why=f"it would not help: {ahead.short}")
        return Plan(
            playbook=playbook.name,
            hypothesis=hypothesis,
            steps=steps,
            risk=playbook.risk,
            steady_state=playbook.steady_state,
            blast_radius=_touched(steps),
            undo=playbook.undo,
            forecast=(expected(chosen), *ahead.lines),
            effect_s=chosen.effect_s,
            chance=chosen.chance,
            propose_only=why if verdict is Verdict.PROPOSE else "",
            ask=why if verdict is Verdict.ASK else "",
            policy=policy,
            guard=in_words(findings),
        )

    def _prepared(self, look: OneLook, target: Object, playbook: Playbook) -> tuple[Step, ...]:
        limits = self.guard.limits
        fixed = {
            "max_replicas": limits.max_replicas,
            "share": limits.max_share_of_workload,
            "sibling_delay_s": limits.sibling_delay_s,
            "namespaces": self.guard.opted_in(),
            "now": self._clock().isoformat(),
            "config_versions": self._config_versions,
            "webhooks": limits.webhooks,
            "tier_label": limits.tier_label,
            "history": self._history,
        }
        steps: list[Step] = []
        for each in playbook.steps:
            step = ACTIONS[each.action].prepare(look, target, together(fixed, each.parameters))
            if step.target.kind == "Pod":
                belongs = msgspec.structs.replace(step.target, workload=counts_for(look, step))
                step = msgspec.structs.replace(step, target=belongs)
            if any(key_of(earlier.target) == key_of(step.target) for earlier in steps):
                # The step before changes the object on purpose: it will be of another generation by then.
                step = msgspec.structs.replace(step, target=msgspec.structs.replace(step.target, generation=0))
            steps.append(step)
        return tuple(steps)


def _prepared_on(look: OneLook, target: Object, steps: Sequence[Step]) -> list[Object]:
    """The objects that the steps were made for: the plan's target as it was just read, others as they are now."""
    key, read = key_of(target_of(target)), target["metadata"].get("resourceVersion")
    return [
        target
        if key_of(step.target) == key and step.target.resource_version == read
        else _object(look, key_of(step.target)) or target
        for step in steps
    ]


def _object(look: OneLook, entity: str) -> Object | None:
    kind, _, rest = entity.partition("/")
    if kind not in PATHS:
        return None
    namespace, _, name = rest.rpartition("/")
    found = look.get(kind, name, namespace)
    return {**found, "kind": kind} if found else None


def _not_done(error: CannotAct | ClusterError) -> Outcome:
    return Outcome(ok=False, detail=str(error), later=error.later, stood_back=isinstance(error, CannotAct))


def _touched(steps: Sequence[Step]) -> tuple[str, ...]:
    found = {f"{step.target.kind}/{step.target.namespace}/{step.target.name}".replace("//", "/") for step in steps}
    found |= {f"Pod/{pod}" for step in steps for pod in step.parameters.get("pods", ())}
    found |= {
        user.replace("/", f"/{step.target.namespace}/", 1)
        for step in steps
        for user in step.parameters.get("users", ())
    }
    return tuple(sorted(found))
