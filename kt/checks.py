"""What `kt doctor` looks at: each check asks one thing that KT stands on and says how to mend it when it is ill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from diagnose.compiled import BUILT, LACKING
from kt.incident.log import DEAD_S, SWEEP
from kt.runtime import Runtime
from kt.views.words import span
from remediate.rights import DELETE, EVICT, lacking

SERIES = {
    "kt:requests_per_second": "load in experiments",
    "kt:error_ratio": "alerts on errors",
    "kt:latency_p99_seconds": "alerts on latency",
    "kt:saturation": "alerts on saturation",
    "kt:wanted_replicas": "replicas as they should be",
    "kt:ready_replicas": "replicas as they are",
    "kt:missing_replicas": "alerts on missing replicas",
    "kt:node_ready": "alerts on nodes",
}
"""Recorded series of `deploy/prometheus/kt-rules.yaml`, and what KT lacks without them."""
PING_S = 1.0
MOST_NAMESPACES = 5
MOST_WORDS = 300
MOST_LISTED = 4
Right = tuple[str, str, str]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`odd`: KT runs, and something is missing all the same. `fix` is what a person can do about it."""

    state: Literal["well", "odd", "ill"] = "well"
    detail: str
    fix: str = ""


Check = Callable[[Runtime], Finding]


def look(runtime: Runtime) -> Iterator[tuple[str, Finding]]:
    """Every check with its finding, as they come. Never raises: what a check trips over is its finding."""
    for name, check, fix in CHECKS:
        try:
            yield name, check(runtime)
        except Exception as error:
            # Whatever goes wrong in a check is its finding.
            yield name, Finding(state="ill", detail=_short(str(error)), fix=fix)


def log(runtime: Runtime) -> Finding:
    received, unsettled = runtime.log.counts()
    return Finding(detail=f"{received} notifications in {runtime.settings.store.kind}, {unsettled} not worked on yet")


def graph(runtime: Runtime) -> Finding:
    count = len(runtime.graph.find())
    if count:
        return Finding(detail=f"{count} entities")
    return Finding(state="odd", detail="empty", fix="`kt beat` (or `kt serve --embedded`) fills it from the cluster")


def diagnosis(runtime: Runtime) -> Finding:
    if BUILT:
        return Finding(detail="its loops are compiled")
    return Finding(
        state="odd", detail=f"its loops are not compiled ({LACKING}): numpy does the work, slower in storms",
        fix="install KT again where a C compiler is",
    )  # fmt: skip


def broker(runtime: Runtime) -> Finding:
    from kombu.connection import Connection
    from kombu.exceptions import OperationalError

    connection = Connection(runtime.settings.broker_url, connect_timeout=3)  # type: ignore[no-untyped-call]  # kombu is untyped
    try:
        with connection:
            connection.connect()  # type: ignore[no-untyped-call]  # as above
            return Finding(detail=str(connection.as_uri()))
    except (OperationalError, OSError, *connection.connection_errors) as error:
        last = runtime.pulses.last(SWEEP)
        if last is None or (datetime.now(UTC) - last).total_seconds() > DEAD_S:
            raise
        fix = "nothing to do if that is `kt serve --embedded`, which needs no broker"
        return Finding(state="odd", detail=f"{_short(str(error))}; yet a worker takes tasks", fix=fix)


def pipeline(runtime: Runtime) -> Finding:
    """Whether tasks are really taken: the store knows when a worker took a sweep last."""
    last = runtime.pulses.last(SWEEP)
    age = (datetime.now(UTC) - last).total_seconds() if last else None
    if age is not None and age < DEAD_S:
        return Finding(detail=f"a worker took the sweep {span(age)} ago")
    said = "no worker has ever taken a sweep" if age is None else f"no worker has taken a sweep for {span(age)}"
    workers = _workers(runtime)
    if workers:
        fix = f"{', '.join(workers)} answers, so it is `kt beat` that does not run or does not reach the broker"
    else:
        fix = "no worker answers on the broker: start `kt worker` and `kt beat`, or `kt serve --embedded`"
    return Finding(state="odd" if age is None else "ill", detail=said, fix=fix)


def kubernetes(runtime: Runtime) -> Finding:
    nodes = runtime.cluster.list("Node")
    return Finding(detail=f"{len(nodes)} nodes at {runtime.api_client.configuration.host}")


def rights(runtime: Runtime) -> Finding:
    """Which verb on which resource this account lacks, asked of the API server itself: everything for the cluster and
    the first namespaces opted in, of the others what a migration of their pods takes."""
    from kt import rbac
    from remediate.granting import LOGS
    from remediate.guard import OPT_IN
    from sense.kubernetes import written

    asked = [("", right) for right in rbac.watched()]
    guarded, logs = runtime.settings.guard.enabled, runtime.settings.diagnose.logs == "kubernetes"
    opted_in = runtime.cluster.list("Namespace", labels=f"{OPT_IN}=enabled") if guarded or logs else []
    spaces = sorted(each["metadata"]["name"] for each in opted_in)
    if logs:
        asked += [(space, right) for space in spaces[:MOST_NAMESPACES] for right in written.RIGHTS]
    if guarded:
        actions = rbac.used(runtime.playbooks.values())
        asked += [("", right) for right in rbac.acted(actions, of_the_cluster=True)]
        needed = rbac.acted(actions, of_the_cluster=False)
        asked += [(space, right) for space in spaces[:MOST_NAMESPACES] for right in needed]
    missing: dict[str, list[str]] = {}
    for namespace, (group, resource, verb) in _single(asked):
        allowed = runtime.cluster.allowed(verb, group, resource, namespace)
        if allowed is None:
            return Finding(detail="this API server cannot be asked about rights (no SelfSubjectAccessReview)")
        if not allowed:
            missing.setdefault(namespace, []).append(f"{verb} {resource}{f'.{group}' if group else ''}")
    others = lacking(runtime.cluster, (EVICT, DELETE), spaces[MOST_NAMESPACES:]) if guarded else {}
    missing |= {space: rights.split(", ") for space, rights in others.items()}
    if not missing:
        return Finding(detail="all that KT needs here is granted")
    told = ", ".join(_listed(rights) + (f" in {space}" if space else "") for space, rights in sorted(missing.items()))
    without = [space for space, rights in missing.items() if space and rights != [f"get {LOGS}"]]
    aside = f"; what runs in {_listed(without)} stays where it is when a node is emptied" if without else ""
    fix = "`kt rbac | kubectl apply -f -`, `kt rbac --act …` and `kt rbac --namespace NAME …` grant them"
    if any(f"get {LOGS}" in rights for rights in missing.values()):
        fix += "; logs: `kt rbac --logs` and `kt rbac --logs --namespace NAME`"
    return Finding(state="ill", detail=_short(f"not allowed: {told}{aside}"), fix=fix)


def _listed(words: Sequence[str]) -> str:
    """The first few."""
    more = f" and {len(words) - MOST_LISTED} more" if len(words) > MOST_LISTED else ""
    return ", ".join(words[:MOST_LISTED]) + more


def prometheus(runtime: Runtime) -> Finding:
    from verify.prometheus import instant

    url = runtime.settings.prometheus.url
    missing = [f"{name} ({purpose})" for name, purpose in SERIES.items() if not instant(url, name)]
    if not missing:
        return Finding(detail=f"{url} has all kt: series")
    fix = "load deploy/prometheus/kt-rules.yaml into it; series of programs need their metrics scraped"
    return Finding(state="odd", detail=f"{url} has no {', '.join(missing)}", fix=fix)


def alertmanager(runtime: Runtime) -> Finding:
    url = runtime.settings.alertmanager.url
    if not url:
        return Finding(detail="not asked (alertmanager.url): a silence holds only before its alert is sent")
    return Finding(detail=f"{url} answers, version {runtime.silences.version()}")


def guard(runtime: Runtime) -> Finding:
    if not runtime.settings.guard.enabled:
        return Finding(detail="off: KT proposes and never acts (guard.enabled)")
    from remediate.guard import OPT_IN

    spaces = runtime.cluster.list("Namespace", labels=f"{OPT_IN}=enabled")
    names = ", ".join(sorted(space["metadata"]["name"] for space in spaces))
    if names:
        return Finding(detail=f"on, policy {runtime.policy().version}; KT may act in: {names}")
    fix = f"kubectl label namespace NAME {OPT_IN}=enabled lets KT act there"
    return Finding(state="odd", detail="on, but no namespace is opted in", fix=fix)


def stop(runtime: Runtime) -> Finding:
    from kt.commands.brake import said

    stopped = runtime.brakes.stopped()
    if stopped is None:
        return Finding(detail="not stopped")
    return Finding(state="odd", detail=said(stopped), fix="`kt resume` lets go: nothing acts until then")


def breaker(runtime: Runtime) -> Finding:
    trip = runtime.brakes.tripped()
    if trip is None:
        return Finding(detail="closed; it never opened")
    if trip.until <= runtime.clock():
        by = f", closed by {trip.closed_by}" if trip.closed_by else ""
        return Finding(detail=f"closed; it was last open until {trip.until:%Y-%m-%d %H:%M} UTC{by}: {trip.why}")
    fix = "look at the incidents of the last hour, then wait, or `kt resume --breaker`"
    return Finding(state="odd", detail=f"open until {trip.until:%H:%M} UTC, KT only proposes: {trip.why}", fix=fix)


def chaos(runtime: Runtime) -> Finding:
    options = runtime.settings.chaos
    if not options.enabled:
        return Finding(detail="off: nothing is disturbed (chaos.enabled)")
    from pathlib import Path

    from kt.chaos import calendars

    for name in options.calendars:
        event = calendars.event_at(Path(name), runtime.clock(), options.calendar_zone)
        if event:
            return Finding(detail=f"on; not now: {event}")
    kept = f", {len(options.calendars)} calendars are kept to" if options.calendars else ""
    return Finding(detail=f"on{kept}")


def notify(runtime: Runtime) -> Finding:
    names = [address.partition(":")[0] for address in runtime.settings.notify.urls.split()]
    if names:
        return Finding(detail=f"{', '.join(names)}: {', '.join(runtime.settings.notify.kinds)}; `kt notify` tries them")
    fix = "set notify.urls, so that people need not look whether KT waits for them"
    return Finding(state="odd", detail="nobody is told of anything", fix=fix)


CHECKS: tuple[tuple[str, Check, str], ...] = (
    ("incident log", log, "see store.* in the settings: the folder must be writable, or Neo4j must answer"),
    ("graph", graph, "see store.* in the settings"),
    ("diagnosis", diagnosis, "install KT again"),
    ("broker", broker, "start Redis, or set broker_url; `kt serve --embedded` needs none"),
    ("pipeline", pipeline, "the incident log must answer first"),
    ("kubernetes", kubernetes, "set kubernetes.kubeconfig and kubernetes.context, or run KT in a pod"),
    ("rights", rights, "the cluster must answer first"),
    ("prometheus", prometheus, "set prometheus.url"),
    (
        "alertmanager",
        alertmanager,
        "set alertmanager.url, or empty it: KT does nothing while it cannot ask for silences",
    ),
    ("guard", guard, "the cluster must answer first"),
    ("stop", stop, "the incident log must answer first"),
    ("breaker", breaker, "the incident log must answer first"),
    ("chaos", chaos, "set chaos.calendars to files in the iCalendar format (.ics) that KT may read"),
    ("notify", notify, "see notify.* in the settings"),
)


def _workers(runtime: Runtime) -> list[str]:
    """Names of the workers that answer on the broker; none when it is in another process' memory, or away."""
    if runtime.settings.broker_url.startswith("memory:"):
        return []
    from kt.pipeline.app import create_app

    try:
        answers = create_app(runtime).control.ping(timeout=PING_S)
    except Exception:
        # A broker that is away is the finding of its own check.
        return []
    return sorted(name for answer in answers for name in answer)


def _single(asked: Iterable[tuple[str, Right]]) -> Iterator[tuple[str, Right]]:
    """Each (namespace, (group, resource, verb)) once."""
    once: dict[tuple[str, Right], None] = {}
    for namespace, (group, resource, verbs) in asked:
        for verb in verbs.split():
            once[namespace, (group, resource, verb)] = None
    yield from once


def _short(text: str) -> str:
    return text if len(text) <= MOST_WORDS else text[: MOST_WORDS - 1] + "…"
