"""What many share (a node, a database, the DNS) is neither blamed by default nor immune; calls may go in circles."""

from __future__ import annotations

import itertools

import pytest

from graph_schema.model import Change, Diagnosis, Entity, Relation, Signal, Subgraph
from tests.unit.diagnose.test_diagnose import ask, change, signal

SERVICES = tuple(f"shop-{number}" for number in range(6))


def entity(kind: str, name: str, namespace: str = "shop") -> Entity:
    return Entity(id=f"{kind}/{name}", kind=kind, name=name, namespace=namespace)


def workload(name: str, kind: str, node: str, namespace: str = "shop") -> tuple[list[Entity], list[Relation]]:
    """A Service, what is behind it, and its one pod."""
    pod = f"Pod/{name}-0"
    made = [entity(each, name, namespace) for each in ("Service", kind)] + [entity("Pod", f"{name}-0", namespace)]
    return made, [
        Relation(f"{kind}/{name}", pod, "OWNS"), Relation(f"Service/{name}", pod, "SELECTS"),
        Relation(pod, f"Node/{node}", "RUNS_ON"),
    ]  # fmt: skip


def cluster() -> Subgraph:
    """Six services that all read one database and look names up at one DNS; half of them run on one node."""
    entities, relations = [entity("Node", each, "") for each in ("n1", "n2", "n3")], []
    for number, name in enumerate(SERVICES):
        made, joined = workload(name, "Deployment", "n1" if number < 3 else "n2")
        entities += made
        relations += [*joined, Relation(f"Service/{name}", "Service/postgres", "CALLS")]
    for name, kind, namespace in (("postgres", "StatefulSet", "shop"), ("coredns", "Deployment", "kube-system")):
        made, joined = workload(name, kind, "n3", namespace)
        entities += made
        relations += joined
    return Subgraph({each.id: each for each in entities}, tuple(relations))


def asked(signals: list[Signal], *changes: Change) -> Diagnosis:
    return ask(signals, changes, cluster())


def first(answer: Diagnosis) -> str:
    return answer.hypotheses[0].entity


def probable(answer: Diagnosis, *entities: str) -> float:
    return sum(each.probability for each in answer.hypotheses if each.entity in entities)


DATABASE = "StatefulSet/postgres", "Service/postgres", "Pod/postgres-0"
DNS = "Deployment/coredns", "Service/coredns"


@pytest.mark.parametrize("symptom", ["errors", "latency"])
def test_one_sick_caller_does_not_speak_for_the_database_that_all_read(symptom: str) -> None:
    answer = asked([signal("Service/shop-0", symptom)])
    assert first(answer) == "Deployment/shop-0"
    assert probable(answer, *DATABASE) < answer.hypotheses[0].probability


@pytest.mark.parametrize("symptom", ["errors", "latency"])
def test_the_database_is_named_when_all_that_read_it_complain(symptom: str) -> None:
    answer = asked([signal(f"Service/{name}", symptom, after) for after, name in enumerate(SERVICES)])
    assert first(answer) in DATABASE


def test_a_rollout_of_one_caller_right_before_outweighs_what_all_share() -> None:
    answer = asked([signal("Service/shop-0", "errors")], change("Deployment/shop-0", "rollout", 20))
    assert first(answer) == "Deployment/shop-0"
    assert probable(answer, *DATABASE) < 0.05


def test_one_service_that_fails_does_not_speak_for_the_dns() -> None:
    answer = asked([signal("Service/shop-0", "errors")])
    assert first(answer) == "Deployment/shop-0"
    assert probable(answer, *DNS) < answer.hypotheses[0].probability / 2


def test_the_dns_is_named_when_names_are_not_found_everywhere() -> None:
    answer = asked([signal(f"Service/{name}", "dns_failure", after) for after, name in enumerate(SERVICES)])
    assert first(answer).endswith("coredns")


def test_one_pod_that_is_not_ready_does_not_speak_for_its_node() -> None:
    answer = asked([signal("Pod/shop-0-0", "not_ready"), signal("Deployment/shop-0", "replicas_mismatch", 2)])
    assert not first(answer).startswith("Node/")
    assert probable(answer, "Node/n1") < 0.2


def test_the_node_is_named_when_all_that_runs_there_is_sick_and_nothing_else() -> None:
    sick = [signal(f"Pod/{name}-0", "not_ready", after) for after, name in enumerate(SERVICES[:3])]
    sick += [signal(f"Deployment/{name}", "replicas_mismatch", 3) for name in SERVICES[:3]]
    answer = asked(sick)
    assert first(answer) == "Node/n1"
    assert probable(answer, "Node/n2", "Node/n3") < 0.05


@pytest.mark.parametrize("guilty", ["a", "b", "c"])
def test_in_a_circle_of_calls_the_one_that_was_changed_is_named(guilty: str) -> None:
    entities, relations = [entity("Node", "n1", "")], []
    for name in "abc":
        made, joined = workload(name, "Deployment", "n1")
        entities += made
        relations += joined
    relations += [Relation(f"Service/{a}", f"Service/{b}", "CALLS") for a, b in itertools.pairwise("abca")]
    circle = Subgraph({each.id: each for each in entities}, tuple(relations))
    complaints = [signal(f"Service/{name}", "errors") for name in "abc"]
    answer = ask(complaints, [change(f"Deployment/{guilty}", "rollout", 15)], circle)
    assert first(answer) == f"Deployment/{guilty}"
    assert len(answer.causes) == 1
