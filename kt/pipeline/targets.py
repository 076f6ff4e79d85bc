"""Who acts on what: one incident at a time, from its first step there until it has ended.

A plan takes the right to all that it touches at once, before its first step, or to nothing: none waits in its middle,
and two that want the same things never each hold what the other one waits for.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection

from kt.pipeline.journey import Journey, held
from kt.runtime import Runtime

TARGET_TTL_S = 7 * 86400.0
"""A target belongs to its incident until that has ended, however long nobody comes to visit it: workers may be down, or
far behind. Whoever wants the target looks whether that incident has ended; this is only for what nobody looks at."""


def reserve(runtime: Runtime, incident: str, names: Collection[str]) -> dict[str, int] | None:
    """The fencing tokens of this incident for all of these leases; None while another incident has one of them."""
    tokens = runtime.leases.acquire_all(names, incident, ttl_s=TARGET_TTL_S)
    if tokens is not None:
        return tokens
    freed = [name for name in sorted(names) if _freed(runtime, incident, name)]
    if freed:
        tokens = runtime.leases.acquire_all(names, incident, ttl_s=TARGET_TTL_S)
    return tokens


def in_the_way(runtime: Runtime, incident: str, names: Collection[str]) -> str:
    """Which of these another incident has, in words."""
    for name in sorted(names):
        grant = runtime.leases.held_by(name)
        if grant is not None and grant.holder != incident:
            kind, _, rest = name.partition("/")[2].partition("/")
            return f"Another incident acts on {kind} {rest.lstrip('/')}."
    return "Another incident acts on what it touches."


def give_back(runtime: Runtime, journey: Journey, tokens: dict[str, int]) -> None:
    """What was reserved and not acted on; what the incident has acted on stays its own until its end."""
    acted = {name for action in journey.state.actions for name in action.held}
    left = {name: token for name, token in tokens.items() if name not in acted}
    runtime.leases.release_all(left, journey.incident)


def stand_aside(runtime: Runtime, journey: Journey) -> None:
    """Give back what the incident has acted on and taken back, since it waits for something else now: whoever has that
    may be waiting for this."""
    in_place = {name for action in journey.state.actions if not action.undone for name in action.held}
    for action in journey.state.actions:
        left = {name: token for name, token in action.held.items() if name not in in_place}
        runtime.leases.release_all(left, journey.incident)


def _freed(runtime: Runtime, incident: str, name: str) -> bool:
    """Take a target from an incident that has ended: whoever ended it was killed before it gave the target back."""
    grant = runtime.leases.held_by(name)
    if grant is None or grant.holder == incident or not _over(runtime, grant.holder):
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
