"""What a plan is: the exact actions on exact objects, what they change, and how to go back. Plain data."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from graph_schema.model import Hypothesis


def lease_of(thing: str) -> str:
    """The name under which a thing (`Kind/namespace/name`) is reserved."""
    return f"target/{thing}"


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Kubernetes object as it was when the plan was made."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    """Of the object's spec (`metadata.generation`): what an approval is bound to; status updates do not raise it."""
    workload: str = ""
    """What a pod belongs to, as `Kind/namespace/name`; of a pod that nobody keeps, the pod itself."""

    @property
    def lease(self) -> str:
        """The name under which it is reserved. A pod goes with its workload: who rolls that out ends its pods, too."""
        return lease_of(self.workload or f"{self.kind}/{self.namespace}/{self.name}")


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action of the registry on one target. `parameters` are resolved: nothing is left to be decided later."""

    action: str
    target: Target
    parameters: dict[str, Any] = {}
    summary: str = ""
    """One line for a person: "scale Deployment shop/catalogue from 3 to 5 replicas"."""
    diff: str = ""
    """Unified diff of the object, from the API server's dry run where it has one."""
    touches: tuple[str, ...] = ()
    """What it changes or moves pods of beside its target, as `Kind/namespace/name`: the workloads on a node, the users
    of a ConfigMap, what an autoscaler scales."""

    @property
    def leases(self) -> frozenset[str]:
        """The names of all that it takes the right to."""
        return frozenset({self.target.lease, *map(lease_of, self.touches)})


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an object that is not as an action left it."""

    target: str
    """`Deployment shop/cart`."""
    field: str
    """JSON pointer."""
    left: Any
    """What the action set; None: the field was taken away, or what was set is not known any more."""
    now: Any


class RuleSaid(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one rule of the guard said, in words: the verdict is allow, ask, later, propose or refuse."""

    rule: str
    verdict: str = "allow"
    value: str = ""
    limit: str = ""
    why: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A playbook applied to a hypothesis."""

    playbook: str
    hypothesis: Hypothesis
    steps: tuple[Step, ...]
    risk: str
    """low, medium or high; the approval policy turns it into 0, 1 or 2 approvers."""
    steady_state: tuple[str, ...]
    """Selectors or checks that must hold afterwards, as the verify package reads them."""
    blast_radius: tuple[str, ...] = ()
    """Entities that the actions touch."""
    affects: tuple[str, ...] = ()
    """Services and workloads that depend on what it touches, the nearest first."""
    undo: str = ""
    """How it is undone, in words."""
    forecast: tuple[str, ...] = ()
    """What is to be expected of it, in words: whether it helps and how soon, whether what it makes or moves fits."""
    effect_s: float | None = None
    """How long it was expected to take until it helps, to be compared with what happened."""
    chance: float | None = None
    """How likely it was expected to help."""
    propose_only: str = ""
    """Why a person has to carry it out; empty when KT may."""
    ask: str = ""
    """Why somebody has to agree, whatever the risk; empty when the risk alone tells."""
    policy: str = ""
    """The version of the policy that it was made under."""
    guard: tuple[RuleSaid, ...] = ()
    """What the guard said when it was made."""

    @property
    def leases(self) -> frozenset[str]:
        """The names of all that its steps take the right to: it is reserved as a whole, or not begun."""
        return frozenset(name for step in self.steps for name in step.leases)

    @property
    def attempt(self) -> tuple[str, str, str]:
        """What is tried by it: (entity, fault, playbook)."""
        return self.hypothesis.entity, self.hypothesis.fault, self.playbook

    @property
    def digest(self) -> str:
        """SHA-256 over exact actions, targets, parameters and the policy: what an approval is bound to."""
        what = [
            (
                step.action,
                step.target.kind,
                step.target.namespace,
                step.target.name,
                step.target.uid,
                step.target.generation,
                step.parameters,
            )
            for step in self.steps
        ]
        whole = (self.playbook, what, *([self.policy] if self.policy else []))
        return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()
