"""`kt diagnose` as its users call it: on the examples of the docs, and on wrong input."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from kt.commands.diagnose import diagnose as diagnose_command

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def kt(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from kt.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def files(**other: Path) -> list[str | Path]:
    names = {name: EXAMPLES / f"{name}.json" for name in ("topology", "alerts", "changes")} | other
    return [part for name, path in names.items() for part in (f"--{name}", path)]


def test_the_example_of_the_docs_names_the_rollout() -> None:
    answer = kt("diagnose", *files(), "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    best = found["hypotheses"][0]
    assert (best["entity"], best["fault"], best["explains"]) == ("deploy/cart", "Workload.BadRevision", ["c1", "f1"])
    assert best["paths"][1][0] == "deploy/cart"
    assert best["paths"][1][-1] == "svc/front"
    assert len(found["hypotheses"]) >= 5
    assert (found["unexplained"], found["unmapped"], found["causes"]) == ([], [], [0])


def test_a_person_reads_cause_path_and_evidence() -> None:
    answer = kt("diagnose", *files())
    assert "Workload.BadRevision of deploy/cart" in answer.stdout
    assert "svc/cart → svc/front" in answer.stdout
    assert "rollout of deploy/cart 25 s before the first symptom" in answer.stdout


def test_several_payloads_may_come_in_one_file(tmp_path: Path) -> None:
    one = json.loads((EXAMPLES / "alerts.json").read_text())
    (tmp_path / "two.json").write_text(json.dumps([one, {**one, "alerts": []}]))
    assert json.loads(kt("diagnose", *files(alerts=tmp_path / "two.json"), "--json").stdout)["causes"] == [0]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("topology", "{", "not JSON"),
        ("topology", '{"entities": []}', "relations"),
        ("topology", '{"entities": [{"id": "a"}], "relations": []}', r"$.entities[0]"),
        ("topology", '{"entities": [], "relations": [{"source": "a", "target": "b", "kind": "OWNS"}]}', "relations[0]"),
        ("alerts", '{"version": "3", "alerts": []}', 'version "3"'),
        ("alerts", "[1]", "payload 1"),
        ("changes", '[{"entity": "a", "at": "soon", "kind": "rollout"}]', r"$[0].at"),
    ],
)
def test_wrong_input_is_told_with_file_and_place(tmp_path: Path, name: str, content: str, says: str) -> None:
    file = tmp_path / f"{name}.json"
    file.write_text(content)
    answer = kt("diagnose", *files(**{name: file}))
    assert answer.returncode == 2
    assert says in answer.stderr
    assert str(file) in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_entity_that_is_not_named_is_explained() -> None:
    answer = kt("diagnose", *files(), "--why-not", "svc/catalogue")
    assert answer.returncode == 0
    assert "number 1 is Workload.BadRevision of deploy/cart" in answer.stdout
    assert "is not in the graph" in kt("diagnose", *files(), "--why-not", "svc/none").stdout


def test_runners_up_and_the_next_question_are_told() -> None:
    answer = kt("diagnose", *files(), "--explain")
    assert "What separates deploy/cart from" in answer.stdout
    found = json.loads(kt("diagnose", *files(), "--json").stdout)
    assert found["enough"] is True
    assert {"entity", "fault", "confirms", "gain_bits"} <= found["next_probe"].keys()
    assert found["hypotheses"][0]["remedies"] == ["rollback"]


def test_rules_that_do_not_watch_make_silence_mean_nothing(tmp_path: Path) -> None:
    rules = {
        "status": "success",
        "data": {"groups": [{"name": "g", "rules": [{"name": "CartErrors", "type": "alerting"}]}]},
    }
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    found = json.loads(kt("diagnose", *files(), "--rules", tmp_path / "rules.json", "--json").stdout)
    assert not any("no latency" in text for each in found["hypotheses"] for text in each["evidence_against"])
    (tmp_path / "rules.json").write_text("[]")
    answer = kt("diagnose", *files(), "--rules", tmp_path / "rules.json")
    assert (answer.returncode, "rules.json" in answer.stderr) == (2, True)


def test_a_relation_with_one_end_missing_is_taken_as_something_gone(tmp_path: Path) -> None:
    topology = json.loads((EXAMPLES / "topology.json").read_text())
    topology["relations"].append({"source": "pod/cart-0", "target": "Secret/shop/cart-keys", "kind": "MOUNTS"})
    (tmp_path / "topology.json").write_text(json.dumps(topology))
    found = json.loads(kt("diagnose", *files(topology=tmp_path / "topology.json"), "--json").stdout)
    assert any("Secret/shop/cart-keys" in warning for warning in found["warnings"])
    assert any(each["entity"] == "Secret/shop/cart-keys" for each in found["hypotheses"])


@settings(max_examples=25)
@given(st.data())
def test_a_broken_topology_is_answered_or_refused_and_nothing_else(data: st.DataObject) -> None:
    ids = st.sampled_from(["a", "b", "c", "Secret/x/y", "d/e", "", "Pod/ü/ "])
    kinds = st.sampled_from(["Service", "Pod", "Node", "Whatever", "", "Namespace"])
    words = st.sampled_from(["CALLS", "OWNS", "SELECTS", "RUNS_ON", "CONTAINS", "ODD", ""])
    topology = {
        "entities": data.draw(st.lists(st.fixed_dictionaries({"id": ids, "kind": kinds, "name": ids}), max_size=6)),
        "relations": data.draw(
            st.lists(st.fixed_dictionaries({"source": ids, "target": ids, "kind": words}), max_size=12)
        ),
    }
    labels = data.draw(st.dictionaries(st.sampled_from(["service", "pod", "node", "instance", "odd"]), ids, max_size=3))
    alert = {"status": "firing", "labels": {"alertname": "AErrors", **labels}, "startsAt": "2026-03-01T12:00:30Z"}
    changes = data.draw(
        st.lists(
            st.fixed_dictionaries({"entity": ids, "kind": words, "at": st.just("2026-03-01T12:00:00Z")}), max_size=3
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "t.json").write_text(json.dumps(topology))
        (place / "a.json").write_text(json.dumps({"version": "4", "alerts": [alert]}))
        (place / "c.json").write_text(json.dumps(changes))
        arguments = ["-t", str(place / "t.json"), "-a", str(place / "a.json"), "-c", str(place / "c.json"), "--json"]
        answer = CliRunner().invoke(diagnose_command, arguments)
    assert answer.exit_code in (0, 2), answer.output
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    if answer.exit_code == 0:
        assert "hypotheses" in answer.output


def test_knowledge_is_listed_shown_and_checked(tmp_path: Path) -> None:
    assert len(json.loads(kt("knowledge", "list", "--json").stdout)) >= 100
    shown = kt("knowledge", "show", "Node.NotReady")
    assert "migrate" in shown.stdout
    travels = json.loads(kt("knowledge", "show", "Node.NotReady", "--json").stdout)["travels"]
    assert {"RUNS_ON"} <= {each["relation"] for each in travels}
    wrong = kt("knowledge", "show", "Node.NotRedy")
    assert (wrong.returncode, "Node.NotReady" in wrong.stderr) == (2, True)
    rules = [{"name": name, "type": "alerting"} for name in ("KubeNodeNotReady", "CheckoutErrors", "Zorglub")]
    answer = {"status": "success", "data": {"groups": [{"name": "mine", "rules": rules}]}}
    (tmp_path / "rules.json").write_text(json.dumps(answer))
    found = json.loads(kt("knowledge", "check", "--rules", tmp_path / "rules.json", "--json").stdout)
    assert [(each["alert"], each["told_by"]) for each in found["unmapped"]] == [
        ("Zorglub", "guess"),
        ("CheckoutErrors", "words"),
    ]
    assert kt("knowledge", "check").returncode == 0
    assert kt("knowledge", "check", "--prometheus", "http://127.0.0.1:9").returncode == 2


def test_a_missing_file_is_told() -> None:
    answer = kt("diagnose", *files(alerts=Path("none.json")))
    assert (answer.returncode, "none.json: cannot be read" in answer.stderr) == (2, True)


def test_help_answers_for_every_command() -> None:
    for command in ("serve", "worker", "beat", "incidents", "approve", "reject", "diagnose", "doctor"):
        assert kt(command, "--help").returncode == 0
    assert kt("nonsense").returncode == 2
