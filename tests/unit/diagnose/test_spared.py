"""What speaks for things that are well: pods that are ready, siblings, many faint expectations that nothing answers."""

from __future__ import annotations

from datetime import UTC, datetime

from diagnose import Settings, diagnose
from diagnose.engine import consider
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Entity, Hypothesis, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = frozenset({"errors", "latency", "saturation", "not_ready", "replicas_mismatch"})
Things = dict[str, Entity]


def thing(things: Things, kind: str, name: str, **states: object) -> str:
    key = f"{kind}/{name}" if kind == "Node" else f"{kind}/shop/{name}"
    things[key] = Entity(id=key, kind=kind, name=name, namespace="" if kind == "Node" else "shop", properties=states)
    return key


def alert(entity: str, symptom: str) -> Signal:
    return Signal(fingerprint=f"{symptom}@{entity}", entity=entity, symptom=symptom, name="a", starts_at=T0)


def told(piece: Subgraph, *signals: Signal, settings: Settings | None = None) -> dict[str, Hypothesis]:
    answer = diagnose(
        piece, signals, CATALOGUE, ONTOLOGY, now=T0, rules=RULES, settings=settings or Settings(calibration=PLAIN)
    )
    return {each.entity: each for each in answer.hypotheses}


PLAIN = ((0.0, 0.0), (1.0, 1.0))
"""No calibration: what is compared here is the score."""


def stateful(*ready: bool, **node: object) -> Subgraph:
    """A StatefulSet and its Service, each of its pods on a node of its own."""
    things: Things = {}
    owner, service = thing(things, "StatefulSet", "db"), thing(things, "Service", "db")
    relations = []
    for number, each in enumerate(ready):
        pod = thing(things, "Pod", f"db-{number}", ready=each, phase="Running")
        relations += [
            Relation(owner, pod, "OWNS"), Relation(service, pod, "SELECTS"),
            Relation(pod, thing(things, "Node", f"n{number}", **node), "RUNS_ON"),
        ]  # fmt: skip
    return Subgraph(things, tuple(relations))


def explains(piece: Subgraph, node: str, fault: str, signal: Signal) -> float:
    """The weight of the signal for the node, where this is its likeliest fault."""
    found = consider(piece, [signal], CATALOGUE, ONTOLOGY, now=T0, rules=RULES)
    mine = [each for one in found.ranked if one.entity.id == node for each in one.faults if each.fault.name == fault]
    return float(mine[0].weights[0]) if mine else 0.0


def test_what_keeps_pods_from_starting_hardly_explains_what_a_ready_one_answers() -> None:
    sick = alert("Service/shop/db", "errors")
    for pods in ((False,), (False, False)):
        well = tuple(not each for each in pods)
        lost = explains(stateful(*pods), "Node/n0", "Node.CapacityFull", sick)
        left = explains(stateful(*well), "Node/n0", "Node.CapacityFull", sick)
        assert left < 0.4 * lost


def test_a_pod_whose_siblings_are_sick_too_is_blamed_less_for_all_of_it() -> None:
    sick = alert("Service/shop/db", "errors")
    alone, both = (told(stateful(False, other), sick)["Pod/shop/db-0"] for other in (True, False))
    assert both.probability < alone.probability
    assert "Pod/shop/db-1 is not ready either, and is made like it" in {each.text for each in both.evidence_against}


def test_a_kubelet_that_reports_is_less_likely_sick() -> None:
    seen = alert("Node/n0", "component_down")
    unknown = told(stateful(True), seen)["Node/n0"]
    reports = told(stateful(True, ready=True), seen)["Node/n0"]
    assert share(reports, "Node.KubeletSick") < share(unknown, "Node.KubeletSick")


def share(each: Hypothesis, fault: str) -> float:
    return dict([(each.fault, each.fault_probability), *each.other_faults]).get(fault, 0.0)


def test_callers_whose_slots_are_full_speak_for_the_slow_thing_outside_that_all_of_them_call() -> None:
    things: Things = {}
    outside = thing(things, "ExternalDependency", "pay")
    relations, seen = [], []
    for number in range(3):
        owner, service = thing(things, "Deployment", f"web-{number}"), thing(things, "Service", f"web-{number}")
        pod = thing(things, "Pod", f"web-{number}-a", ready=True, phase="Running")
        relations += [
            Relation(owner, pod, "OWNS"), Relation(service, pod, "SELECTS"), Relation(service, outside, "CALLS"),
        ]  # fmt: skip
        seen += [alert(service, "latency"), alert(service, "saturation")]
    answer = told(Subgraph(things, tuple(relations)), *seen)
    assert next(iter(answer)) == outside
    assert answer[outside].fault == "ExternalDependency.Slow"


def test_many_faint_expectations_that_are_not_met_add_up_where_the_rules_are_known() -> None:
    things: Things = {}
    node, relations = thing(things, "Node", "n0", ready=True), []
    for number in range(12):
        owner, service = thing(things, "Deployment", f"web-{number}"), thing(things, "Service", f"web-{number}")
        for place, on in enumerate((node, thing(things, "Node", f"m{number}", ready=True))):
            pod = thing(things, "Pod", f"web-{number}-{place}", ready=True, phase="Running")
            relations += [
                Relation(owner, pod, "OWNS"), Relation(service, pod, "SELECTS"), Relation(pod, on, "RUNS_ON"),
            ]  # fmt: skip
    piece = Subgraph(things, tuple(relations))
    seen = [alert(f"Service/shop/web-{number}", "errors") for number in range(2)]
    counted = told(piece, *seen)
    left_out = told(piece, *seen, settings=Settings(calibration=PLAIN, expected_by_rule=Settings().expected))
    assert counted[node].probability < 0.6 * left_out[node].probability


def test_of_many_symptoms_less_is_told_in_the_same_order() -> None:
    things: Things = {}
    relations, callee = [], ""
    for number in range(12):
        owner, service = thing(things, "Deployment", f"web-{number}"), thing(things, "Service", f"web-{number}")
        pod = thing(things, "Pod", f"web-{number}-a", ready=True, phase="Running")
        relations += [Relation(owner, pod, "OWNS"), Relation(service, pod, "SELECTS")]
        relations += [Relation(service, callee, "CALLS")] if callee else []
        callee = callee or service
    piece = Subgraph(things, tuple(relations))
    for count, less in ((12, True), (1, False)):
        seen = [alert(f"Service/shop/web-{number}", "errors") for number in range(count)]
        usual = told(piece, *seen, settings=Settings(dependent=0.0))
        now = told(piece, *seen, settings=Settings())
        first = next(iter(usual))
        assert list(now) == list(usual)
        assert (now[first].probability < usual[first].probability) is less
