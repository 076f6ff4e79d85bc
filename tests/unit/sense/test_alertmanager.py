"""The webhook payload: what is taken in, and what is refused with a reason."""

from __future__ import annotations

import contextlib
import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_schema.model import Entity
from sense.alertmanager import BadPayload, parse, standing
from sense.mapping import LabelMapping

ALERT = {
    "status": "firing",
    "labels": {"alertname": "KtErrorRatioHigh", "namespace": "shop", "service": "cart", "severity": "critical"},
    "annotations": {"summary": "errors"},
    "startsAt": "2026-03-01T13:00:00.5+01:00",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "abc",
}


def payload(*alerts: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"version": "4", "groupKey": "{}:{}", "alerts": list(alerts), **more}).encode()


def test_a_firing_alert_has_no_end() -> None:
    batch = parse(payload(ALERT, truncatedAlerts=3))
    (alert,) = batch.alerts
    assert alert.ends_at is None
    assert alert.starts_at == datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert (batch.group_key, batch.truncated) == ("{}:{}", 3)


def test_a_resolved_alert_has_one() -> None:
    (alert,) = parse(payload({**ALERT, "status": "resolved", "endsAt": "2026-03-01T12:05:00Z"})).alerts
    assert alert.ends_at == datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


def test_a_sender_without_fingerprints_gets_stable_ones() -> None:
    bare = {key: value for key, value in ALERT.items() if key != "fingerprint"}
    turned = {**bare, "labels": dict(reversed(list(ALERT["labels"].items())))}  # type: ignore[attr-defined]
    assert parse(payload(bare)).alerts[0].fingerprint == parse(payload(turned)).alerts[0].fingerprint != ""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "version 4"),
        (payload(ALERT, version="3"), 'version "3"'),
        (payload({**ALERT, "startsAt": "yesterday"}), r"alerts\[0\].startsAt|startsAt"),
        (payload({**ALERT, "status": "pending"}), r"alerts\[0\].status"),
        (payload({**ALERT, "labels": {"a": 1}}), "labels"),
    ],
)
def test_what_can_never_be_right_is_refused_with_a_reason(body: bytes, says: str) -> None:
    with pytest.raises(BadPayload, match=says):
        parse(body)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_whatever_comes_is_taken_in_or_refused(body: bytes) -> None:
    # Any other exception fails the test.
    with contextlib.suppress(BadPayload):
        parse(body)


KNOWN = {
    ("Service", "shop", "cart"),
    ("Pod", "shop", "cart-1"),
    ("Node", "", "kt-node-1"),
    ("Node", "", "10.0.0.7"),
    ("Deployment", "shop", "cart"),
    ("Job", "shop", "backup"),
}


def lookup(kind: str, namespace: str, name: str) -> Entity | None:
    if (kind, namespace, name) not in KNOWN:
        return None
    return Entity(id=f"{kind}/{name}", kind=kind, name=name, namespace=namespace)


@pytest.mark.parametrize(
    ("labels", "entity", "symptom"),
    [
        ({"alertname": "KtErrorRatioHigh", "namespace": "shop", "service": "cart"}, "Service/cart", "errors"),
        ({"alertname": "X", "symptom": "latency", "namespace": "shop", "service": "cart"}, "Service/cart", "latency"),
        ({"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "cart-1", "job": "kube-state-metrics",
          "instance": "10.0.0.7:8080"}, "Pod/cart-1", "crashlooping"),
        ({"alertname": "KubeNodeNotReady", "node": "kt-node-1", "job": "kube-state-metrics"}, "Node/kt-node-1",
         "node_not_ready"),
        ({"alertname": "NodeMemoryHighUtilization", "instance": "10.0.0.7:9100", "job": "node-exporter",
          "namespace": "monitoring", "pod": "node-exporter-x"}, "Node/10.0.0.7", "memory_pressure"),
        ({"alertname": "KubeJobFailed", "namespace": "shop", "job": "kube-state-metrics", "job_name": "backup"},
         "Job/backup", "job_failed"),
        ({"alertname": "KubeDeploymentReplicasMismatch", "namespace": "shop", "deployment": "cart",
          "service": "kube-state-metrics", "job": "kube-state-metrics"}, "Deployment/cart", "replicas_mismatch"),
    ],
)  # fmt: skip
def test_labels_lead_to_the_subject_not_to_the_exporter(labels: dict[str, str], entity: str, symptom: str) -> None:
    alerts = parse(payload({**ALERT, "labels": labels})).alerts
    (signal,) = LabelMapping.load().signals(alerts, lookup)
    assert (signal.entity, signal.symptom, signal.mapped) == (entity, symptom, True)


def test_what_maps_to_nothing_is_kept_where_it_is_seen() -> None:
    alerts = parse(payload({**ALERT, "labels": {"alertname": "Odd", "namespace": "shop", "service": "none"}})).alerts
    (signal,) = LabelMapping.load().signals(alerts, lookup)
    assert (signal.entity, signal.mapped, signal.symptom) == ("Unmapped/shop/Odd", False, "unknown")


def test_the_watchdog_is_no_fault() -> None:
    alerts = parse(payload({**ALERT, "labels": {"alertname": "Watchdog"}})).alerts
    assert LabelMapping.load().signals(alerts, lookup) == []


def told(start: str, *, resolved: bool = False, name: str = "a") -> dict[str, Any]:
    alert = {**ALERT, "startsAt": f"2026-03-01T12:{start}:00Z", "fingerprint": name}
    return alert | ({"status": "resolved", "endsAt": "2026-03-01T12:59:00Z"} if resolved else {})


@pytest.mark.parametrize(
    ("alerts", "firing"),
    [
        ([told("00"), told("00", resolved=True), told("01", name="b")], {"b"}),
        ([told("00", resolved=True), told("05")], {"a"}),
        ([told("00"), told("00", resolved=True)], {"a"}),
        ([told("00", resolved=True)], set()),
    ],
    ids=["resolved later", "fires again", "all is over", "only the end was told"],
)
def test_an_alert_stands_as_it_was_told_last(alerts: list[dict[str, Any]], firing: set[str]) -> None:
    for order in itertools.permutations(alerts):
        found = standing([parse(payload(each)) for each in order])
        assert {each.fingerprint for each in found if each.ends_at is None} == firing
        assert len(found) == len({each["fingerprint"] for each in alerts})
