"""Asks the question of the catalogue that is expected to tell most, when what was seen is not enough for a diagnosis.

Only what reads is asked: an instant query of Prometheus, objects and events of Kubernetes that KT may read anyway.
What comes of it is an event of the incident before it is used: a crash asks nothing twice, a replay nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from diagnose.absent import stand_in
from diagnose.probes import next_probe
from graph_schema import questions
from graph_schema.model import Diagnosis, Entity, NextProbe, ProbeAnswer, Subgraph
from graph_schema.questions import Question, question
from kt.runtime import Runtime
from kt.settings import BadSettings
from remediate.cluster import Cluster, ClusterError, Object
from sense.promql import metrics_in

READ = frozenset(
    {"Pod", "Node", "Namespace", "Service", "ConfigMap", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet",
     "HorizontalPodAutoscaler"}
)  # fmt: skip
"""Kinds that are asked about: those that KT watches and that its client reads."""
IN_VAIN = 2
"""So many times as often as it may be answered, KT asks at most: what nobody can answer costs time, too."""
MOST_PODS = 20
LONGEST_ANSWER = 160


def wanting(answer: Diagnosis, min_probability: float) -> bool:
    """Whether more should be known before anything is proposed."""
    best = answer.hypotheses[0].probability if answer.hypotheses else 0.0
    return bool(answer.hypotheses) and (not answer.enough or best < min_probability)


def following(
    runtime: Runtime,
    answer: Diagnosis,
    piece: Subgraph,
    answers: Collection[ProbeAnswer],
    watching: Collection[str],
) -> NextProbe | None:
    """The probe to ask next; None when there is none that KT can ask and judge by itself, or it asked enough.

    `watching`: the metrics that alert rules ask for. What one of them asks all the time its alerts answer already.
    """
    options = runtime.settings.diagnose
    told = sum(each.confirmed is not None for each in answers)
    if told >= options.probes or len(answers) >= IN_VAIN * options.probes:
        return None
    if not wanting(answer, options.min_probability):
        return None
    # A metric that nobody collects for one thing is not collected for the next one either.
    absent = {name for each in answers if each.confirmed is None for name in metrics_in(each.question)}
    entities = {each.entity: stand_in(each.entity, runtime.ontology) for each in answer.hypotheses} | piece.entities
    asked = {(each.question, each.confirms) for each in answers}
    return next_probe(
        answer.hypotheses, entities, runtime.catalogue, asked=asked, may=_may(entities, absent.union(watching))
    )


def _may(entities: dict[str, Entity], pointless: Collection[str]) -> Callable[[NextProbe], bool]:
    def may(probe: NextProbe) -> bool:
        asked = question(probe.promql, probe.kubernetes, probe.confirms)
        if asked is None:
            return False
        if asked.form == "promql":
            return not (metrics_in(probe.promql) - COMMON) & set(pointless)
        # A question about another kind of thing than this one would find nothing, and take that for an answer.
        return asked.kind == entities[probe.entity].kind and (asked.kind in READ or asked.form == "events")

    return may


COMMON = frozenset({"up", "ALERTS"})
"""Metrics that say nothing by their name alone of what a query is about."""


def ask(runtime: Runtime, probe: NextProbe, entity: Entity) -> ProbeAnswer:
    """Ask it. What does not answer in time is no answer, and counts neither for nor against."""
    asked = question(probe.promql, probe.kubernetes, probe.confirms)
    confirmed: bool | None = None
    if asked is None:
        saw = "only a person can judge that"
    else:
        try:
            confirmed, saw = _prometheus(runtime, asked) if probe.promql else _kubernetes(runtime, asked, entity)
        except (ClusterError, BadSettings, _Unanswered) as error:
            saw = f"no answer: {error}"
    return ProbeAnswer(
        question=probe.question, confirms=probe.confirms, confirmed=confirmed, saw=saw[:LONGEST_ANSWER]
    )  # fmt: skip


class _Unanswered(Exception):
    pass


def _prometheus(runtime: Runtime, asked: Question) -> tuple[bool | None, str]:
    from sense.prometheus import RangeUnavailable, instant

    options = runtime.settings
    try:
        values = instant(options.prometheus.url, asked.promql, options.diagnose.probe_timeout_s)
    except RangeUnavailable as error:
        raise _Unanswered(str(error)) from error
    told = ", ".join(f"{value:.4g}" for value in sorted(values)[-3:])
    return questions.judged_number(asked, values), f"= {told}" if told else "no such series"


def _kubernetes(runtime: Runtime, asked: Question, entity: Entity) -> tuple[bool | None, str]:
    cluster = Cluster(runtime.api_client, runtime.settings.diagnose.probe_timeout_s)
    space = entity.namespace
    if asked.form in ("events", "events of pods"):
        names = {asked.name} if asked.form == "events" else {_name(pod) for pod in _pods(cluster, asked, space)}
        events = cluster.list("Event", space or "default")
        about = [each for each in events if (each.get("involvedObject") or {}).get("name") in names]
        reasons = sorted({str(each.get("reason")) for each in about})
        # Events are kept for an hour: that none is there is an answer, as long as the list could be read.
        return any(each in asked.values for each in reasons), ", ".join(reasons) or "no events"
    if asked.form == "pods":
        things = _pods(cluster, asked, space)
    else:
        thing = cluster.get(asked.kind, asked.name, space)
        if asked.form == "exists":
            return thing is None, questions.NOT_FOUND if thing is None else "it is there"
        things = [thing] if thing is not None else []
    values = sorted({value for each in things for value in questions.read(asked, each)})
    if not values and things and asked.comparison == "=":
        # The thing is there and the field is not: it has none of the values asked for.
        return False, "not set"
    return questions.judged_words(asked, values), f"= {', '.join(values)}" if values else "nothing to read"


def _pods(cluster: Cluster, asked: Question, space: str) -> list[Object]:
    """The pods of a workload or behind a Service."""
    owner = cluster.get(asked.kind, asked.name, space)
    selector = ((owner or {}).get("spec") or {}).get("selector") or {}
    labels = selector if asked.kind == "Service" else selector.get("matchLabels") or {}
    if not labels:
        return []
    return cluster.list("Pod", space, labels=",".join(f"{key}={value}" for key, value in sorted(labels.items())))[
        :MOST_PODS
    ]


def _name(thing: Object) -> str:
    return str(thing["metadata"]["name"])
