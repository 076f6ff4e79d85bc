"""From causes to a plan, and from a plan to what is done: playbook, guard, actions. Everything passes through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from graph_schema.catalogue import Catalogue
from graph_schema.model import Hypothesis
from remediate.actions import ACTIONS, CannotAct, Outcome
from remediate.cluster import PATHS, Cluster, ClusterError, Object
from remediate.guard import ACTED_AT, Guard, Limits
from remediate.plan import Plan, Step
from remediate.playbook import Playbook

Attempts = frozenset[tuple[str, str, str]]
"""(entity, fault, playbook) that were tried before."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """No plan can be made now, and why; `later`: asking again can help."""

    why: str
    later: bool = False


class Remediator:
    """`risks`: risk → how many people must agree (0, 1, 2)."""

    def __init__(
        self,
        cluster: Cluster,
        playbooks: Mapping[str, Playbook],
        catalogue: Catalogue,
        limits: Limits,
        risks: Mapping[str, int],
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster, self._playbooks, self._catalogue = cluster, playbooks, catalogue
        self._guard = Guard(cluster, limits, clock)
        self._risks, self._clock = risks, clock

    def propose(self, hypotheses: Sequence[Hypothesis], *, tried: Attempts) -> Plan | Refusal:
        """The first remedy of the likeliest cause that can be done and was not tried; else why there is none."""
        reasons: list[str] = []
        later = False
        for hypothesis in hypotheses:
            remedies = self._catalogue.faults[hypothesis.fault].remedies
            if not remedies:
                reasons.append(f"no safe action is known for {hypothesis.fault} of {hypothesis.entity}")
            for name in remedies:
                if (hypothesis.entity, hypothesis.fault, name) in tried:
                    reasons.append(f"{name} of {hypothesis.entity} was tried and did not help")
                    continue
                answer = self._plan(hypothesis, self._playbooks[name])
                if isinstance(answer, Plan):
                    return answer
                reasons.append(f"{name} of {hypothesis.entity}: {answer.why}")
                later = later or answer.later
        return Refusal(why="; ".join(reasons) or "nothing is known that would help", later=later)

    def approvals(self, plan: Plan) -> int:
        """How many different people must agree."""
        return self._risks[plan.risk]

    def current(self, plan: Plan) -> str | None:
        """Why the plan does not fit any more what is there, or what the guard has against it now; None when it does."""
        objects = []
        for step in plan.steps:
            at = step.target
            try:
                now = self._cluster.get(at.kind, at.name, at.namespace)
            except ClusterError as error:
                return f"the cluster does not answer: {error}"
            if now is None or now["metadata"].get("uid") != at.uid:
                return f"{at.kind} {at.name} is not the one that the plan was made for"
            if now["metadata"].get("generation", 0) != at.generation:
                return f"{at.kind} {at.name} was changed since the plan was made"
            objects.append(now)
        objection = self._guard.objection(plan.steps, objects)
        return objection.why if objection else None

    def apply(self, plan: Plan, step: int, action_id: str, fencing: int) -> Outcome:
        """Do a step. A cluster that does not do it is an outcome, not an exception."""
        what = plan.steps[step]
        try:
            outcome = ACTIONS[what.action].apply(self._cluster, what, action_id, fencing)
            if outcome.ok and what.target.kind != "Pod":
                self._stamp(what)
        except (CannotAct, ClusterError) as error:
            return Outcome(ok=False, detail=str(error))
        return outcome

    def observe(self, plan: Plan, step: int, action_id: str) -> Outcome | None:
        """What became of a step that was begun before; None when it is yet to be done."""
        what = plan.steps[step]
        try:
            return ACTIONS[what.action].observe(self._cluster, what, action_id)
        except (CannotAct, ClusterError) as error:
            return Outcome(ok=False, detail=str(error))

    def undo(self, plan: Plan, step: int, action_id: str, undo: Mapping[str, object]) -> Outcome:
        what = plan.steps[step]
        try:
            return ACTIONS[what.action].undo(self._cluster, what, action_id, undo)
        except (CannotAct, ClusterError) as error:
            return Outcome(ok=False, detail=str(error))

    def settled(self, plan: Plan) -> str | None:
        """Why the effect has not fully arrived yet; None when it has."""
        try:
            waiting = [ACTIONS[step.action].settled(self._cluster, step) for step in plan.steps]
        except (CannotAct, ClusterError) as error:
            return str(error)
        return next((why for why in waiting if why), None)

    def _plan(self, hypothesis: Hypothesis, playbook: Playbook) -> Plan | Refusal:
        try:
            target = self._object(hypothesis.entity)
            if target is None:
                return Refusal(why="it is not in the cluster")
            if target["kind"] not in playbook.targets:
                return Refusal(why=f"{playbook.name} is not made for a {target['kind']}")
            parameters = {"max_replicas": self._guard.limits.max_replicas, "namespaces": self._guard.opted_in()}
            steps = tuple(
                ACTIONS[step.action].prepare(self._cluster, target, {**parameters, **step.parameters})
                for step in playbook.steps
            )
            objection = self._guard.objection(steps, [target])
        except CannotAct as error:
            return Refusal(why=str(error), later=error.later)
        except ClusterError as error:
            return Refusal(why=str(error), later=error.later)
        if objection is not None:
            return Refusal(why=objection.why, later=objection.later)
        return Plan(
            playbook=playbook.name,
            hypothesis=hypothesis,
            steps=steps,
            risk=playbook.risk,
            steady_state=playbook.steady_state,
            blast_radius=_touched(steps),
            undo=playbook.undo,
        )

    def _object(self, entity: str) -> Object | None:
        kind, _, rest = entity.partition("/")
        if kind not in PATHS:
            return None
        namespace, _, name = rest.rpartition("/")
        found = self._cluster.get(kind, name, namespace)
        return {"kind": kind, **found} if found else None

    def _stamp(self, step: Step) -> None:
        """Note the time for the cooldown."""
        stamp: dict[str, Any] = {"metadata": {"annotations": {ACTED_AT: self._clock().isoformat()}}}
        self._cluster.patch(step.target.kind, step.target.name, step.target.namespace, stamp)


def _touched(steps: Sequence[Step]) -> tuple[str, ...]:
    found = {f"{step.target.kind}/{step.target.namespace}/{step.target.name}".replace("//", "/") for step in steps}
    found |= {f"Pod/{pod}" for step in steps for pod in step.parameters.get("pods", ())}
    return tuple(sorted(found))
