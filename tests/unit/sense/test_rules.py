"""Prometheus' rules: which there are, whether they watch, and what fires by their own word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sense.rules import BadRules, parse, read


def answer(*rules: dict[str, Any]) -> bytes:
    return json.dumps({"status": "success", "data": {"groups": [{"name": "kt", "file": "f", "rules": rules}]}}).encode()


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "alerting", "name": name, "query": "x > 1", "duration": 60, "labels": {}, "health": "ok"} | more


def test_recording_rules_are_none_and_broken_ones_are_told_apart() -> None:
    content = answer(rule("kt:ratio", type="recording"), rule("Errors", health="err"), rule("Latency"))
    assert [(each.name, each.group, each.held_s, each.healthy) for each in parse(content, "R.json")] == [
        ("Errors", "kt", 60.0, False),
        ("Latency", "kt", 60.0, True),
    ]


def test_what_fires_is_an_alert_and_what_is_pending_is_not() -> None:
    active = {"labels": {"service": "cart"}, "state": "firing", "activeAt": "2026-03-01T12:00:00Z", "value": "1"}
    pending = {"labels": {"service": "front"}, "state": "pending", "activeAt": "2026-03-01T12:00:00Z"}
    (found,) = parse(answer(rule("ErrorRatioHigh", alerts=[active, pending])), "R.json")
    assert [each.labels for each in found.firing] == [{"alertname": "ErrorRatioHigh", "service": "cart"}]


@pytest.mark.parametrize("content", ["{", "[]", '{"data": {}}', '{"data": {"groups": [{"rules": 3}]}}'])
def test_what_is_no_answer_of_prometheus_is_told_with_its_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(content)
    with pytest.raises(BadRules, match=r"Prometheus answers to /api/v1/rules|is not JSON") as told:
        read(file)
    assert str(told.value).startswith(str(file))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadRules, match=r"none\.json cannot be read"):
        read(tmp_path / "none.json")
