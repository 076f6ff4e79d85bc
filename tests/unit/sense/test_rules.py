"""Prometheus' rules as evidence: what fires by their own word, and what watches in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sense.files import BadFile
from sense.mapping import LabelMapping
from sense.rules import Rules, parse, read

MAPPING = LabelMapping.load()


def answer(*rules: dict[str, Any]) -> bytes:
    return json.dumps({"status": "success", "data": {"groups": [{"name": "kt", "file": "f", "rules": rules}]}}).encode()


def rule(name: str, query: str, **more: Any) -> dict[str, Any]:
    return {"type": "alerting", "name": name, "query": query, "duration": 60, "labels": {}, "health": "ok"} | more


def watched(*rules: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    found: Rules = parse(answer(*rules), MAPPING)
    return [(each.name, each.symptom, sorted(each.kinds)) for each in found.silent]


def test_the_query_tells_what_is_watched() -> None:
    assert watched(rule("KubeNodeNotReady", 'kube_node_status_condition{condition="Ready"} == 0')) == [
        ("KubeNodeNotReady", "node_not_ready", ["Node"])
    ]


def test_a_rule_about_errors_that_names_no_kind_watches_the_faces_of_services() -> None:
    assert watched(rule("ErrorRatioHigh", "kt:error_ratio > 0.05")) == [
        ("ErrorRatioHigh", "errors", ["Ingress", "Service"])
    ]


def test_recording_rules_broken_rules_and_rules_of_no_known_symptom_watch_nothing() -> None:
    assert (
        watched(
            rule("kt:error_ratio", "x", type="recording"),
            rule("ErrorRatioHigh", "kt:error_ratio > 0.05", health="err"),
            rule("Mystery", "node_mystery > 1"),
            rule("Watchdog", "vector(1)"),
        )
        == []
    )


def test_what_fires_is_an_alert_and_no_longer_silent() -> None:
    active = {"labels": {"service": "cart"}, "state": "firing", "activeAt": "2026-03-01T12:00:00Z", "value": "1"}
    pending = {"labels": {"service": "front"}, "state": "pending", "activeAt": "2026-03-01T12:00:00Z"}
    found = parse(answer(rule("ErrorRatioHigh", "x > 1", alerts=[active, pending])), MAPPING)
    assert found.silent == ()
    assert [each.labels for each in found.firing] == [{"alertname": "ErrorRatioHigh", "service": "cart"}]


@pytest.mark.parametrize("content", ["{", "[]", '{"data": {}}', '{"data": {"groups": [{"rules": 3}]}}'])
def test_what_is_no_answer_of_prometheus_is_told_with_its_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(content)
    with pytest.raises(BadFile, match="expected is what /api/v1/rules answers") as told:
        read(file, MAPPING)
    assert str(told.value).startswith(str(file))
