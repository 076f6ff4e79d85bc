"""Experiments from anyone: read to the letter, refused with a reason that helps, their scope told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from verify import plain

ACTION: dict[str, Any] = {"type": "action", "name": "a", "provider": {"type": "process", "path": "true"}}


def experiment(**more: Any) -> dict[str, Any]:
    return {"title": "t", "description": "d", "method": [ACTION], **more}


def written(folder: Path, content: object, name: str = "x.json") -> plain.Plain:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return plain.read(folder / name)


def test_it_is_kept_to_the_letter_with_its_line_ends(tmp_path: Path) -> None:
    text = "# comment\r\ntitle: ü\r\nmethod: []\r\n"
    (tmp_path / "x.yaml").write_bytes(text.encode())
    read = plain.read(tmp_path / "x.yaml")
    assert read.text == text
    assert read.digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.json", '{"title": "t",\n "method": [,]}', r"x\.json:2:13 is not JSON"),
        ("x.yaml", "title: t\nmethod: [", r"x\.yaml:\d+:\d+ is not YAML"),
        ("x.yaml", "- a", "is a mapping"),
        ("x.json", '{"method": "x"}', "method must be a list"),
        ("x.json", '{"method": [], "rollbacks": ["undo"]}', "rollbacks must be a list"),
        ("x.json", '{"method": [], "secrets": []}', "secrets must be a mapping"),
        ("x.txt", "{}", "ends with .json"),
    ],
)
def test_what_is_no_experiment_is_told_with_its_place(tmp_path: Path, name: str, content: str, says: str) -> None:
    with pytest.raises(plain.BadExperiment, match=says):
        written(tmp_path, content, name)


def test_a_file_that_is_not_there_and_one_that_is_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(plain.BadExperiment, match=r"none\.json cannot be read"):
        plain.read(tmp_path / "none.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    with pytest.raises(plain.BadExperiment, match="not UTF-8"):
        plain.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"title": ""}, "requires a title"),
        ({"method": [{**ACTION, "provider": {"type": "process", "path": "no-such-program"}}]}, "no-such-program"),
        ({"method": [{**ACTION, "provider": {"type": "python", "module": "no.such", "func": "f"}}]}, r"no\.such"),
        ({"secrets": {"v": {"p": {"type": "env", "key": "NO_SUCH_SECRET"}}}}, "NO_SUCH_SECRET"),
        ({"method": [{"ref": "nothing"}]}, "nothing"),
        ({"configuration": {"a": {"type": "env"}}}, "stumbled|key"),
    ],
)
def test_the_reason_is_that_of_chaos_toolkit(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(plain.BadExperiment, match=says) as error:
        plain.validate(written(tmp_path, experiment(**more)))
    assert "x.json" in str(error.value)


def test_kt_keeps_its_own_secrets_from_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_STORE__PASSWORD", "hidden")
    monkeypatch.setenv("SHOP_PASSWORD", "for the experiment")
    around = plain.surroundings({"KUBECONFIG": "k"})
    assert (around.get("KT_STORE__PASSWORD"), around["SHOP_PASSWORD"], around["KUBECONFIG"]) == (
        None, "for the experiment", "k",
    )  # fmt: skip


def python(module: str, arguments: Any, kind: str = "action") -> dict[str, Any]:
    provider = {"type": "python", "module": module, "func": "f", "arguments": arguments}
    return {"type": kind, "name": f"{module} {arguments}", "provider": provider}


def scope(method: list[dict[str, Any]], **more: Any) -> plain.Scope:
    return plain.scope(experiment(method=method, **more), {"given": "from-var"}, {"SPACE": "from-env"})


def test_namespaces_are_those_that_its_actions_name() -> None:
    configuration = {"fixed": "one", "env": {"type": "env", "key": "SPACE"}, "given": "overridden"}
    found = scope(
        [
            python("chaosk8s.pod.actions", {"ns": "${fixed}"}),
            python("own", {"namespace": "${env}"}),
            python("own", {"namespaces": ["two", "${given}"]}),
            python("chaosk8s.pod.probes", {"ns": "only-read"}, kind="probe"),
            {**ACTION, "provider": {"type": "process", "path": "true", "arguments": ["ns"]}},
        ],
        configuration=configuration,
        rollbacks=[python("own", {"namespace": "three"})],
    )
    assert found == plain.Scope(namespaces=("from-env", "from-var", "one", "three", "two"))


def test_an_action_of_chaosk8s_without_a_namespace_acts_in_the_default_one() -> None:
    assert scope([python("chaosk8s.pod.actions", {})]).namespaces == ("default",)


def test_what_cannot_be_known_and_what_acts_on_nodes_is_told() -> None:
    probe = {"type": "probe", "name": "p", "provider": {"type": "python", "module": "m", "func": "f"}}
    found = scope(
        [python("own", {"ns": "${later}"}), python("chaosk8s.node.actions", {})], configuration={"later": probe}
    )
    assert found.namespaces == ()
    assert found.unknown == ("own {'ns': '${later}'}",)
    assert found.cluster_wide == ("chaosk8s.node.actions {}",)


def test_what_undoes_an_experiment_is_its_rollbacks_and_what_they_need() -> None:
    undo = {**ACTION, "name": "undo"}
    whole = experiment(configuration={"a": 1}, secrets={}, controls=[], rollbacks=[undo, {"ref": "a"}])
    whole["steady-state-hypothesis"] = {}
    found = plain.undoing(whole)
    assert found is not None
    assert (found["rollbacks"], found["method"], found["configuration"]) == ([undo, ACTION], [], {"a": 1})
    assert "steady-state-hypothesis" not in found
    assert yaml.safe_load(plain.dump(found)) == found
    assert plain.undoing(experiment()) is None


def test_variables_are_read_as_chaos_run_reads_them() -> None:
    assert plain.variables(["a=1", "b:int=2"]) == {"a": "1", "b": 2}
    with pytest.raises(plain.BadExperiment, match="KEY=VALUE"):
        plain.variables(["a:int=x"])
