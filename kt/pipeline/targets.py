"""Who acts on a target: one incident at a time, from its first step there until it has ended."""

from __future__ import annotations

import uuid

from kt.pipeline.journey import Journey, held
from kt.runtime import Runtime
from remediate.plan import Target

TARGET_TTL_S = 7 * 86400.0
"""A target belongs to its incident until that has ended, however long nobody comes to visit it: workers may be down, or
far behind. Whoever wants the target looks whether that incident has ended; this is only for what nobody looks at."""


def reserve(runtime: Runtime, incident: str, target: Target) -> int | None:
    """The fencing token of this incident for a target; None while another incident has it."""
    name = target.lease
    token = runtime.leases.acquire(name, incident, ttl_s=TARGET_TTL_S)
    if token is None and _freed(runtime, name):
        token = runtime.leases.acquire(name, incident, ttl_s=TARGET_TTL_S)
    return token


def give_back(runtime: Runtime, journey: Journey, target: Target, token: int) -> None:
    """What was reserved and not acted on; a target that the incident has acted on stays its own until its end."""
    acted = {action.plan.steps[action.step].target.lease for action in journey.state.actions}
    if target.lease not in acted:
        runtime.leases.release(target.lease, journey.incident, token)


def _freed(runtime: Runtime, name: str) -> bool:
    """Take a target from an incident that has ended: whoever ended it was killed before it gave the target back."""
    grant = runtime.leases.held_by(name)
    if grant is None or not _over(runtime, grant.holder):
        return False
    # Under the lease of that incident nobody asks for its target anew in between.
    ttl_s = runtime.settings.pipeline.lease_ttl_s
    with held(runtime.leases, f"incident/{grant.holder}", f"freeing/{uuid.uuid4().hex}", ttl_s=ttl_s) as lease:
        if lease is None or not _over(runtime, grant.holder):
            return False
        runtime.leases.release(name, grant.holder, grant.token)
    return True


def _over(runtime: Runtime, incident: str) -> bool:
    """Whether it has ended, or nobody knows it."""
    journey = Journey(runtime.log, incident)
    return journey.state.ended or not journey.records
