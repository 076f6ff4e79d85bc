"""The knowledge that comes with KT is whole and well-formed, and a mistake in it is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_schema.catalogue import load_catalogue
from graph_schema.located import BadKnowledge
from graph_schema.ontology import load_ontology
from kt.knowledge_page import page
from remediate.actions import ACTIONS
from remediate.playbook import load_playbooks

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
DOCS = Path(__file__).parents[3] / "docs"


def test_there_are_facts_about_many_kinds_of_thing() -> None:
    kinds = {kind for fault in CATALOGUE.faults.values() for kind in fault.on}
    assert len(CATALOGUE.faults) >= 100
    assert len(kinds) >= 22
    named = {
        "DaemonSet", "StatefulSet", "Job", "CronJob", "IngressController", "DNS", "CNI", "Kubelet", "APIServer", "Etcd",
        "Scheduler", "ControllerManager", "Certificate", "Registry", "StorageClass", "NetworkLink", "Database", "Queue",
        "Cache",
    }  # fmt: skip
    assert named <= kinds


def test_every_remedy_is_a_playbook_and_its_absence_is_explained() -> None:
    playbooks = load_playbooks(ACTIONS)
    for fault in CATALOGUE.faults.values():
        assert set(fault.remedies) <= set(playbooks), fault.name
        assert bool(fault.remedies) != bool(fault.no_safe_action), fault.name


def test_every_fault_can_be_seen_probed_and_traced_to_its_source() -> None:
    for fault in CATALOGUE.faults.values():
        assert fault.symptoms, fault.name
        assert fault.effects, fault.name
        assert fault.probes, fault.name
        assert fault.source, fault.name
        assert fault.onset_s > 0, fault.name


def test_a_sickness_becomes_another_only_in_its_own_direction() -> None:
    calls = ONTOLOGY.relation("CALLS").carries
    assert "errors" in calls["target"]["availability"]
    assert calls["source"].keys() == {"load", "availability", "errors", "throughput"}
    assert "load" not in {out for mode, row in calls["target"].items() if mode != "load" for out in row}
    assert ONTOLOGY.relation("RUNS_ON").carries["source"].keys() == {"contention"}


def test_another_word_for_a_relation_may_read_the_other_way_round() -> None:
    assert ONTOLOGY.relation("HOSTS").carries["source"] == ONTOLOGY.relation("RUNS_ON").carries["target"]
    assert ONTOLOGY.relation("NOBODY_KNOWS") == ONTOLOGY.relation("DEPENDS_ON")


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("shop-postgres-0", "Database"),
        ("coredns", "DNS"),
        ("rabbitmq", "Queue"),
        ("cartdb", None),
        ("redistribute", None),
    ],
)
def test_a_name_tells_what_a_workload_is_for_only_as_a_whole_word(name: str, role: str | None) -> None:
    assert ONTOLOGY.role(name) == role


FAULT = """
on: [Node]
faults:
  Node.Odd:
    about: It is odd.
    prior: 0.01
    effects: {latency: 0.5}
    symptoms: {latency: 0.5}
    probes:
      - {promql: up, confirms: "= 0", hit: 0.9, otherwise: 0.1}
    no_safe_action: Nobody knows.
    source: a test
"""


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("latency: 0.5}\n    symptoms", "lateness: 0.5}\n    symptoms", ":7: “lateness” is no mode"),
        ("symptoms: {latency", "symptoms: {lateness", ":8: “lateness” is no symptom"),
        ("symptoms: {latency: 0.5}", "symptoms: {latency: 1.5}", ":8: 1.5 is not a share"),
        ("prior: 0.01", "prior: 7", ":6: 7.0 is not a probability"),
        ("on: [Node]", "on: [Nodule]", ":2: “Nodule” is no entity kind"),
        ("    no_safe_action: Nobody knows.\n", "", "needs either “remedies” or “no_safe_action”"),
        ("hit: 0.9, otherwise: 0.1", "hit: 0.1, otherwise: 0.9", ":10: 0 < otherwise < hit < 1"),
        ("    source: a test\n", "", "Node.Odd has no “source”"),
        ("about: It is odd.", "abuot: It is odd.", "“abuot” is not known here"),
        ("promql: up", "promql: up, kubernetes: Pod", ":10: a probe asks either"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, was: str, now: str, says: str) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(FAULT)
    assert "Node.Odd" in load_catalogue(file, ontology=ONTOLOGY).faults
    assert was in FAULT
    file.write_text(FAULT.replace(was, now))
    with pytest.raises(BadKnowledge) as caught:
        load_catalogue(tmp_path, ontology=ONTOLOGY)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_one_fault_in_two_files_is_told(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(FAULT)
    with pytest.raises(BadKnowledge, match=r"Node\.Odd is in .*a\.yaml already"):
        load_catalogue(tmp_path, ontology=ONTOLOGY)


def test_the_page_in_the_docs_is_current() -> None:
    assert (DOCS / "knowledge.md").read_text() == page(), "python -m kt.knowledge_page > docs/knowledge.md"
