"""`kt diagnose` on metrics, logs, traces and rules, with and without a topology and alerts."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ONSET = datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC).timestamp()


def kt(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from kt.cli import main; main()", "diagnose", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def answer(*arguments: str | Path) -> dict[str, Any]:
    ended = kt(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def metrics(path: Path, slow: dict[str, float]) -> Path:
    """Twenty minutes of four services, a sample each 15 s; `slow`: how much slower each is from ONSET on."""
    chance = random.Random(5)
    rows = ["timestamp,entity,metric,value"]
    for step in range(80):
        at = ONSET - 600 + step * 15
        for name in ("front", "cart", "catalogue", "store"):
            seconds = 0.1 * chance.uniform(0.97, 1.03) + (slow.get(name, 0.0) if at >= ONSET else 0.0)
            rows += [f"{at},{name},requests_per_second,50", f"{at},{name},latency_average,{seconds}"]
    file = path / "metrics.csv"
    file.write_text("\n".join(rows))
    return file


def spans(path: Path, broken: str) -> Path:
    lines = []
    for number in range(600):
        at = ONSET - 300 + number
        for depth, name in enumerate(("front", "cart", "catalogue")):
            fails = at >= ONSET and depth <= ("front", "cart", "catalogue").index(broken)
            lines.append(
                {
                    "trace_id": str(number), "span_id": f"{number}-{depth}", "entity": name, "operation": "GET /",
                    "parent_id": f"{number}-{depth - 1}" if depth else None, "start": at, "duration_ms": 10 - depth,
                    "error": fails,
                }
            )  # fmt: skip
    file = path / "spans.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def best(found: dict[str, Any]) -> tuple[str, str]:
    assert found["causes"], found
    first = found["hypotheses"][found["causes"][0]]
    return first["entity"], first["fault"]


def test_metrics_alone_with_who_calls_whom_name_where_the_waiting_arises(tmp_path: Path) -> None:
    file = metrics(tmp_path, {"front": 0.3, "cart": 0.3})
    found = answer("--topology", EXAMPLES / "topology.json", "--metrics", file)
    assert found["hypotheses"][0]["entity"] in ("svc/cart", "deploy/cart")


def test_metrics_without_a_topology_tell_what_got_worse(tmp_path: Path) -> None:
    found = answer("--metrics", metrics(tmp_path, {"store": 0.3}))
    assert best(found)[0] == "store"


def test_nothing_is_named_where_nothing_changed(tmp_path: Path) -> None:
    assert answer("--metrics", metrics(tmp_path, {}))["causes"] == []


@pytest.mark.parametrize("broken", ["cart", "catalogue"])
def test_traces_alone_give_the_calls_and_the_cause(tmp_path: Path, broken: str) -> None:
    found = answer("--traces", spans(tmp_path, broken))
    assert best(found)[0] == broken
    assert found["unexplained"] == []


def test_calls_that_the_topology_lacks_are_taken_from_traces(tmp_path: Path) -> None:
    topology = json.loads((EXAMPLES / "topology.json").read_text())
    topology["relations"] = [each for each in topology["relations"] if each["kind"] != "CALLS"]
    (tmp_path / "t.json").write_text(json.dumps(topology))
    found = answer("-t", tmp_path / "t.json", "-a", EXAMPLES / "alerts.json", "-s", spans(tmp_path, "cart"))
    first = found["hypotheses"][0]
    assert "cart" in first["entity"]
    assert any(path[-1] == "svc/front" for path in first["paths"])


def test_logs_are_evidence_beside_alerts(tmp_path: Path) -> None:
    lines = [
        {"timestamp": ONSET - 600 + 5 * step, "entity": "cart", "message": f"GET {step} ok"} for step in range(240)
    ]
    lines += [{"timestamp": ONSET + 4 * n, "entity": "cart", "message": f"panic: nil {n}"} for n in range(100)]
    (tmp_path / "logs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    base = ("-t", EXAMPLES / "topology.json", "--logs", tmp_path / "logs.jsonl")
    # The alert says already that cart shows errors: seen twice it is one symptom.
    with_alerts = answer(*base, "-a", EXAMPLES / "alerts.json")
    assert with_alerts["hypotheses"][0]["explains"] == ["c1", "f1"]
    alone = answer(*base, "--at", str(ONSET))
    assert any("panic: nil <*>" in text for each in alone["hypotheses"] for text in each["evidence_for"])


def rules(path: Path, *found: dict[str, Any]) -> Path:
    groups = [{"name": "shop", "rules": [{"type": "alerting", "health": "ok", **each} for each in found]}]
    file = path / "rules.json"
    file.write_text(json.dumps({"status": "success", "data": {"groups": groups}}))
    return file


def test_only_what_a_healthy_rule_watches_for_is_missed(tmp_path: Path) -> None:
    base = ("-t", EXAMPLES / "topology.json", "-a", EXAMPLES / "alerts.json")
    missed = {
        health: sum("shows no errors" in text for each in found["hypotheses"] for text in each["evidence_against"])
        for health in ("ok", "err")
        for found in (answer(*base, "-r", rules(tmp_path, {"name": "ShopErrors", "health": health})),)
    }
    assert missed["ok"] > 0
    assert missed["err"] == 0


def test_what_fires_by_the_rules_word_is_an_alert(tmp_path: Path) -> None:
    active = {"labels": {"service": "cart", "namespace": "shop"}, "state": "firing", "activeAt": "2026-03-01T12:00:00Z"}
    found = answer("-t", EXAMPLES / "topology.json", "-r", rules(tmp_path, {"name": "CartErrors", "alerts": [active]}))
    assert "cart" in best(found)[0]


def test_metrics_change_the_answer_and_its_explanations_together(tmp_path: Path) -> None:
    files = {"-t": "topology", "-a": "alerts", "-c": "changes"}
    base = [part for option, name in files.items() for part in (option, EXAMPLES / f"{name}.json")]
    base += ["-m", metrics(tmp_path, {"front": 0.3, "cart": 0.3})]
    found = answer(*base)
    assert {"enough", "next_probe"} <= found.keys()
    entities = [each["entity"] for each in found["hypotheses"]]
    assert len(entities) == len(set(entities))
    first = found["hypotheses"][0]
    assert "What separates" in kt(*base, "--explain").stdout
    assert f"{first['entity']} is named as a cause" in kt(*base, "--why-not", first["entity"]).stdout
    other = kt(*base, "--why-not", "svc/catalogue").stdout
    assert f"number 1 is {first['fault']} of {first['entity']}" in other
    assert "0% of the waiting arises there." in other
    assert not any(
        "97%" in text for each in found["hypotheses"] if "catalogue" in each["entity"] for text in each["evidence_for"]
    )


@pytest.mark.parametrize(
    ("option", "content", "says"),
    [
        ("--metrics", "a,b\n1,2\n", "f:1: the header"),
        ("--metrics", "timestamp,entity,metric,value\nnow,a,b,1\n", "f:2: timestamp “now”"),
        ("--logs", '{"timestamp": 1}\n', "f:1: Object missing required field"),
        ("--traces", "\n\n{", "f:3: not JSON"),
        ("--rules", "{}", "expected is what Prometheus answers to /api/v1/rules"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, option: str, content: str, says: str) -> None:
    (tmp_path / "f").write_text(content)
    ended = kt(option, tmp_path / "f")
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_something_must_be_given() -> None:
    ended = kt("--topology", EXAMPLES / "topology.json")
    assert (ended.returncode, "nothing was seen" in ended.stderr) == (2, True)
    ended = kt("--at", "soon", "--metrics", "x")
    assert (ended.returncode, "“soon” is neither RFC 3339" in ended.stderr) == (2, True)
