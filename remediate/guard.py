"""The guard: every plan passes it, when it is made and again right before it acts. It only ever says no.

Here is what it looks at; what follows from that is in `remediate.rules`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from remediate.actions import ACTIONS
from remediate.actions.base import ACTED_AT, ACTION, CannotAct, marks_of
from remediate.actions.pods import NAMED, belongs_to, controller_of, serving, siblings_of, workload_of
from remediate.brakes import Brakes, Spent, Trip
from remediate.breaker import reason_to_open
from remediate.cluster import Cluster, Object, OneLook
from remediate.limits import Limits
from remediate.ownership import declared_by
from remediate.plan import Step, Target
from remediate.rules import DAY, HOUR, OPT_IN, Disturbance, Facts, Finding, NodeFact, over_cap, over_rate, review
from remediate.shapes import NodeSeen

__all__ = ["OPT_IN", "Guard"]


KNOWN_S = 5.0
ONE_BY_ONE = 4
"""More namespaces, or owners of pods, than that are asked for at once."""


class Guard:
    """`limits`: those that hold now, by the policy of that version; asked anew each time."""

    def __init__(
        self,
        cluster: Cluster,
        limits: Callable[[], tuple[Limits, str]],
        brakes: Brakes,
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster, self._limits, self.brakes, self._clock = cluster, limits, brakes, clock
        self._known: tuple[float, list[str]] = (-KNOWN_S, [])

    @property
    def limits(self) -> Limits:
        return self._limits()[0]

    @property
    def policy(self) -> str:
        """The version of the policy that decides now."""
        return self._limits()[1]

    def opted_in(self) -> list[str]:
        """The namespaces whose owners let KT act in them, a few seconds old: enough to choose by, not to decide by."""
        at, known = self._known
        now = time.monotonic()
        if now - at > KNOWN_S:
            spaces = self._cluster.list("Namespace", labels=f"{OPT_IN}=enabled")
            known = sorted(space["metadata"]["name"] for space in spaces)
            self._known = now, known
        return known

    def watch(self) -> Trip | None:
        """Open the circuit breaker if there is reason to; the trip when it opened just now."""
        now, limits, last = self._clock(), self.limits, self.brakes.tripped()
        if last is not None and last.until > now:
            return None
        why = reason_to_open(self.brakes.since(now - DAY), last, self._cluster.latency.p90_s, now, limits)
        if not why:
            return None
        trip = Trip(at=now, until=now + timedelta(seconds=limits.breaker_open_s), why=why)
        self.brakes.trip(trip)
        return trip

    def review(
        self,
        playbook: str,
        steps: Sequence[Step],
        objects: Iterable[Object],
        *,
        aside: frozenset[str] = frozenset(),
        look: OneLook | None = None,
    ) -> list[Finding]:
        """What every rule says of a plan. `objects`: the targets of the steps as they are now; `aside`: actions that
        start no cooldown, since it is they that are taken back; `look`: the one that the plan was just made by.

        Raises `ClusterError`, and the store's error when it cannot tell what was done lately."""
        return review(self.facts(playbook, steps, objects, aside, look), self.limits)

    def spend(self, action: str, playbook: str, step: Step) -> tuple[str, bool]:
        """Count an action that is about to begin; why it must not, when that would be one too many, and whether asking
        again soon can help."""
        now, limits, soon = self._clock(), self.limits, False

        def objection(before: Sequence[Spent]) -> str:
            nonlocal soon
            over = over_cap(before, [target], spaces, limits)
            soon = not over
            return over or over_rate(before, now, limits)

        target, namespace = counts_for(self._cluster, step), step.target.namespace
        spent = Spent(action=action, at=now, target=target, namespace=namespace, playbook=playbook)
        spaces = [namespace] if namespace else []
        why = self.brakes.spend(spent, now - HOUR, objection)
        return why, bool(why) and soon

    def facts(
        self,
        playbook: str,
        steps: Sequence[Step],
        objects: Iterable[Object],
        aside: frozenset[str] = frozenset(),
        look: OneLook | None = None,
    ) -> Facts:
        things = {(each["kind"], each["metadata"]["name"]): each for each in objects}
        cluster = look or OneLook(self._cluster)
        on_nodes = any(step.target.kind == "Node" for step in steps)
        nodes = cluster.list_as("Node", NodeSeen) if on_nodes else []
        grouped_by = self.limits.node_groups  # read once: a cluster may have many nodes
        moved = {space for step in steps for space in _spaces(step)}
        opted_in = _opted_in(cluster, moved)
        # A node's plan names what was opted in a few seconds ago: nothing is done where there is no namespace any more.
        moved -= {space for space in moved - set(opted_in) if cluster.get("Namespace", space) is None}
        spaces = [opted_in[space] for space in sorted(moved & set(opted_in))]
        return Facts(
            now=self._clock(),
            playbook=playbook,
            namespaces=tuple(sorted(moved)),
            opted_in=frozenset(opted_in),
            targets=tuple(dict.fromkeys(counts_for(cluster, step) for step in steps)),
            node_targets=tuple(dict.fromkeys(step.target.name for step in steps if step.target.kind == "Node")),
            nodes=tuple(
                NodeFact(
                    name=node.metadata.name,
                    ready=node.ready,
                    unschedulable=node.spec.unschedulable,
                    groups=tuple(_groups(node, grouped_by)),
                )
                for node in nodes
            ),
            acted_at={
                _name(each): at
                for each in things.values()
                if marks_of(each).get(ACTION) not in aside and (at := _acted_at(each))
            },
            disturbed=tuple(_disturbed(cluster, steps, things)),
            owned={
                key_of(step.target): by
                for step in steps
                if ACTIONS[step.action].declared
                and (thing := things.get((step.target.kind, step.target.name)))
                and (by := declared_by(thing))
            },
            tiers=dict(self._tiers(cluster, steps, things, spaces)),
            spent=tuple(self.brakes.since(self._clock() - DAY)),
            stop=self.brakes.stopped(),
            trip=self.brakes.tripped(),
            api_s=self._cluster.latency.p90_s,
        )

    def _tiers(
        self,
        cluster: Cluster,
        steps: Sequence[Step],
        things: Mapping[tuple[str, str], Object],
        spaces: Iterable[Object],
    ) -> Iterator[tuple[str, int]]:
        """The tiers of what the steps touch: their targets, the workloads of pods that they end, the namespaces."""
        touched, label = [*things.values(), *spaces], self.limits.tier_label
        for step in steps:
            at = step.target
            named = [f"{at.namespace}/{at.name}"] if at.kind == "Pod" else []
            pods = [*named, *step.parameters.get("pods", ())]
            touched += _workloads(cluster, pods, label, node=at.name if at.kind == "Node" else "")
        for each in touched:
            if (tier := tier_of(each["metadata"].get("labels") or {}, label)) is not None:
                yield _name(each), tier


def _groups(node: NodeSeen, by: Iterable[str]) -> Iterator[str]:
    labels = node.metadata.labels
    for label in by:
        if label in labels:
            yield f"{label.rpartition('/')[2]} {labels[label]}"


def _opted_in(cluster: Cluster, names: Collection[str]) -> dict[str, Object]:
    """Those of these namespaces that are opted in, as they are now."""
    if len(names) > ONE_BY_ONE:  # a drain may touch hundreds
        found = cluster.list("Namespace", labels=f"{OPT_IN}=enabled")
    else:
        found = [{**space, "kind": "Namespace"} for name in names if (space := cluster.get("Namespace", name))]
    return {
        space["metadata"]["name"]: space
        for space in found
        if space["metadata"]["name"] in names and (space["metadata"].get("labels") or {}).get(OPT_IN) == "enabled"
    }


def counts_for(cluster: Cluster, step: Step) -> str:
    """A pod counts for its workload: its successors have other names and the same trouble."""
    target = step.target
    if target.kind == "Pod":
        pod = cluster.get("Pod", target.name, target.namespace)
        workload = workload_of(cluster, pod) if pod else None
        if workload is not None:
            return _key(workload["kind"], target.namespace, workload["metadata"]["name"])
    return key_of(target)


def _workloads(cluster: Cluster, pods: Collection[str], label: str, node: str) -> Iterator[Object]:
    """The pods of these names (namespace/name), and what they belong to, each owner once. `node`: where they are, if
    they are on one; its pods are then asked for at once. Of many owners only those that bear the label are told."""
    there = {}
    if node and pods:
        on_it = cluster.list("Pod", fields=f"spec.nodeName={node}")
        there = {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each for each in on_it}
    owned: dict[str, Object] = {}
    for name in pods:
        namespace, _, short = name.partition("/")
        pod = there.get(name) or cluster.get("Pod", short, namespace)
        if pod is None:
            continue
        yield {**pod, "kind": "Pod"}
        owner = controller_of(pod)
        if owner is not None:
            owned.setdefault(owner["uid"], pod)
    named = {belongs_to(pod): pod for pod in owned.values()}
    if len(named) > ONE_BY_ONE:  # a node has pods of many, and two questions for each would be most of a plan's time
        kinds = sorted({name.partition("/")[0] for name in named} & set(NAMED))
        labelled = {_name(each): each for kind in kinds for each in cluster.list(kind, labels=label)}
        yield from (labelled[name] for name in named if name in labelled)
        named = {name: pod for name, pod in named.items() if name.partition("/")[0] not in NAMED}
    for pod in named.values():
        if (workload := workload_of(cluster, pod)) is not None:
            yield workload


def _disturbed(
    cluster: Cluster, steps: Sequence[Step], things: Mapping[tuple[str, str], Object]
) -> Iterable[Disturbance]:
    """Single pods that a step ends, and restarts by the workload's own strategy. Evictions keep to the share
    themselves, wave by wave."""
    for step in steps:
        at = step.target
        if step.action == "restart" and (thing := things.get((at.kind, at.name))) and at.kind == "Deployment":
            yield _restarted(key_of(at), thing)
        pod = cluster.get("Pod", at.name, at.namespace) if at.kind == "Pod" else None
        if pod is None or controller_of(pod) is None:
            continue
        try:
            others = siblings_of(cluster, pod)
        except CannotAct:
            continue
        yield Disturbance(
            workload=counts_for(cluster, step),
            pods=len(others) + 1,
            missing=sum(1 for each in others if not serving(each)),
            taken=1 if serving(pod) else 0,
        )


def _restarted(name: str, deployment: Object) -> Disturbance:
    """How many pods at once a rolling restart takes: all with Recreate, else what its maxUnavailable says."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted, strategy = int(spec.get("replicas", 1)), spec.get("strategy") or {}
    available = int(status.get("readyReplicas") or 0)
    if strategy.get("type") == "Recreate":
        return Disturbance(workload=name, pods=wanted, missing=0, taken=available)
    most = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")
    share = int(most[:-1]) * wanted // 100 if isinstance(most, str) else int(most)
    # What is missing already counts within maxUnavailable: a rollout takes no more.
    return Disturbance(workload=name, pods=wanted, missing=0, taken=max(0, min(share, wanted)))


def tier_of(labels: Mapping[str, str], label: str) -> int | None:
    """The tier that the labels tell; what cannot be read counts as the most important, none told as None."""
    told = labels.get(label)
    if told is None:
        return None
    return int(told) if told.isascii() and told.isdigit() else 0


def key_of(target: Target) -> str:
    return _key(target.kind, target.namespace, target.name)


def _key(kind: str, namespace: str, name: str) -> str:
    return f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}"


def _name(thing: Object) -> str:
    return _key(thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"])


def _spaces(step: Step) -> Iterable[str]:
    """The namespaces in which a step acts: its target's, or those of the pods that it moves."""
    return [step.target.namespace] if step.target.namespace else step.parameters.get("namespaces", ())


def _acted_at(thing: Object) -> datetime | None:
    try:
        return datetime.fromisoformat(marks_of(thing).get(ACTED_AT, "")).astimezone(UTC)
    except ValueError:
        return None
