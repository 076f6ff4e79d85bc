"""Alerts of public collections are known by name, and their labels lead to what they speak of, not to what looked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from graph_schema.located import BadKnowledge
from graph_schema.model import Entity, Signal
from graph_schema.ontology import load_ontology
from sense.alertmanager import Alert
from sense.alerts import AlertBook, plain
from sense.index import Index
from sense.mapping import BY_GUESS, BY_WORDS, LabelMapping
from sense.rules import BadRules, parse

DATA = Path(__file__).parents[2] / "data"
SYMPTOMS = load_ontology().symptoms
BOOK = AlertBook.load(symptoms=SYMPTOMS)
MAPPING = LabelMapping.load(book=BOOK)


def names(file: str, column: int = 0) -> list[str]:
    lines = [line.split("\t") for line in (DATA / file).read_text().splitlines() if not line.startswith("#")]
    return [line[column] for line in lines]


@pytest.mark.parametrize("name", names("kubernetes_alerts.tsv"))
def test_every_alert_of_kube_prometheus_is_known(name: str) -> None:
    fact = BOOK.get(name)
    assert fact is not None
    assert fact.symptom in SYMPTOMS or name in ("Watchdog", "InfoInhibitor")


def test_the_alerts_of_many_technologies_are_known() -> None:
    pairs = zip(names("technology_alerts.tsv"), names("technology_alerts.tsv", 1), strict=True)
    unknown = [(technology, name) for technology, name in pairs if BOOK.get(name) is None]
    assert unknown == []
    assert len(set(names("technology_alerts.tsv"))) >= 15


def test_what_a_collection_adds_in_brackets_is_no_part_of_a_name() -> None:
    assert plain("MysqlTooManyConnections(>80%)") == "MysqlTooManyConnections"
    assert plain("HaproxyBackendMaxActiveSession>80%") == "HaproxyBackendMaxActiveSession"


def test_unknown_alerts_are_read_by_their_words_and_trusted_less() -> None:
    words = MAPPING.meaning("CheckoutTooManyFailedPayments", {})
    assert (words.symptom, words.told_by, words.confidence) == ("errors", "words", BY_WORDS)
    guess = MAPPING.meaning("Zorglub", {"severity": "warning"})
    assert (guess.symptom, guess.told_by, guess.confidence) == ("unknown", "guess", BY_GUESS)
    critical, info = (MAPPING.meaning("Zorglub", {"severity": each}).confidence for each in ("critical", "info"))
    assert info < BY_GUESS < critical < BY_WORDS


@pytest.mark.parametrize(
    ("name", "symptom"),
    [("TooManyRequestFailures", "errors"), ("FlagServiceSlow", "latency"), ("DownloadErrors", "errors"),
     ("CartOOMKills", "oom_killed"), ("OrdersConsumerLag", "backlog")],
)  # fmt: skip
def test_words_are_not_found_inside_of_others(name: str, symptom: str) -> None:
    assert MAPPING.meaning(name, {}).symptom == symptom


def test_a_label_tells_more_than_a_name() -> None:
    assert MAPPING.meaning("KubeContainerWaiting", {"reason": "CreateContainerConfigError"}).symptom == "config_error"
    assert MAPPING.meaning("KubeNodePressure", {"condition": "DiskPressure"}).symptom == "disk_pressure"
    assert MAPPING.meaning("PodTrouble", {"reason": "ImagePullBackOff"}).symptom == "image_pull"


KINDS = {
    "Cluster": "prod", "Node": "worker-1", "Namespace": "shop", "Service": "cart", "Deployment": "cart",
    "Job": "backup", "ResourceQuota": "shop-quota", "StatefulSet": "postgres", "Pod": "cart-1", "Kafka": "orders",
}  # fmt: skip


def thing(kind: str, name: str) -> Entity:
    everywhere = kind in ("Cluster", "Node", "Namespace")
    properties = {"address": "10.0.0.7"} if kind == "Node" else {}
    return Entity(
        id=f"{kind}/{name}", kind=kind, name=name, namespace="" if everywhere else "shop", properties=properties
    )


INDEX = Index([*(thing(kind, name) for kind, name in KINDS.items()), thing("Service", "kube-state-metrics")])


def signal(name: str, **labels: str) -> Signal:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    alert = Alert(fingerprint="f", starts_at=at, ends_at=None, labels={"alertname": name, **labels}, annotations={})
    (found,) = MAPPING.signals([alert], INDEX.lookup)
    return found


EXPORTER = {"job": "kube-state-metrics", "instance": "10.1.1.1:8080", "service": "kube-state-metrics"}


@pytest.mark.parametrize(
    ("name", "labels", "entity"),
    [
        ("KubeJobFailed", {**EXPORTER, "job_name": "backup"}, "Job/backup"),
        ("KubePodNotReady", {**EXPORTER, "pod": "cart-1"}, "Pod/cart-1"),
        ("KubeDeploymentReplicasMismatch", {**EXPORTER, "deployment": "cart"}, "Deployment/cart"),
        ("NodeClockSkewDetected", {"job": "node-exporter", "instance": "10.0.0.7:9100"}, "Node/worker-1"),
        ("NodeClockSkewDetected", {"job": "node-exporter", "instance": "worker-1"}, "Node/worker-1"),
        ("KubeNodeNotReady", {**EXPORTER, "node": "worker-1"}, "Node/worker-1"),
        ("KubeQuotaExceeded", {**EXPORTER, "resource": "pods"}, "ResourceQuota/shop-quota"),
        ("PostgresqlDown", {"job": "postgres-exporter", "instance": "postgres-exporter:9187"}, "StatefulSet/postgres"),
        ("IstioHigh5xxErrorRate", {"destination_service": "cart.shop.svc.cluster.local"}, "Service/cart"),
        ("CartIsBroken", {"service": "cart", "job": "kube-state-metrics"}, "Service/cart"),
        ("OrdersLag", {"kafka": "orders"}, "Kafka/orders"),
        ("TargetMissing", {"exported_pod": "cart-1", "exported_namespace": "shop", "pod": "exporter-0"}, "Pod/cart-1"),
    ],
)
def test_the_subject_is_found_and_not_the_exporter(name: str, labels: dict[str, str], entity: str) -> None:
    found = signal(name, **{"namespace": "shop", **labels})
    assert (found.entity, found.mapped) == (entity, True)


@pytest.mark.parametrize("name", ["KubeAPIDown", "KubeSchedulerDown", "KubeControllerManagerDown", "KubeletDown"])
def test_an_alert_without_labels_speaks_of_a_component_of_the_cluster(name: str) -> None:
    assert signal(name).entity == "Cluster/prod"
    with_component = Index([thing("Cluster", "prod"), Entity(id="api", kind="APIServer", name="kube-apiserver")])
    alert = Alert(
        fingerprint="f", starts_at=datetime(2026, 3, 1, tzinfo=UTC), ends_at=None, annotations={},
        labels={"alertname": "KubeAPIDown"},
    )  # fmt: skip
    assert MAPPING.signals([alert], with_component.lookup)[0].entity == "api"


def test_only_the_name_of_the_alert_may_tell_the_thing_and_then_it_is_trusted_less() -> None:
    by_label, by_name = signal("CartErrors", namespace="shop", service="cart"), signal("CartErrors", namespace="shop")
    assert by_name.entity == "Deployment/cart"
    assert by_name.confidence < by_label.confidence


def test_watchdog_and_infoinhibitor_tell_of_no_fault() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    alerts = [
        Alert(fingerprint=name, starts_at=at, ends_at=None, labels={"alertname": name}, annotations={})
        for name in ("Watchdog", "InfoInhibitor")
    ]
    assert MAPPING.signals(alerts, INDEX.lookup) == []


@pytest.mark.parametrize(
    "name", ["KubeStateMetricsListErrors", "PrometheusNotIngestingSamples", "PrometheusRuleFailures"]
)
def test_sick_monitoring_is_blind(name: str) -> None:
    assert MAPPING.meaning(name, {}).symptom == "blind"


def test_a_mistake_in_a_file_of_alerts_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("technology: x\nsource: a test\nsymptoms:\n  lateness: [XSlow]\n")
    with pytest.raises(BadKnowledge, match=r"x\.yaml:4: “lateness” is no symptom"):
        AlertBook.load(tmp_path, symptoms=SYMPTOMS)


def test_rules_are_read_from_what_prometheus_answers() -> None:
    body = b"""{"status": "success", "data": {"groups": [{"name": "g", "rules": [
        {"type": "alerting", "name": "A", "duration": 60, "labels": {"severity": "page"}},
        {"type": "recording", "name": "r"}]}]}}"""
    (rule,) = parse(body, "R.json")
    assert (rule.name, rule.group, rule.held_s) == ("A", "g", 60)
    with pytest.raises(BadRules, match=r"R\.json"):
        parse(b'{"data": []}', "R.json")
