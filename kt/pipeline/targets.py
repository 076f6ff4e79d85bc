"""Who acts on a target: one incident at a time, from its first step there until it has ended."""

from __future__ import annotations

import uuid

from kt.pipeline.journey import Journey, held
from kt.runtime import Runtime
from remediate.plan import Target

TARGET_TTL_S = 60.0
"""How long a target stays reserved without a sign of life of its incident; every visit of a stage renews it."""


def reserve(runtime: Runtime, incident: str, target: Target, *, ttl_s: float = TARGET_TTL_S) -> int | None:
    """The fencing token of this incident for a target; None while another incident has it."""
    name = target_lease(target)
    token = runtime.leases.acquire(name, incident, ttl_s=ttl_s)
    if token is None and _freed(runtime, name):
        token = runtime.leases.acquire(name, incident, ttl_s=ttl_s)
    return token


def keep(runtime: Runtime, journey: Journey, *, for_s: float = 0.0) -> None:
    """A sign of life for all that the incident has acted on; `for_s`: how long none will come."""
    for action in journey.state.actions:
        if not action.undone:
            target = action.plan.steps[action.step].target
            reserve(runtime, journey.incident, target, ttl_s=TARGET_TTL_S + for_s)


def target_lease(target: Target) -> str:
    """The name of the lease of a target."""
    return f"target/{target.kind}/{target.namespace}/{target.name}"


def _freed(runtime: Runtime, name: str) -> bool:
    """Take a target from an incident that has ended: whoever ended it was killed before it gave the target back."""
    grant = runtime.leases.held_by(name)
    if grant is None or not Journey(runtime.log, grant.holder).state.ended:
        return False
    # Under the lease of that incident nobody asks for its target anew in between.
    ttl_s = runtime.settings.pipeline.lease_ttl_s
    with held(runtime.leases, f"incident/{grant.holder}", f"freeing/{uuid.uuid4().hex}", ttl_s=ttl_s) as lease:
        if lease is None or not Journey(runtime.log, grant.holder).state.ended:
            return False
        runtime.leases.release(name, grant.holder, grant.token)
    return True
