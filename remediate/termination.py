"""Which containers are invalid, and what to do with each: four dimensions, a score, a decision. Pure.

The SMART matrix: utilisation, failing, load of nodes, business priority. Each dimension is between 0 and 1; the
score is their weighted sum, priority counting against. Every threshold and weight is policy; nothing here decides for
tier 0, which is never interrupted without a person's word.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Decision = Literal["leave", "restart", "move", "terminate"]


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A container as the cluster and its metrics tell of it now."""

    name: str
    """`namespace/pod/container`."""
    tier: int | None = None
    """0 is the most important; None where nobody said."""
    cpu: float | None = None
    memory: float | None = None
    """Shares of its limits that it uses; None where no metrics or no limits are known."""
    restarts: int = 0
    waiting: str = ""
    """Why it waits to be started: CrashLoopBackOff, ImagePullBackOff, …"""
    ready: bool = True
    age_s: float = 0.0
    since_s: float = 0.0
    """For how long it has been as it is: running, waiting, ended."""
    unready_s: float = 0.0
    """For how long it has run without being ready."""
    ended: str = ""
    """Why it ended last: Error, OOMKilled; Failed or Evicted when its pod has ended."""
    siblings: int = 0
    """Others of its kind that serve."""
    node_load: float = 0.0
    least_load: float = 0.0
    """Share of what its node, and the least loaded one that would take it, have been asked for."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds and weights. The first three are the matrix's own: 85 %, 3 restarts, 15 %."""

    utilisation: float = 0.85
    restarts: int = 3
    imbalance: float = 0.15
    failing: tuple[str, ...] = (
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "RunContainerError",
    )  # fmt: skip
    patience_s: float = 300.0
    """So long a container may be unready, or wait for its image, before it counts as failing."""
    recovered: float = 3.0
    """One that has run for so many times as long as it usually did has recovered from its restarts."""
    weight_utilisation: float = 0.35
    weight_failing: float = 1.0
    weight_imbalance: float = 0.25
    weight_priority: float = 0.3
    priority: tuple[float, ...] = (1.0, 0.5, 0.2)
    """Of tier 0, 1, …; 0 for those that are not in it."""
    unknown_tier: int = 2
    terminate: float = 0.6
    restart: float = 0.35
    move: float = 0.2


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    decision: Decision
    score: float
    utilisation: float
    failing: float
    imbalance: float
    priority: float
    why: str


def judge(given: Container, policy: Policy) -> Verdict:
    """What to do with a container. `leave` for tier 0 whatever the score: that is for a person to decide."""
    tier = policy.unknown_tier if given.tier is None else given.tier
    used = _utilisation(given, policy)
    failing, reason = _failing(given, policy)
    apart = _above(given.node_load - given.least_load, policy.imbalance, 1.0)
    priority = policy.priority[tier] if 0 <= tier < len(policy.priority) else 0.0
    score = (
        policy.weight_utilisation * used
        + policy.weight_failing * failing
        + policy.weight_imbalance * apart
        - policy.weight_priority * priority
    )
    decision, why = _decision(given, policy, score, used, failing, apart, tier)
    return Verdict(
        decision=decision, score=score, utilisation=used, failing=failing, imbalance=apart, priority=priority,
        why="; ".join(filter(None, (reason, why))),
    )  # fmt: skip


def _decision(
    given: Container, policy: Policy, score: float, used: float, failing: float, apart: float, tier: int
) -> tuple[Decision, str]:
    if not (used or failing or apart):
        return "leave", "nothing is wrong with it"
    if tier == 0:
        return "leave", f"score {score:.2f}, but it is of tier 0: a person decides"
    if failing and given.ready and not given.siblings:
        return "leave", "it still serves, and nothing else of its kind does"
    if failing and score >= policy.terminate:
        return "terminate", f"score {score:.2f} of {policy.terminate}"
    if failing and score >= policy.restart:
        return "restart", f"score {score:.2f} of {policy.restart}"
    if used and apart and score >= policy.move:
        return "move", f"it is busy on a node that is fuller than another one (score {score:.2f})"
    return "leave", f"score {score:.2f}"


def _utilisation(given: Container, policy: Policy) -> float:
    known = [each for each in (given.cpu, given.memory) if each is not None]
    return _above(max(known, default=0.0), policy.utilisation, 1.0)


def _failing(given: Container, policy: Policy) -> tuple[float, str]:
    """How surely it does not do its work and will not by itself."""
    if given.ended in ("Failed", "Evicted"):
        return 1.0, f"its pod has ended ({given.ended})"
    if given.waiting in policy.failing and given.waiting != "CrashLoopBackOff":
        return _share_of(given.since_s, policy.patience_s), f"{given.waiting} for {given.since_s:.0f} s"
    stuck = _share_of(given.unready_s, policy.patience_s) if given.unready_s else 0.0
    if given.restarts <= policy.restarts and given.waiting != "CrashLoopBackOff":
        return (stuck, f"not ready for {given.unready_s:.0f} s") if stuck >= 1.0 else (0.0, "")
    if given.waiting == "CrashLoopBackOff":
        # The first ends of a start that waits for something else look the same; they are few.
        return min(
            1.0, (given.restarts + 1) / (policy.restarts + 1)
        ), f"CrashLoopBackOff after {given.restarts} restarts"
    usual = (given.age_s - given.since_s) / max(1, given.restarts)
    steady = given.since_s / max(usual, 1.0)
    left = max(0.0, 1.0 - steady / policy.recovered)
    why = f"{given.restarts} restarts, one about every {usual:.0f} s, up for {given.since_s:.0f} s"
    return max(left, stuck if stuck >= 1.0 else 0.0), why


def _share_of(seconds: float, patience_s: float) -> float:
    """How much of a patience is used up; all of it at once where there is none."""
    return min(1.0, seconds / patience_s) if patience_s else 1.0


def _above(value: float, threshold: float, full: float) -> float:
    """0 up to the threshold; from there to 1 at `full`, beginning at a half: that it is exceeded is the news."""
    if value <= threshold:
        return 0.0
    return min(1.0, 0.5 + 0.5 * (value - threshold) / max(full - threshold, 1e-9))


def by_thresholds(given: Container, policy: Policy) -> bool:
    """The plain rule beside which the matrix is measured: any threshold that is exceeded ends a container."""
    used = max([each for each in (given.cpu, given.memory) if each is not None], default=0.0)
    return (
        used > policy.utilisation
        or given.waiting in policy.failing
        or given.restarts > policy.restarts
        or given.ended in ("Failed", "Evicted")
    )
