"""The guard's rules: pure functions of facts and limits, each with what it looked at and what it says.

They only ever forbid: the verdict of a plan is the hardest of all findings, so one more rule, a lower limit or another
fact against it can never allow more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import IntEnum

import msgspec

from remediate.blast import allowed_of
from remediate.brakes import Spent, Stop, Trip
from remediate.breaker import reason_to_open
from remediate.limits import Limits
from remediate.plan import RuleSaid

OPT_IN = "kt.io/remediate"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


class Verdict(IntEnum):
    """From free to forbidden."""

    ALLOW = 0
    ASK = 1
    """KT may do it once a person has agreed, whatever its risk."""
    LATER = 2
    """Not now; asking again can help."""
    PROPOSE = 3
    """A person may do it; KT shows what it would do."""
    REFUSE = 4


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule says. `value`: what it looked at; `limit`: what it is measured against; `why`: when it objects."""

    rule: str
    value: str
    limit: str
    verdict: Verdict = Verdict.ALLOW
    why: str = ""
    until: datetime | None = None
    """When it stops objecting by itself, where that is known."""


class NodeFact(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    ready: bool
    unschedulable: bool = False
    groups: tuple[str, ...] = ()
    """What it belongs to, as `zone eu-1`."""


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan does to the pods of one workload: `taken` of those that serve would go at once."""

    workload: str
    pods: int
    missing: int
    taken: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the rules look at, gathered beforehand."""

    now: datetime
    playbook: str
    namespaces: tuple[str, ...] = ()
    """In which the plan would act."""
    opted_in: frozenset[str] = frozenset()
    targets: tuple[str, ...] = ()
    """What the actions count for: workloads and nodes, as `Kind/namespace/name`."""
    node_targets: tuple[str, ...] = ()
    nodes: tuple[NodeFact, ...] = ()
    acted_at: dict[str, datetime] = {}
    """Target → when KT acted on it last."""
    disturbed: tuple[Disturbance, ...] = ()
    owned: dict[str, str] = {}
    """Target → who declares it and would undo a change (GitOps, an operator)."""
    tiers: dict[str, int] = {}
    """Workload or namespace that the plan touches → its tier, where it has one."""
    spent: tuple[Spent, ...] = ()
    """Of the last day."""
    stop: Stop | None = None
    trip: Trip | None = None
    """The last time that the circuit breaker opened."""
    api_s: float | None = None
    """How slow the API server is; None: not known."""


Rule = Callable[[Facts, Limits], Finding]


def review(facts: Facts, limits: Limits) -> list[Finding]:
    """What every rule says, in the order in which a person would ask."""
    return [rule(facts, limits) for rule in RULES]


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    return max((each.verdict for each in findings), default=Verdict.ALLOW)


def against(findings: Sequence[Finding]) -> str:
    """What speaks against a plan, the hardest first."""
    hard = sorted((each for each in findings if each.verdict), key=lambda each: -each.verdict)
    return "; ".join(each.why for each in hard)


def until_of(findings: Sequence[Finding]) -> datetime | None:
    """When the last of those that say later lets go; None where one of them does not know."""
    waits = [each.until for each in findings if each.verdict is Verdict.LATER]
    known = [each for each in waits if each is not None]
    return max(known) if known and len(known) == len(waits) else None


def in_words(findings: Sequence[Finding]) -> tuple[RuleSaid, ...]:
    """As a plan keeps them."""
    return tuple(
        RuleSaid(rule=each.rule, verdict=each.verdict.name.lower(), value=each.value, limit=each.limit, why=each.why)
        for each in findings
    )


def stop(facts: Facts, limits: Limits) -> Finding:
    if facts.stop is None:
        return Finding(rule="stop", value="running", limit="`kt stop` holds everything")
    why = f"{facts.stop.by} has stopped KT" + (f": {facts.stop.why}" if facts.stop.why else "")
    return Finding(
        rule="stop", value=f"stopped since {facts.stop.at:%Y-%m-%d %H:%M:%S}", limit="`kt resume` lets go",
        verdict=Verdict.LATER, why=why,
    )  # fmt: skip


def opt_in(facts: Facts, limits: Limits) -> Finding:
    outside = sorted(set(facts.namespaces) - facts.opted_in)
    made = Finding(rule="opt-in", value=", ".join(facts.namespaces) or "no namespace", limit=f"{OPT_IN}=enabled")
    if not outside:
        return made
    them = f"namespace {', '.join(outside)} is" if len(outside) == 1 else f"namespaces {', '.join(outside)} are"
    why = f"{them} not opted in (label it {OPT_IN}=enabled to let KT act there)"
    return msgspec.structs.replace(made, verdict=Verdict.REFUSE, why=why)


def freeze(facts: Facts, limits: Limits) -> Finding:
    for each in limits.freezes:
        until = each.until(facts.now)
        if until is not None and _concerns(each.namespaces, facts):
            why = f"changes are frozen until {until:%Y-%m-%d %H:%M %Z}" + (f": {each.why}" if each.why else "")
            return Finding(
                rule="freeze", value="frozen", limit=f"{len(limits.freezes)} freezes",
                verdict=Verdict.PROPOSE, why=why,
            )  # fmt: skip
    return Finding(rule="freeze", value="no freeze now", limit=f"{len(limits.freezes)} freezes")


def maintenance(facts: Facts, limits: Limits) -> Finding:
    made = Finding(rule="maintenance", value="no window now", limit=f"{len(limits.maintenance)} windows")
    for each in limits.maintenance:
        until = each.until(facts.now)
        if until is not None and _concerns(each.namespaces, facts):
            why = f"maintenance until {until:%H:%M %Z}" + (f": {each.why}" if each.why else "")
            return msgspec.structs.replace(made, value="window open", verdict=Verdict.LATER, why=why, until=until)
    return made


def _concerns(namespaces: Sequence[str], facts: Facts) -> bool:
    """A node concerns everybody."""
    return not namespaces or bool(facts.node_targets) or not set(namespaces).isdisjoint(facts.namespaces)


def cooldown(facts: Facts, limits: Limits) -> Finding:
    made = Finding(rule="cooldown", value="not acted on lately", limit=f"{limits.cooldown_s:.0f} s")
    for target in sorted(facts.acted_at):
        age = (facts.now - facts.acted_at[target]).total_seconds()
        if 0 <= age < limits.cooldown_s:
            at, until = facts.acted_at[target], facts.acted_at[target] + timedelta(seconds=limits.cooldown_s)
            why = f"KT acted on {target} at {at:%H:%M:%S} UTC; it is left alone until {until:%H:%M:%S}"
            return msgspec.structs.replace(made, value=f"{age:.0f} s ago", verdict=Verdict.LATER, why=why, until=until)
        if age >= 0:
            made = msgspec.structs.replace(made, value=f"{age:.0f} s ago")
    return made


def storm(facts: Facts, limits: Limits) -> Finding:
    sick = sorted(node.name for node in facts.nodes if not node.ready)
    made = Finding(rule="storm", value=f"{len(sick)} nodes not ready", limit=f"{limits.storm_nodes} at once")
    if not facts.node_targets or len(sick) < limits.storm_nodes:
        return made
    why = f"{len(sick)} nodes are not ready at once ({', '.join(sick)}): that is no fault of one node"
    return msgspec.structs.replace(made, verdict=Verdict.REFUSE, why=why)


def nodes(facts: Facts, limits: Limits) -> Finding:
    """One node of a small cluster is always allowed, as long as another one stands."""
    allowed = max(1, int(limits.max_share_of_nodes * len(facts.nodes)))
    out = {node.name for node in facts.nodes if node.unschedulable or not node.ready} | set(facts.node_targets)
    made = Finding(
        rule="nodes", value=f"{len(out)} of {len(facts.nodes)} out" if facts.node_targets else "no node touched",
        limit=f"{allowed} ({limits.max_share_of_nodes:.0%})",
    )  # fmt: skip
    if facts.node_targets and (len(out) > allowed or len(out) >= len(facts.nodes)):
        why = f"{len(out)} of {len(facts.nodes)} nodes would be out ({', '.join(sorted(out))}); the limit is {allowed}"
        return msgspec.structs.replace(made, verdict=Verdict.REFUSE, why=why)
    return made


def node_groups(facts: Facts, limits: Limits) -> Finding:
    """No more than a share of a zone or a pool; one node of each may go, but of several never the last that stands."""
    made = Finding(rule="node groups", value="no node touched", limit=f"{limits.max_share_of_node_group:.0%}")
    if not facts.node_targets:
        return made
    made = msgspec.structs.replace(made, value="none told")
    touched = {group for node in facts.nodes if node.name in facts.node_targets for group in node.groups}
    for group in sorted(touched):
        members = [node for node in facts.nodes if group in node.groups]
        out = sorted(
            node.name for node in members
            if node.unschedulable or not node.ready or node.name in facts.node_targets
        )  # fmt: skip
        allowed = max(1, int(limits.max_share_of_node_group * len(members)))
        made = msgspec.structs.replace(made, value=f"{len(out)} of {len(members)} of {group}")
        if len(out) > allowed or (len(members) > 1 and len(out) == len(members)):
            why = f"{len(out)} of {len(members)} nodes of {group} would be out ({', '.join(out)})"
            return msgspec.structs.replace(made, verdict=Verdict.REFUSE, why=f"{why}; the limit is {allowed}")
    return made


def workload_share(facts: Facts, limits: Limits) -> Finding:
    """Ending a pod that does not serve takes nothing away; one that serves may go while enough others do."""
    made = Finding(rule="workload share", value="no serving pod taken", limit=f"{limits.max_share_of_workload:.0%}")
    for each in facts.disturbed:
        allowed, gone = allowed_of(each.pods, limits.max_share_of_workload), each.missing + each.taken
        if not each.taken:
            continue
        made = msgspec.structs.replace(made, value=f"{gone} of {each.pods} pods of {each.workload}")
        if gone > allowed:
            why = f"{gone} of {each.pods} pods of {each.workload} would be missing at once; the limit is {allowed}"
            return msgspec.structs.replace(made, verdict=Verdict.LATER, why=why)
    return made


def breaker(facts: Facts, limits: Limits) -> Finding:
    trip = facts.trip
    made = Finding(rule="breaker", value="closed", limit=f"{limits.breaker_failures} bad outcomes in a row")
    if trip is not None and trip.until > facts.now:
        why = f"the circuit breaker is open until {trip.until:%H:%M} UTC: {trip.why}"
        return msgspec.structs.replace(made, value="open", verdict=Verdict.PROPOSE, why=why)
    why = reason_to_open(facts.spent, trip, facts.api_s, facts.now, limits)
    return msgspec.structs.replace(made, value="opens", verdict=Verdict.PROPOSE, why=why) if why else made


def tier(facts: Facts, limits: Limits) -> Finding:
    """The most important is never touched without somebody's word."""
    first = sorted(name for name, tier in facts.tiers.items() if tier == 0)
    least = min(facts.tiers.values(), default=None)
    value = "no tier" if least is None else f"tier {least}"
    made = Finding(rule="tier", value=value, limit="tier 0 only with approval")
    if not first:
        return made
    why = f"{', '.join(first)} {'is' if len(first) == 1 else 'are'} of tier 0, so somebody has to agree"
    return msgspec.structs.replace(made, verdict=Verdict.ASK, why=why)


def rate(facts: Facts, limits: Limits) -> Finding:
    count = _of_minute(facts.spent, facts.now)
    made = Finding(rule="rate", value=f"{count} in the last minute", limit=f"{limits.max_actions_per_minute} a minute")
    why = over_rate(facts.spent, facts.now, limits)
    return msgspec.structs.replace(made, verdict=Verdict.LATER, why=why) if why else made


def over_rate(spent: Sequence[Spent], now: datetime, limits: Limits) -> str:
    """Why one more action has to wait; empty when it has not."""
    count = _of_minute(spent, now)
    if count < limits.max_actions_per_minute:
        return ""
    return f"KT has begun {count} actions in the last minute; the limit is {limits.max_actions_per_minute}"


def _of_minute(spent: Sequence[Spent], now: datetime) -> int:
    return sum(1 for each in spent if each.at > now - MINUTE)


def taken_back(facts: Facts, limits: Limits) -> Finding:
    """What a person has just taken back KT does not do again of its own accord."""
    back = [
        each
        for each in facts.spent
        if each.outcome == "taken back" and each.playbook == facts.playbook and each.target in facts.targets
    ]
    made = Finding(rule="taken back", value=f"{len(back)} times in a day", limit="0 times")
    if not back:
        return made
    why = f"a person took {facts.playbook} of {back[-1].target} back less than a day ago"
    return msgspec.structs.replace(made, verdict=Verdict.PROPOSE, why=why)


def ownership(facts: Facts, limits: Limits) -> Finding:
    if not facts.owned:
        return Finding(rule="ownership", value="nobody else's", limit="GitOps, operators")
    who = "; ".join(f"{target} is declared by {by}" for target, by in sorted(facts.owned.items()))
    why = f"{who}, which would undo it: change it there"
    return Finding(rule="ownership", value=who, limit="GitOps, operators", verdict=Verdict.PROPOSE, why=why)


def ineffective(facts: Facts, limits: Limits) -> Finding:
    """What did not help is not tried again at once: the pause doubles each time, and a person is asked at the end."""
    failed = [
        each
        for each in facts.spent
        if each.outcome == "ineffective" and each.playbook == facts.playbook and each.target in facts.targets
    ]
    made = Finding(
        rule="ineffective", value=f"{len(failed)} times in a day without help", limit=f"{limits.max_ineffective} times"
    )
    if not failed:
        return made
    if len(failed) >= limits.max_ineffective:
        why = f"{facts.playbook} did not help {failed[-1].target} {len(failed)} times in a day: a person has to look"
        return msgspec.structs.replace(made, verdict=Verdict.REFUSE, why=why)
    pause = timedelta(seconds=limits.cooldown_s * 2 ** len(failed))
    if facts.now < failed[-1].at + pause:
        until = failed[-1].at + pause
        why = f"{facts.playbook} did not help {failed[-1].target}; it is not tried again until {until:%H:%M:%S} UTC"
        return msgspec.structs.replace(made, verdict=Verdict.LATER, why=why, until=until)
    return made


def windows(facts: Facts, limits: Limits) -> Finding:
    spent = [each for each in facts.spent if each.at > facts.now - HOUR]
    limit = (
        f"{limits.max_actions_per_hour} in all, {limits.max_actions_per_hour_per_namespace} a namespace, "
        f"{limits.max_actions_per_hour_per_target} a target"
    )
    made = Finding(rule="actions per hour", value=f"{len(spent)} in all", limit=limit)
    why = over_cap(spent, facts.targets, facts.namespaces, limits)
    return msgspec.structs.replace(made, verdict=Verdict.REFUSE, why=why) if why else made


def over_cap(spent: Sequence[Spent], targets: Sequence[str], namespaces: Sequence[str], limits: Limits) -> str:
    """Why one more action would be too many in an hour; empty when it would not. `spent`: of the last hour."""
    for what, count, most in _counts(spent, targets, namespaces, limits):
        if count >= most:
            return f"KT has acted {count} times in an hour {what}; the limit is {most}, so a person has to look"
    return ""


def _counts(
    spent: Sequence[Spent], targets: Sequence[str], namespaces: Sequence[str], limits: Limits
) -> Iterator[tuple[str, int, int]]:
    yield "in all", len(spent), limits.max_actions_per_hour
    for namespace in namespaces:
        count = sum(1 for each in spent if each.namespace == namespace)
        yield f"in namespace {namespace}", count, limits.max_actions_per_hour_per_namespace
    for target in targets:
        count = sum(1 for each in spent if each.target == target)
        yield f"on {target}", count, limits.max_actions_per_hour_per_target


RULES: tuple[Rule, ...] = (
    stop, breaker, opt_in, tier, freeze, maintenance, ownership, cooldown, ineffective, taken_back, rate, windows,
    workload_share, nodes, node_groups, storm,
)  # fmt: skip
